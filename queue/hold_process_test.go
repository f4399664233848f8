package queue_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/queue"
)

// holding is one way of holding a side of the queue, and the calls that it keeps waiting.
var holding = []struct {
	role string
	want func(ctx context.Context, q *queue.Raw) error // needs what the peer holds
	try  func(q *queue.Raw) error
}{
	{"hold Producer", wantPut, triesPut},
	{"hold Reserve", wantPut, triesPut},
	{"hold Consumer", wantGet, triesGet},
	{"hold Peek", wantGet, triesGet},
}

func wantPut(ctx context.Context, q *queue.Raw) error { return q.Put(ctx, message(2, 100)) }
func triesPut(q *queue.Raw) error                     { return q.TryPut(message(2, 100)) }
func wantGet(ctx context.Context, q *queue.Raw) error { _, err := q.Get(ctx, nil); return err }
func triesGet(q *queue.Raw) error                     { _, err := q.TryGet(nil); return err }

// prompt is P1's limit, with room for a busy machine.
const prompt = time.Second

// onTime tries something until it takes no longer than limit once, for on a busy machine anything may be late. What has
// a reason is late each time.
func onTime(t *testing.T, limit time.Duration, f func() (took time.Duration)) {
	t.Helper()
	for range 5 {
		took := f()
		t.Logf("it took %v", took)
		if took <= limit || t.Failed() {
			return
		}
	}
	t.Errorf("it never took less than %v", limit)
}

func TestHolderIsKilled(t *testing.T) {
	for _, h := range holding {
		t.Run(h.role, func(t *testing.T) {
			onTime(t, prompt, func() time.Duration {
				d, q := raw(t, nil)
				ok(t, q.TryPut(message(0, 100)))
				p := peertest.Start(t, d, h.role, 0)
				p.Says("holding")
				is(t, "a try", h.try(q), shiplap.ErrBusy)
				done := make(chan error, 1)
				go func() { done <- h.want(bg, q) }()
				time.Sleep(300 * time.Millisecond) // past the growing sleeps
				begin := time.Now()
				p.Signal(syscall.SIGKILL)
				ok(t, <-done)
				return time.Since(begin)
			})
		})
	}
}

func TestHolderIsStopped(t *testing.T) {
	for _, h := range holding {
		t.Run(h.role, func(t *testing.T) {
			t.Parallel()
			d, q := raw(t, nil)
			for i := range 3 {
				ok(t, q.TryPut(message(10+i, 100)))
			}
			p := peertest.Start(t, d, h.role, 0)
			p.Says("holding")
			p.Stop()
			ctx, cancel := context.WithTimeout(bg, 1500*time.Millisecond)
			defer cancel()
			is(t, "waiting for a stopped holder", h.want(ctx, q), context.DeadlineExceeded)
			is(t, "a try", h.try(q), shiplap.ErrBusy)
			done := make(chan error, 1)
			go func() { done <- h.want(bg, q) }()
			p.Signal(syscall.SIGCONT)
			p.CloseStdin()
			p.Says("done")
			ok(t, <-done)
			var left []int
			for {
				b, err := q.TryGet(nil)
				if err == shiplap.ErrEmpty {
					break
				}
				ok(t, err)
				i, err := number(b)
				ok(t, err)
				left = append(left, i)
			}
			want := []int{10, 11, 12, 1, 2}
			if h.role == "hold Consumer" || h.role == "hold Peek" {
				want = []int{12}
			}
			if !equalInts(left, want) {
				t.Errorf("in the queue are %v; %v are wanted", left, want)
			}
		})
	}
}

func equalInts(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// TestDeliveryOfTheStoppedAndTheDead: nobody gets what a stopped consumer has; all get what a dead one had.
func TestDeliveryOfTheStoppedAndTheDead(t *testing.T) {
	onTime(t, prompt, func() time.Duration { return redelivered(t) })
}

// redelivered returns how long it took after the death.
func redelivered(t *testing.T) time.Duration {
	t.Helper()
	d, q := raw(t, &queue.Options{Ack: true})
	ok(t, q.TryPut(message(5, 100)))
	p := peertest.Start(t, d, "hold delivery", 0)
	p.Says("holding")
	p.Stop()
	ctx, cancel := context.WithTimeout(bg, time.Second)
	defer cancel()
	if _, err := q.Receive(ctx); err != context.DeadlineExceeded {
		t.Fatalf("what a stopped consumer has was handed out: %v", err)
	}
	type result struct {
		d   *queue.RawDelivery
		err error
	}
	done := make(chan result, 1)
	go func() { d, err := q.Receive(bg); done <- result{d, err} }()
	time.Sleep(100 * time.Millisecond)
	begin := time.Now()
	p.Signal(syscall.SIGKILL)
	r := <-done
	ok(t, r.err)
	spent := time.Since(begin)
	if i, err := number(r.d.Body); err != nil || i != 5 || r.d.Count != 2 {
		t.Errorf("message %d, count %d (%v)", i, r.d.Count, err)
	}
	ok(t, r.d.Ack())
	if err := r.d.Ack(); !errors.Is(err, shiplap.ErrConflict) {
		t.Errorf("acknowledged twice: %v", err)
	}
	return spent
}

// TestSharedIsKilled kills processes that put and take all the time, in the middle of what they do.
func TestSharedIsKilled(t *testing.T) {
	d, q := raw(t, &queue.Options{Capacity: 8192})
	var worst time.Duration
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	for i := range rounds {
		a, b := peertest.Start(t, d, "shared put", 0), peertest.Start(t, d, "shared get", 0)
		a.Says("going")
		b.Says("going")
		time.Sleep(time.Duration(i) * time.Millisecond)
		for _, p := range []*peertest.Peer{a, b} {
			p.Signal(syscall.SIGKILL)
			begin := time.Now()
			ctx, cancel := context.WithTimeout(bg, 5*time.Second)
			if p == a {
				for err := error(nil); err != shiplap.ErrEmpty; { // b may be slower than that
					if _, err = q.TryGet(nil); err != nil && err != shiplap.ErrBusy && err != shiplap.ErrEmpty {
						t.Fatal(err)
					}
				}
			}
			ok(t, q.Put(ctx, message(i, 100)))
			worst = max(worst, time.Since(begin))
			cancel()
		}
		for {
			if _, err := q.TryGet(nil); err == shiplap.ErrEmpty {
				break
			} else if err != shiplap.ErrBusy { // the kernel takes a moment to prove a death
				ok(t, err)
			}
		}
	}
	t.Logf("%d times; others went on after %v at most", 2*rounds, worst)
	if worst > prompt {
		t.Errorf("others went on after %v", worst)
	}
}
