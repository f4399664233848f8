package row

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/futex"
)

// The owners of these tests tell of no death at all: what ends the waits is that everything is asked again.

// begun runs f beside the test.
func begun(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

func ended(t *testing.T, what string, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: no end", what)
		return nil
	}
}

// asleep waits until n goroutines of this process sleep.
func asleep(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		if d, m, _ := futex.Sleepers(); d+m >= n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d goroutines do not sleep", n)
		}
	}
}

// A consumer waits for a record that a process holds which then dies: one that had it before, one that takes it while the
// consumer sleeps and tells it, and one that takes it and tells nobody.
func TestLeaseOfTheDeadUntold(t *testing.T) {
	for _, c := range []struct {
		name         string
		before, tell bool
	}{{"held before", true, true}, {"taken meanwhile", false, true}, {"taken meanwhile, untold", false, false}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(MinArea, true)
			put := func() { must(t, w.open(1).TryPut([]byte("work"))) }
			holder := w.open(7)
			lease := func() {
				ls, err := holder.TryLease()
				if err != nil || ls.Count != 1 {
					t.Fatalf("%+v, %v", ls, err)
				}
			}
			if c.before {
				put()
				lease()
			}
			var got Lease
			r := w.open(8)
			done := begun(func() (err error) {
				got, err = r.Lease(bg)
				return err
			})
			asleep(t, 1)
			if !c.before {
				if !c.tell {
					holder.announced.Store(1 << 62)
				}
				// The put and the lease in one step, so that the sleeper cannot be first.
				ok, _ := holder.ConsumerLock.TryLock()
				if !ok {
					t.Fatal("the consumer lock is taken")
				}
				put()
				_, err := holder.leaseUnlock(nil)
				must(t, err)
				if c.tell {
					holder.announce()
				}
			}
			select {
			case err := <-done:
				t.Fatalf("it did not wait: %v", err)
			default:
			}
			w.dead.Store(uint32(7), true)
			if err := ended(t, c.name, done); err != nil || got.Count != 2 {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// A record is acknowledged while another consumer has the lock of its side: a producer that waits for room gets it when
// that one gives the lock back, or dies.
func TestRoomBesideALease(t *testing.T) {
	for _, dies := range []bool{false, true} {
		t.Run(fmt.Sprintf("dies %v", dies), func(t *testing.T) {
			w := newWorld(MinArea, true)
			p := w.open(1)
			big := make([]byte, p.MaxPayload()/2-16)
			must(t, p.TryPut(big))
			must(t, p.TryPut(big))
			slow, quick := w.open(7), w.open(8)
			ls, err := quick.TryLease()
			must(t, err)
			done := begun(func() error { return p.Put(bg, big) })
			asleep(t, 1)
			if ok, _ := slow.ConsumerLock.TryLock(); !ok {
				t.Fatal("the consumer lock is taken")
			}
			must(t, quick.Settle(ls, true))
			if !slow.headDone() {
				t.Fatal("it was taken back in spite of the lock: nothing is tried")
			}
			if dies {
				w.dead.Store(uint32(7), true)
			} else {
				slow.unlockConsumer()
			}
			must(t, ended(t, "put", done))
		})
	}
}

// A producer dies while it is busy in a closed queue; consumers of both sorts learn that nothing will come.
func TestBusyProducerDies(t *testing.T) {
	for _, ack := range []bool{false, true} {
		t.Run(fmt.Sprintf("ack %v", ack), func(t *testing.T) {
			w := newWorld(MinArea, ack)
			p := w.open(7)
			if ok, _ := p.ProducerLock.TryLock(); !ok {
				t.Fatal("the producer lock is taken")
			}
			p.busy.StoreRelease(1)
			p.Close()
			r := w.open(8)
			done := begun(func() (err error) {
				if ack {
					_, err = r.Lease(bg)
				} else {
					_, err = r.Get(bg, nil)
				}
				return err
			})
			asleep(t, 1)
			w.dead.Store(uint32(7), true)
			if err := ended(t, "get", done); !errors.Is(err, errs.ErrClosed) {
				t.Error(err)
			}
		})
	}
}

// A wait on a full and on an empty queue ends with its context wherever it stands.
func TestWaitsAreCancelled(t *testing.T) {
	w := newWorld(MinArea, false)
	r := w.open(1)
	ctx, cancel := context.WithCancel(bg)
	get := begun(func() error { _, err := r.Get(ctx, nil); return err })
	asleep(t, 1)
	cancel()
	if err := ended(t, "get", get); err != context.Canceled {
		t.Error(err)
	}
	for r.TryPut(make([]byte, 100)) == nil {
	}
	ctx, cancel = context.WithCancel(bg)
	put := begun(func() error { return r.Put(ctx, make([]byte, 100)) })
	asleep(t, 1)
	cancel()
	if err := ended(t, "put", put); err != context.Canceled {
		t.Error(err)
	}
}

// A producer died in the middle of a put into a closed queue, while a living process holds a record: who waits for that
// record repairs what the dead one left, and sleeps. It does not ask again and again.
func TestLeaseSleepsBesideDeadProducer(t *testing.T) {
	w := newWorld(MinArea, true)
	must(t, w.open(1).TryPut([]byte("work")))
	holder := w.open(7)
	ls, err := holder.TryLease()
	must(t, err)
	dead := w.open(9)
	if ok, _ := dead.ProducerLock.TryLock(); !ok {
		t.Fatal("the producer lock is taken")
	}
	dead.busy.Store(1)
	w.dead.Store(uint32(9), true)
	r := w.open(8)
	r.Close()
	ctx, cancel := context.WithCancel(bg)
	done := begun(func() error {
		_, err := r.Lease(ctx)
		return err
	})
	defer cancel()
	asleep(t, 1)
	must(t, holder.Settle(ls, true))
	if err := ended(t, "the wait for the last record", done); err != errs.ErrClosed {
		t.Error(err)
	}
}
