package row

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

func lease(t *testing.T, r *Queue, want string, count int) Lease {
	t.Helper()
	ls, err := r.TryLease()
	must(t, err)
	if got := string(r.Body(ls)); got != want || ls.Count != count {
		t.Fatalf("%q for the %d. time, want %q for the %d.", got, ls.Count, want, count)
	}
	return ls
}

func noLease(t *testing.T, r *Queue) {
	t.Helper()
	if ls, err := r.TryLease(); !errors.Is(err, errs.ErrEmpty) {
		t.Fatalf("%+v, %v; want none", ls, err)
	}
}

func TestLeases(t *testing.T) {
	w := newWorld(MinArea, true)
	p, a, b := w.open(1), w.open(2), w.open(3)
	for _, m := range []string{"one", "two", "three"} {
		must(t, p.Put(bg, []byte(m)))
	}
	one := lease(t, a, "one", 1)
	two := lease(t, b, "two", 1)
	must(t, b.Settle(two, true))
	if s, _ := p.Stats(); s.Depth != 3 || s.Gets != 0 || s.Deliveries != 2 {
		t.Errorf("the oldest is out: %+v", s)
	}
	if err := b.Settle(two, true); !errors.Is(err, errs.ErrConflict) {
		t.Errorf("settled twice: %v", err)
	}
	if err := b.Settle(one, true); !errors.Is(err, errs.ErrConflict) {
		t.Errorf("another's: %v", err)
	}
	must(t, a.Settle(one, false))
	one = lease(t, b, "one", 2)
	three := lease(t, a, "three", 1)
	noLease(t, a)
	must(t, b.Settle(one, true))
	must(t, a.Settle(three, true))
	s, err := p.Stats()
	must(t, err)
	if s.Depth != 0 || s.Used != 0 || s.Gets != 3 || s.Deliveries != 4 || s.Redeliveries != 1 {
		t.Errorf("at the end: %+v", s)
	}
}

// A holder that settles its record, and dies, between the look at the record and the question whether it lives.
func TestSettledThenDead(t *testing.T) {
	for _, done := range []bool{true, false} {
		w := newWorld(MinArea, true)
		p, victim, b := w.open(1), w.open(77), w.open(3)
		must(t, p.Put(bg, []byte("one")))
		last := lease(t, victim, "one", 1)
		w.dead.Store(uint32(77), func() { must(t, victim.Settle(last, done)) })
		noLease(t, b) // it is done, or was given back behind the look
		if !done {
			must(t, b.Settle(lease(t, b, "one", 2), true))
		}
		noLease(t, b)
		if s, err := p.Stats(); err != nil || s.Depth != 0 || s.Used != 0 {
			t.Errorf("done %v: %+v, %v", done, s, err)
		}
	}
}

