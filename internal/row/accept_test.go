package row

import (
	"errors"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// accepting is a view that takes no message of more than n bytes.
func (w *world) accepting(token uint32, n int) *Queue {
	r := w.open(token)
	r.Accept(n)
	return r
}

// A message that is too long for a view stays for others, whatever way it would be copied out; what is accessed in place
// is not bounded.
func TestAccept(t *testing.T) {
	w := newWorld(MinArea, false)
	r := w.accepting(8, 100)
	must(t, w.open(1).TryPut(make([]byte, 100)))
	must(t, w.open(1).TryPut(make([]byte, 101)))
	b, err := r.Get(bg, nil)
	if err != nil || len(b) != 100 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if _, err := r.Get(bg, nil); !errors.Is(err, errs.ErrTooLarge) {
		t.Errorf("Get: %v", err)
	}
	if _, err := r.TryGet(nil); !errors.Is(err, errs.ErrTooLarge) {
		t.Errorf("TryGet: %v", err)
	}
	if ok, _ := r.ConsumerLock.TryLock(); !ok {
		t.Fatal("the lock is taken")
	}
	var c Consumer
	must(t, c.Resume(r))
	if _, err := c.Get(bg, nil); !errors.Is(err, errs.ErrTooLarge) {
		t.Errorf("Consumer.Get: %v", err)
	}
	if _, err := c.TryGet(nil); !errors.Is(err, errs.ErrTooLarge) {
		t.Errorf("Consumer.TryGet: %v", err)
	}
	if b, err := c.Peek(bg); err != nil || len(b) != 101 {
		t.Errorf("Peek: %d bytes, %v", len(b), err)
	}
	c.Back()
	r.ConsumerLock.Unlock()
	if b, err := w.open(9).Get(bg, nil); err != nil || len(b) != 101 {
		t.Errorf("a view without a bound: %d bytes, %v", len(b), err)
	}
}

func TestAcceptLease(t *testing.T) {
	w := newWorld(MinArea, true)
	r := w.accepting(8, 100)
	must(t, w.open(1).TryPut(make([]byte, 101)))
	if _, err := r.TryLease(); !errors.Is(err, errs.ErrTooLarge) {
		t.Errorf("new: %v", err)
	}
	ls, err := w.open(7).TryLease()
	if err != nil || ls.Count != 1 {
		t.Fatalf("%+v, %v", ls, err)
	}
	w.dead.Store(uint32(7), true)
	if _, err := r.TryLease(); !errors.Is(err, errs.ErrTooLarge) {
		t.Errorf("of the dead: %v", err)
	}
	if ls, err = w.open(9).TryLease(); err != nil || ls.Count != 2 {
		t.Errorf("a view without a bound: %+v, %v", ls, err)
	}
}
