//go:build linux && (amd64 || arm64)

package killtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A toy lock is word 0: 0 is free. Word 1 counts who has entered, word 2 who has left.

// waits is an operation that takes the toy lock, and gives up when its context ends or it is closed. What it does then is
// for give to say.
func waits(name string, give func(y *toy)) Scenario {
	return Scenario{
		Name: name, Setup: newToy,
		Check: func(t *Trial, state any) error {
			y := state.(*toy)
			if in, out := y.get(1), y.get(2); in != out {
				return fmt.Errorf("lost: %d came, and %d left", in, out)
			}
			if t.Done != (y.get(3) == 7) {
				return fmt.Errorf("done: %v, and there is %d", t.Done, y.get(3))
			}
			return nil
		},
		Prepare: func(v *Victim) (func() error, error) {
			y, err := openToy(v.Dir)
			if err != nil {
				return nil, err
			}
			closed := make(chan struct{})
			v.Close, v.Leave = sync.OnceValue(func() error { close(closed); return nil }), y.Close
			return func() error {
				y.set(1, y.get(1)+1)
				for ; y.get(0) != 0; time.Sleep(time.Millisecond) {
					select {
					case <-Background().Done():
						give(y)
						return context.Cause(Background())
					case <-closed:
						give(y)
						return os.ErrClosed
					default:
					}
				}
				y.set(3, 7)
				y.set(2, y.get(2)+1)
				return nil
			}, nil
		},
		Interrupt: &Interruption{Skip: []string{execs}, Grabs: []Grab{{Of: "the lock", Take: func(_ *Trial, state any) (func() error, error) {
			y := state.(*toy)
			if y.get(3) != 0 {
				return nil, nil
			}
			y.set(0, 1)
			return func() error { y.set(0, 0); return nil }, nil
		}}}},
	}
}

var (
	orderly  = waits("orderly", func(y *toy) { y.set(2, y.get(2)+1) })
	lossy    = waits("lossy", func(*toy) {})
	stubborn = waits("stubborn", func(y *toy) {
		for y.get(0) != 0 {
			time.Sleep(time.Millisecond)
		}
		y.set(2, y.get(2)+1)
	})
	// littering leaves a descriptor open when the second file cannot be opened.
	littering = Scenario{
		Name: "littering", Check: func(*Trial, any) error { return nil },
		Prepare: func(v *Victim) (func() error, error) {
			v.Close, v.Leave = func() error { return nil }, func() error { return nil }
			a, b := filepath.Join(v.Dir, "a"), filepath.Join(v.Dir, "b")
			err := errors.Join(os.WriteFile(a, nil, 0o600), os.WriteFile(b, nil, 0o600))
			return func() error { return openBoth(a, b) }, err
		},
		Interrupt: &Interruption{},
	}
	// inherited is a lock that a child has, too, until it executes its program.
	inherited = Scenario{
		Name: "inherited", Setup: newToy,
		Prepare: func(v *Victim) (func() error, error) {
			y, err := openToy(v.Dir)
			return func() error { return y.lock() }, err
		},
		Check:     locked.Check,
		Interrupt: &Interruption{Skip: []string{cancels, closes, fails}, Await: locked.Check},
	}
	interruptToys = []Scenario{orderly, lossy, stubborn, littering, inherited}
)

// TestEndings: an exec releases what a death does, and a child between fork and exec holds it.
func TestEndings(t *testing.T) {
	res := explore(t, inherited, Options{Interrupt: true, Stride: 1})
	n := res.Interrupted
	if n.Execs < 2 || n.Execs+n.Orphans+n.Moot != n.Points {
		t.Errorf("%+v", n)
	}
	if n.Orphans == 0 {
		t.Skip("no leases on files here")
	}
	if res.Violations == 0 {
		t.Error("no child had the lock")
	}
	for _, v := range res.Found {
		if !strings.HasPrefix(v.Err.Error(), "the scene's Await: dead, and the lock is taken") {
			t.Error(v)
		}
	}
}

func TestInterrupts(t *testing.T) {
	for _, c := range []struct {
		s    Scenario
		want string
	}{
		{orderly, ""},
		{lossy, "lost: 1 came, and 0 left"},
		{stubborn, "the operation has not ended"},
		{littering, "descriptors are left"},
	} {
		t.Run(c.s.Name, func(t *testing.T) {
			opt := Options{Interrupt: true, Stride: 1}
			if c.s.Name == stubborn.Name {
				opt.Timeout, opt.Stride, opt.Budget = 300*time.Millisecond, 0, time.Millisecond
			}
			res := explore(t, c.s, opt)
			t.Log(res.Interrupted)
			if c.want == "" {
				for _, v := range res.Found {
					t.Error(v)
				}
				if res.Interrupted.Cancels == 0 || res.Interrupted.Closes == 0 || res.Interrupted.Waits == 0 {
					t.Errorf("%+v", res.Interrupted)
				}
				return
			}
			if res.Violations == 0 {
				t.Fatal("nothing found")
			}
			for _, v := range res.Found {
				if !strings.Contains(v.Err.Error(), c.want) {
					t.Error(v)
				}
			}
		})
	}
}
