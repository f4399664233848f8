package table

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// disturbed is a context that does something the first time it is asked for its error.
type disturbed struct {
	context.Context
	do func()
}

func (d *disturbed) Err() error {
	if f := d.do; f != nil {
		d.do = nil
		f()
	}
	return nil
}

// TestAllMoving: a value of more than half of the heap moves on while All reads; that it is met twice is no corruption.
func TestAllMoving(t *testing.T) {
	w := newWorld(Geometry{Buckets: 2048, Size: 512 << 10})
	tb, not := w.open(1), map[string]bool{}
	large := make([]byte, int(tb.end-tb.heap)*Granule*6/10)
	before, behind := inBucket(tb, 5, not), inBucket(tb, 1500, not)
	must(t, second(tb.Set(bg, before, large, Change{})))
	ctx := &disturbed{bg, func() {
		must(t, second(tb.Delete(bg, before, Change{})))
		must(t, second(tb.Set(bg, behind, large, Change{})))
	}}
	all, err := tb.All(ctx, "", true)
	must(t, err)
	if len(all) != 1 || all[0].Key != behind {
		t.Errorf("%d entries", len(all))
	}
}

// TestScanMoving: the same for Scan, which promises no moment.
func TestScanMoving(t *testing.T) {
	w := newWorld(Geometry{Buckets: 64, Size: 256 << 10})
	tb, not := w.open(1), map[string]bool{}
	first, clock, last := inBucket(tb, 5, not), inBucket(tb, 9, not), inBucket(tb, 20, not)
	room := int(tb.end-tb.heap) * Granule
	must(t, second(tb.Set(bg, clock, nil, Change{Expiry: After, Time: 1e9})))
	must(t, second(tb.Set(bg, first, make([]byte, 60_000), Change{})))
	scanner := w.open(2)
	asked := false
	scanner.now = func() int64 {
		if !asked {
			asked = true
			must(t, second(tb.Delete(bg, first, Change{})))
			must(t, second(tb.Set(bg, last, make([]byte, room-20_000), Change{})))
		}
		return w.clock.Load()
	}
	n := 0
	for next := 0; next >= 0; {
		var some []Entry
		var err error
		some, next, err = scanner.Scan(bg, next, "")
		must(t, err)
		n += len(some)
	}
	if n != 3 || !asked {
		t.Errorf("%d entries", n)
	}
}

// TestAllAtOneMoment: a change that is half done may be seen or not, for it is one. Of two, in different stripes, somebody could see
// the first alone and All the second alone.
func TestAllAtOneMoment(t *testing.T) {
	w := newWorld(Geometry{Buckets: 64})
	tb := w.open(1)
	must(t, second(tb.Set(bg, "k", nil, Change{})))
	const lives = 7
	for i := range tb.stripes {
		w.span.U32(WriterLock(i)).Store(lives)
		tb.stripes[i].armed.Store(1)
		ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
		all, err := tb.All(ctx, "", false)
		cancel()
		if i == 0 && (err != nil || len(all) != 1) || i == 1 && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d changes under way: %v, %v", i+1, all, err)
		}
	}
}

// TestRoomElsewhere: what another stripe has for nothing is found also while somebody changes that.
func TestRoomElsewhere(t *testing.T) {
	w := newWorld(Geometry{Buckets: 16})
	tb, not := w.open(1), map[string]bool{}
	mine, other := &tb.stripes[0], &tb.stripes[1]
	inStripe := func(s *stripe) string { return inBucket(tb, s.i*int(tb.own()), not) }
	for { // to the brim
		if _, err := tb.Set(bg, inStripe(other), make([]byte, 90), Change{Expiry: After, Time: 1e9}); err != nil {
			is(t, err, errs.ErrFull)
			break
		}
	}
	must(t, other.acquire(bg))
	is(t, second(tb.Set(within(t), inStripe(mine), make([]byte, 90), Change{})), errs.ErrFull) // nothing to wait for
	slept := wordlock.Inspect(w.span, WriterLock(other.i)).Sleeps
	w.clock.Add(2e9) // all of them have expired
	done := make(chan error)
	go func() {
		_, err := tb.Set(bg, inStripe(mine), make([]byte, 4000), Change{})
		done <- err
	}()
	for wordlock.Inspect(w.span, WriterLock(other.i)).Sleeps == slept {
		runtime.Gosched()
	}
	other.unlock()
	must(t, <-done)
	must(t, tb.Check(bg))
}
