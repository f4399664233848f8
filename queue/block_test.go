package queue_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

// blocking are all calls that wait. prepare makes them do so.
var blocking = []struct {
	name    string
	ack     bool
	taken   side // by another handle
	prepare func(t *testing.T, q *queue.Raw) (call func(ctx context.Context) error, close func() error)
}{
	{"Put, full", false, noSide, func(t *testing.T, q *queue.Raw) (func(context.Context) error, func() error) {
		fill(t, q)
		return func(ctx context.Context) error { return q.Put(ctx, message(1, 100)) }, q.Close
	}},
	{"PutMany, full", false, noSide, func(t *testing.T, q *queue.Raw) (func(context.Context) error, func() error) {
		fill(t, q)
		return func(ctx context.Context) error { _, err := q.PutMany(ctx, [][]byte{message(1, 100)}); return err }, q.Close
	}},
	{"Put, side taken", false, putting, func(t *testing.T, q *queue.Raw) (func(context.Context) error, func() error) {
		return func(ctx context.Context) error { return q.Put(ctx, message(1, 100)) }, q.Close
	}},
	{"Producer, side taken", false, putting, func(t *testing.T, q *queue.Raw) (func(context.Context) error, func() error) {
		return func(ctx context.Context) error { _, err := q.Producer(ctx); return err }, q.Close
	}},
	{"Consumer, side taken", false, taking, func(t *testing.T, q *queue.Raw) (func(context.Context) error, func() error) {
		return func(ctx context.Context) error { _, err := q.Consumer(ctx); return err }, q.Close
	}},
	{"Get, empty", false, noSide, func(t *testing.T, q *queue.Raw) (func(context.Context) error, func() error) {
		return func(ctx context.Context) error { _, err := q.Get(ctx, nil); return err }, q.Close
	}},
	{"Get, side taken", false, taking, func(t *testing.T, q *queue.Raw) (func(context.Context) error, func() error) {
		ok(t, q.TryPut(message(1, 100)))
		return func(ctx context.Context) error { _, err := q.Get(ctx, nil); return err }, q.Close
	}},
	{"GetMany, empty", false, noSide, func(t *testing.T, q *queue.Raw) (func(context.Context) error, func() error) {
		return func(ctx context.Context) error {
			_, err := q.GetMany(ctx, 3, func([]byte) error { return nil })
			return err
		}, q.Close
	}},
	{"Receive, empty", true, noSide, func(t *testing.T, q *queue.Raw) (func(context.Context) error, func() error) {
		return func(ctx context.Context) error { _, err := q.Receive(ctx); return err }, q.Close
	}},
	{"Receive, all handed out", true, noSide, func(t *testing.T, q *queue.Raw) (func(context.Context) error, func() error) {
		ok(t, q.TryPut(message(1, 100)))
		_, err := q.Receive(bg)
		ok(t, err)
		return func(ctx context.Context) error { _, err := q.Receive(ctx); return err }, q.Close
	}},
	{"Put, full of what is handed out", true, noSide, func(t *testing.T, q *queue.Raw) (func(context.Context) error, func() error) {
		fill(t, q)
		_, err := q.Receive(bg)
		ok(t, err)
		return func(ctx context.Context) error { return q.Put(ctx, message(1, 100)) }, q.Close
	}},
	{"RawProducer.Put, full", false, noSide, func(t *testing.T, q *queue.Raw) (func(context.Context) error, func() error) {
		p := fullProducer(t, q)
		return func(ctx context.Context) error { return p.Put(ctx, message(1, 100)) }, p.Close
	}},
	{"RawProducer.PutMany, full", false, noSide, func(t *testing.T, q *queue.Raw) (func(context.Context) error, func() error) {
		p := fullProducer(t, q)
		return func(ctx context.Context) error { _, err := p.PutMany(ctx, [][]byte{message(1, 100)}); return err }, p.Close
	}},
	{"RawProducer.Reserve, full", false, noSide, func(t *testing.T, q *queue.Raw) (func(context.Context) error, func() error) {
		p := fullProducer(t, q)
		return func(ctx context.Context) error { _, err := p.Reserve(ctx, 100); return err }, p.Close
	}},
	{"RawConsumer.Get, empty", false, noSide, func(t *testing.T, q *queue.Raw) (func(context.Context) error, func() error) {
		c, err := q.Consumer(bg)
		ok(t, err)
		return func(ctx context.Context) error { _, err := c.Get(ctx, nil); return err }, c.Close
	}},
	{"RawConsumer.GetMany, empty", false, noSide, func(t *testing.T, q *queue.Raw) (func(context.Context) error, func() error) {
		c, err := q.Consumer(bg)
		ok(t, err)
		return func(ctx context.Context) error {
			_, err := c.GetMany(ctx, 3, func([]byte) error { return nil })
			return err
		}, c.Close
	}},
	{"RawConsumer.Peek, empty", false, noSide, func(t *testing.T, q *queue.Raw) (func(context.Context) error, func() error) {
		c, err := q.Consumer(bg)
		ok(t, err)
		return func(ctx context.Context) error { _, err := c.Peek(ctx); return err }, c.Close
	}},
}