func TestDeadHolder(t *testing.T) {
	w := newWorld(MinArea, true)
	p, victim, b := w.open(1), w.open(77), w.open(3)
	must(t, p.Put(bg, []byte("one")))
	must(t, p.Put(bg, []byte("two")))
	lost := lease(t, victim, "one", 1)
	two := lease(t, b, "two", 1)
	noLease(t, b) // it lives
	w.dead.Store(uint32(77), true)
	one := lease(t, b, "one", 2)
	noLease(t, b)
	// Its settle comes too late, should it have been only thought dead.
	if err := victim.Settle(lost, true); !errors.Is(err, errs.ErrConflict) {
		t.Errorf("of a dead one: %v", err)
	}
	must(t, b.Settle(two, true))
	must(t, b.Settle(one, true))
	if s, err := p.Stats(); err != nil || s.Depth != 0 || s.Redeliveries != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

// The state of a record was stored, the cursor was not: a death in between.
func TestLaggingCursor(t *testing.T) {
	w := newWorld(MinArea, true)
	p := w.open(1)
	must(t, p.Put(bg, []byte("one")))
	must(t, p.Put(bg, []byte("two")))
	old := p.cursor.Load()
	lease(t, w.open(77), "one", 1)
	p.cursor.Store(old)
	w.dead.Store(uint32(77), true)
	b := w.open(3)
	seen := map[string]int{}
	for range 2 {
		ls, err := b.TryLease()
		must(t, err)
		seen[string(b.Body(ls))] = ls.Count
		must(t, b.Settle(ls, true))
	}
	if seen["one"] != 2 || seen["two"] != 1 {
		t.Errorf("%v", seen)
	}
	// And it may lag behind what was reclaimed.
	p.cursor.Store(0)
	noLease(t, b)
	must(t, p.Put(bg, []byte("three")))
	lease(t, b, "three", 1)
}

// Closed and empty is not the end while somebody holds a message that he may give back.
func TestLeaseDrained(t *testing.T) {
	w := newWorld(MinArea, true)
	r := w.open(1)
	must(t, r.Put(bg, []byte("one")))
	one := lease(t, r, "one", 1)
	r.Close()
	noLease(t, r)
	must(t, r.Settle(one, false))
	one = lease(t, r, "one", 2)
	must(t, r.Settle(one, true))
	if _, err := r.TryLease(); !errors.Is(err, errs.ErrClosed) {
		t.Errorf("at the end: %v", err)
	}
}

// Acknowledged memory is used again, in whatever order it was acknowledged.
func TestReclaim(t *testing.T) {
	w := newWorld(MinArea, true)
	r := w.open(1)
	for round := range 50 {
		var all []Lease
		for i := range 4 {
			must(t, r.TryPut(msg(round+i, 900)))
		}
		if err := r.TryPut(make([]byte, 900)); !errors.Is(err, errs.ErrFull) {
			t.Fatalf("%v", err)
		}
		for i := range 4 {
			ls, err := r.TryLease()
			must(t, err)
			if !bytes.Equal(r.Body(ls), msg(round+i, 900)) {
				t.Fatal("other bytes")
			}
			all = append(all, ls)
		}
		for _, i := range []int{3, 1, 0, 2} {
			must(t, r.Settle(all[(i+round)%4], true))
		}
	}
}

// Everything arrives at least once and is done once, among consumers that give back at random; a
// producer that waits for room gets it.
func TestLeaseMany(t *testing.T) {
	const n, consumers = 600, 3
	w := newWorld(MinArea, true)
	var mu sync.Mutex
	done := map[string]int{}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	for i := range consumers {
		wg.Go(func() {
			r := w.open(uint32(10 + i))
			for k := 0; ; k++ {
				ls, err := r.Lease(ctx)
				if errors.Is(err, errs.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				m := string(r.Body(ls))
				ok := k%5 != i
				if err := r.Settle(ls, ok); err != nil {
					t.Error(err)
				}
				if ok {
					mu.Lock()
					done[m[:8]]++
					mu.Unlock()
				}
			}
		})
	}
	p := w.open(1)
	for i := range n {
		must(t, p.Put(bg, fmt.Appendf(nil, "%08d%s", i, make([]byte, i%200))))
	}
	p.Close()
	wg.Wait()
	for m, k := range done {
		if k != 1 {
			t.Errorf("%s was done %d times", m, k)
		}
	}
	if len(done) != n {
		t.Errorf("%d of %d were done", len(done), n)
	}
	if s, err := p.Stats(); err != nil || s.Depth != 0 || s.Gets != n {
		t.Errorf("%+v, %v", s, err)
	}
}

// The last message of a queue is acknowledged while another process has the consumer lock, and the queue is closed then. A
// consumer that sleeps beside it hears of the end although its holder lives on.
func TestEndBehindOneThatTakes(t *testing.T) {
	w := newWorld(MinArea, true)
	holder, taker, waiter := w.open(1), w.open(2), w.open(3)
	must(t, holder.Put(bg, msg(1, 9)))
	ls := lease(t, holder, string(msg(1, 9)), 1)
	done := begun(func() error {
		_, err := waiter.Lease(bg)
		return err
	})
	asleep(t, 1)
	if ok, _ := taker.ConsumerLock.TryLock(); !ok {
		t.Fatal("the consumer lock is taken")
	}
	must(t, holder.Settle(ls, true))
	taker.unlockConsumer()
	taker.Close()
	if err := ended(t, "the wait for a message", done); err != errs.ErrClosed {
		t.Errorf("a closed queue whose last message is done: %v", err)
	}
}
