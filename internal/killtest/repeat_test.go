//go:build linux && (amd64 || arm64)

package killtest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestLateTrialsAreMadeAgain: a survivor that is late once may be on a busy machine, one that is late each time has
// a reason, and one with another fault needs no second look.
func TestLateTrialsAreMadeAgain(t *testing.T) {
	late := fmt.Errorf("use: %w", errors.Join(lateError(time.Second), &exitError{expired: true}))
	for name, c := range map[string]struct {
		fail     func(nth int) error // of a check of the same step
		faults   bool
		repeated int // of each step
	}{
		"late once":       {func(nth int) error { return when(nth == 0, late) }, false, 1},
		"late often":      {func(nth int) error { return when(nth < repeats, late) }, false, repeats},
		"always late":     {func(int) error { return late }, true, repeats},
		"late and wrong":  {func(nth int) error { return when(nth == 0, errors.Join(late, errors.New("torn"))) }, true, 0},
		"wrong":           {func(nth int) error { return when(nth == 0, errors.New("torn")) }, true, 0},
		"late, then torn": {func(nth int) error { return []error{late, errors.New("torn"), nil}[min(nth, 2)] }, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			res, once := checkedBy(t, c.fail)
			if (res.Violations > 0) != c.faults || c.faults && res.Violations < res.Instructions {
				t.Errorf("%d violations, first %v", res.Violations, res.Found)
			}
			want := c.repeated * once
			if name == "always late" {
				want = repeats * (res.Instructions + 2)
			}
			if res.Repeated != want {
				t.Errorf("%d trials were made again, not %d", res.Repeated, want)
			}
		})
	}
}

// checkedBy kills at every step, with a check that knows how often it was at that step before, and returns how many
// steps there were. A run in which a trial missed its step tells nothing.
func checkedBy(t *testing.T, fail func(nth int) error) (res Result, steps int) {
	t.Helper()
	for range 5 {
		var mu sync.Mutex
		seen := map[int]int{}
		s := single
		s.Check = func(t *Trial, _ any) error {
			mu.Lock()
			defer mu.Unlock()
			seen[t.Step]++
			return fail(seen[t.Step] - 1)
		}
		res = explore(t, s, Options{Kill: true, Stride: 1})
		if res.Kills == res.Instructions+2+res.Repeated {
			return res, len(seen)
		}
	}
	t.Fatal("no run without a drift")
	return res, 0
}

// TestLateSetup: a Setup that was only late is made again, and what it had made is closed.
func TestLateSetup(t *testing.T) {
	var open, late atomic.Int32
	s := single
	s.Setup = func(t *Trial) (any, error) {
		y, err := openToy(t.Dir)
		if err != nil {
			return nil, err
		}
		open.Add(1)
		return counted{y, &open}, when(late.Add(1)%3 == 1, lateError(time.Second))
	}
	s.Check, s.While = func(*Trial, any) error { return nil }, nil
	res := explore(t, s, Options{Stride: 1})
	if res.Violations > 0 || late.Load() < int32(res.Kills) {
		t.Errorf("%d setups, %d violations, first %v", late.Load(), res.Violations, res.Found)
	}
	if n := open.Load(); n != 0 {
		t.Errorf("%d were not closed", n)
	}
}

type counted struct {
	*toy
	open *atomic.Int32
}

func (c counted) Close() error {
	c.open.Add(-1)
	return c.toy.Close()
}

func when(b bool, err error) error {
	if b {
		return err
	}
	return nil
}

func TestOnlyLate(t *testing.T) {
	late, other := lateError(1), errors.New("torn")
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{late, true},
		{fmt.Errorf("the victim: %w", &exitError{expired: true}), true},
		{&exitError{}, false},
		{fmt.Errorf("use: %w", errors.Join(late, fmt.Errorf("put: %w", late))), true},
		{other, false},
		{fmt.Errorf("%w: %w", late, other), false},
		{fmt.Errorf("use: %v", late), false},
	} {
		if got := onlyLate(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}
