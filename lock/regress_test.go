package lock

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/barrier"
	"github.com/shiplap-ipc/shiplap/internal/object"
)

// An Acquire that is cancelled while permits come back has them or has not; they are not lost.
func TestSemaphoreCancelled(t *testing.T) {
	d := join(t)
	s := must(CreateSemaphore(d, "s", 1, nil))(t)
	defer s.Close()
	ok(t, s.Acquire(bg, 1))
	ctx, cancel := context.WithCancel(bg)
	done := make(chan error)
	go func() { done <- s.Acquire(ctx, 1) }()
	for st := must(s.Stats())(t); st.Queue.Holder == 0; st = must(s.Stats())(t) {
		time.Sleep(time.Millisecond)
	}
	// Release, stopped before it wakes the one who waits.
	_, err := s.guard.Lock(bg)
	ok(t, err)
	s.table.Add(-1)
	s.available.Store(1)
	s.mine.Store(0)
	s.obj.Gate.Leave()
	s.guard.Unlock()
	cancel()
	if err = <-done; err == nil {
		ok(t, s.Release(1))
	} else {
		is(t, err, context.Canceled)
	}
	if st := must(s.Stats())(t); st.Available != 1 || len(st.Holders) != 0 {
		t.Fatalf("Acquire: %v, and then %+v", err, st)
	}
}

// TryAcquire does not wait for one who is stopped in the middle of a change.
func TestTryAcquireGuarded(t *testing.T) {
	d := join(t)
	s := must(CreateSemaphore(d, "s", 1, nil))(t)
	defer s.Close()
	_, err := s.guard.Lock(bg)
	ok(t, err)
	done := make(chan error, 1)
	go func() { done <- s.TryAcquire(1) }()
	select {
	case err := <-done:
		is(t, err, shiplap.ErrBusy)
	case <-time.After(20 * time.Second):
		t.Error("it waits")
	}
	s.guard.Unlock()
	if t.Failed() {
		<-done
	}
}

// What a death left in the table of a barrier breaks no round of another 65,536 rounds later.
func TestBarrierRoundsWrap(t *testing.T) {
	d := join(t)
	b := must(CreateBarrier(d, "b", 1, nil))(t)
	defer b.Close()
	ok(t, func() error { _, err := b.Wait(bg); return err }())
	// The last one to come, dead between his arrival and his way out.
	w := b.obj.Ctl.U64(object.HeaderSize + barrier.Bitmap)
	w.Store(w.Load() | 1<<63)
	b.obj.Region.Span(1).U64(63 * barrier.Stride).Store(deadToken | 1<<48)
	for i := range 1<<16 + 10 {
		if _, err := b.Wait(bg); err != nil {
			t.Fatalf("round %d: %v", i+1, err)
		}
	}
}

// Closing twice is like closing once, also of what goes with its last user.
func TestCloseTwice(t *testing.T) {
	d := join(t)
	opt := &Options{Ephemeral: true}
	for name, h := range map[string]interface{ Close() error }{
		"mutex":     must(CreateMutex(d, "m", opt))(t),
		"rwmutex":   must(CreateRWMutex(d, "rw", opt))(t),
		"semaphore": must(CreateSemaphore(d, "s", 1, &SemaphoreOptions{Options: *opt}))(t),
		"event":     must(CreateEvent(d, "e", opt))(t),
		"cond":      must(CreateCond(d, "c", opt))(t),
		"barrier":   must(CreateBarrier(d, "b", 1, opt))(t),
	} {
		for i := range 3 {
			if err := h.Close(); err != nil {
				t.Errorf("%s, close %d: %v", name, i+1, err)
			}
		}
	}
	if list, err := d.List(); err != nil || len(list) != 0 {
		t.Errorf("left are %v (%v)", list, err)
	}
}

// Wait of a condition variable whose file was truncated has the mutex, or says that it has not.
func TestCondTruncated(t *testing.T) {
	d := join(t)
	m := must(CreateMutex(d, "m", nil))(t)
	defer m.Close()
	c := must(CreateCond(d, "c", nil))(t)
	defer c.Close()
	ok(t, m.Lock(bg))
	done := make(chan error, 1)
	go func() { done <- c.Wait(bg, m) }()
	for must(c.Stats())(t).Waits == 0 || m.m.Held() {
		time.Sleep(time.Millisecond)
	}
	truncate(t, d, "c", 0)
	err := <-done
	is(t, err, shiplap.ErrCorrupt)
	if m.m.Held() == errors.Is(err, ErrNotLocked) {
		t.Errorf("held: %v, and %v", m.m.Held(), err)
	}
	err = c.Wait(bg, m)
	is(t, err, shiplap.ErrCorrupt)
	if m.m.Held() == errors.Is(err, ErrNotLocked) {
		t.Errorf("held: %v, and %v", m.m.Held(), err)
	}
	if m.m.Held() {
		ok(t, m.Unlock())
	}
}

// Also calls that need not wait notice that the object was removed.
func TestRemovedIsNoticed(t *testing.T) {
	d := join(t)
	m := must(CreateMutex(d, "m", nil))(t)
	rw := must(CreateRWMutex(d, "rw", nil))(t)
	s := must(CreateSemaphore(d, "s", 2, nil))(t)
	ok(t, m.Lock(bg), s.Acquire(bg, 1))
	for _, name := range []string{"m", "rw", "s"} {
		ok(t, d.Remove(bg, name))
	}
	ok(t, m.Unlock(), s.Release(1)) // what is held can be given back
	for what, err := range map[string]error{
		"Lock": m.Lock(bg), "TryLock": m.TryLock(), "RWMutex.Lock": rw.Lock(bg), "RWMutex.TryLock": rw.TryLock(),
		"RLock": rw.RLock(bg), "TryRLock": rw.TryRLock(), "Acquire": s.Acquire(bg, 1), "TryAcquire": s.TryAcquire(1),
	} {
		if !errors.Is(err, shiplap.ErrRemoved) {
			t.Errorf("%s: %v", what, err)
		}
	}
	ok(t, m.Close(), rw.Close(), s.Close())
}