func fill(t *testing.T, q *queue.Raw) {
	t.Helper()
	for {
		if err := q.TryPut(message(0, 100)); err == shiplap.ErrFull {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func fullProducer(t *testing.T, q *queue.Raw) *queue.RawProducer {
	t.Helper()
	p, err := q.Producer(bg)
	ok(t, err)
	for {
		if err := p.TryPut(message(0, 100)); err == shiplap.ErrFull {
			return p
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// eachBlocking starts each call, waits until it sleeps, and ends it.
func eachBlocking(t *testing.T, want error, end func(d *shiplap.Domain, q *queue.Raw, cancel func(), close func() error) error) {
	for _, b := range blocking {
		t.Run(b.name, func(t *testing.T) {
			onTime(t, 300*time.Millisecond, func() time.Duration {
				d, q := raw(t, &queue.Options{Capacity: 4096, Ack: b.ack, Wait: shiplap.WaitSleep})
				call, closeHandle := b.prepare(t, q)
				other, err := queue.OpenRaw(d, "q", nil)
				ok(t, err)
				defer other.Close()
				switch b.taken {
				case putting:
					_, err = other.Producer(bg)
				case taking:
					_, err = other.Consumer(bg)
				}
				ok(t, err)
				ctx, cancel := context.WithCancel(bg)
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- call(ctx) }()
				time.Sleep(20 * time.Millisecond)
				select {
				case err := <-done:
					t.Fatalf("it does not wait: %v", err)
				default:
				}
				begin, spent := time.Now(), time.Duration(0)
				ok(t, end(d, q, cancel, closeHandle))
				select {
				case err := <-done:
					spent = time.Since(begin)
					is(t, "the call", err, want)
				case <-time.After(10 * time.Second):
					t.Fatal("it still waits")
				}
				locks, err := d.Locks("")
				ok(t, err)
				for _, l := range locks {
					if len(l.Waiters) > 0 {
						t.Errorf("lock %s has waiters: %v", l.Lock, l.Waiters)
					}
				}
				return spent
			})
		})
	}
}

func TestCancelWhileBlocked(t *testing.T) {
	eachBlocking(t, context.Canceled, func(_ *shiplap.Domain, _ *queue.Raw, cancel func(), _ func() error) error {
		cancel()
		return nil
	})
}

func TestCloseWhileBlocked(t *testing.T) {
	eachBlocking(t, shiplap.ErrClosed, func(_ *shiplap.Domain, _ *queue.Raw, _ func(), close func() error) error { return close() })
}

func TestRemoveWhileBlocked(t *testing.T) {
	eachBlocking(t, shiplap.ErrRemoved, func(d *shiplap.Domain, _ *queue.Raw, _ func(), _ func() error) error { return d.Remove(bg, "q") })
}

// TestCloseAndDrain: what producers put while the queue is being closed comes out, or their put is refused.
func TestCloseAndDrain(t *testing.T) {
	for _, ack := range []bool{false, true} {
		for range 30 {
			_, q := raw(t, &queue.Options{Capacity: 8192, Ack: ack})
			var mu sync.Mutex
			put, took := map[int]bool{}, map[int]int{}
			var wg sync.WaitGroup
			for p := range 4 {
				wg.Go(func() {
					for i := p * 1_000_000; ; i++ {
						err := q.Put(bg, message(i, 50))
						if errors.Is(err, shiplap.ErrClosed) {
							return
						}
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						put[i] = true
						mu.Unlock()
					}
				})
			}
			for range 2 {
				wg.Go(func() {
					for b, err := range q.All(bg) {
						if err != nil {
							t.Error(err)
							return
						}
						i, err := number(b)
						if err != nil {
							t.Error(err)
						}
						mu.Lock()
						took[i]++
						mu.Unlock()
					}
				})
			}
			time.Sleep(3 * time.Millisecond)
			ok(t, q.CloseQueue())
			wg.Wait()
			for i, n := range took {
				if n != 1 || !put[i] {
					t.Errorf("message %d came %d times, put is %v", i, n, put[i])
				}
			}
			if len(put) != len(took) {
				t.Errorf("%d put, %d taken", len(put), len(took))
			}
			ok(t, q.Close())
		}
	}
}
