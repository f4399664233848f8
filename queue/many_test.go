package queue_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/queue"
)

// TestTenThousandBlocked: goroutines blocked on a queue each share threads, and cost no CPU.
func TestTenThousandBlocked(t *testing.T) {
	n, spell := 10_000, 2*time.Second
	if testing.Short() {
		n, spell = 1_000, 300*time.Millisecond
	}
	var lim syscall.Rlimit
	ok(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim))
	if int(lim.Cur) < n+200 {
		t.Skipf("RLIMIT_NOFILE is %d; %d are needed", lim.Cur, n+200)
	}
	d := join(t, shmDir(t))
	ctx, cancel := context.WithCancel(bg)
	done := make(chan error, n)
	queues := make([]*queue.Raw, n)
	for i := range queues {
		q, err := queue.CreateRaw(d, fmt.Sprint("q", i), &queue.Options{Capacity: 4096})
		ok(t, err)
		queues[i] = q
		go func() { _, err := q.Get(ctx, nil); done <- err }()
	}
	time.Sleep(300 * time.Millisecond)
	before := cpuTime(t)
	time.Sleep(spell)
	used := cpuTime(t) - before
	tasks := threads(t)
	t.Logf("%d blocked: %d threads, %.2f %% of a CPU", n, tasks, 100*used.Seconds()/spell.Seconds())
	if tasks > 120 {
		t.Errorf("%d threads", tasks)
	}
	for i := 0; i < n; i += n / 10 { // each of them wakes
		ok(t, queues[i].TryPut([]byte("x")))
		select {
		case err := <-done:
			ok(t, err)
		case <-time.After(20 * time.Second):
			t.Fatalf("queue %d: nobody wakes", i)
		}
	}
	begin := time.Now()
	cancel()
	for range n - 10 {
		if err := <-done; err != context.Canceled {
			t.Fatal(err)
		}
	}
	t.Logf("all cancelled in %v", time.Since(begin))
	for _, q := range queues {
		ok(t, q.Close())
	}
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	ok(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestNoAllocations: hot paths allocate nothing.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	type point struct {
		X, Y float64
		N    int32
		Tag  [12]byte
	}
	d := join(t, shmDir(t))
	create := func(name string) *queue.Raw {
		q, err := queue.CreateRaw(d, name, nil)
		ok(t, err)
		t.Cleanup(func() { q.Close() })
		return q
	}
	shared, exclusive, in := create("shared"), create("exclusive"), message(1, 64)
	p, err := exclusive.Producer(bg)
	ok(t, err)
	c, err := exclusive.Consumer(bg)
	ok(t, err)
	typed, err := queue.Create[point](d, "typed", nil)
	ok(t, err)
	t.Cleanup(func() { typed.Close() })
	blobs, err := queue.Create[[]byte](d, "blobs", nil)
	ok(t, err)
	t.Cleanup(func() { blobs.Close() })
	both, err := queue.Create[point](d, "both", nil)
	ok(t, err)
	t.Cleanup(func() { both.Close() })
	tp, err := both.Producer(bg)
	ok(t, err)
	tc, err := both.Consumer(bg)
	ok(t, err)
	msgs := [][]byte{in, in, in, in}
	dst, blob, v := make([]byte, 0, 256), make([]byte, 0, 256), point{X: 1}
	accept := func([]byte) error { return nil }
	for _, c := range []struct {
		name string
		f    func() error
	}{
		{"Raw.Put, Get", func() error {
			err := shared.Put(bg, in)
			if err == nil {
				_, err = shared.Get(bg, dst[:0])
			}
			return err
		}},
		{"Raw.TryPut, TryGet", func() error {
			err := shared.TryPut(in)
			if err == nil {
				_, err = shared.TryGet(dst[:0])
			}
			return err
		}},
		{"Raw.PutMany, GetMany", func() error {
			_, err := shared.PutMany(bg, msgs)
			if err == nil {
				_, err = shared.GetMany(bg, 4, accept)
			}
			return err
		}},
		{"RawProducer.Put, RawConsumer.Get", func() error {
			err := p.Put(bg, in)
			if err == nil {
				_, err = c.Get(bg, dst[:0])
			}
			return err
		}},
		{"RawProducer.PutMany, RawConsumer.GetMany", func() error {
			_, err := p.PutMany(bg, msgs)
			if err == nil {
				_, err = c.GetMany(bg, 4, accept)
			}
			return err
		}},
		{"Reserve, Commit, Peek, Release", func() error {
			if _, err := p.Reserve(bg, 64); err != nil {
				return err
			}
			if err := p.Commit(64); err != nil {
				return err
			}
			if _, err := c.Peek(bg); err != nil {
				return err
			}
			return c.Release()
		}},
		{"Queue[struct].Put, GetInto", func() error {
			err := typed.Put(bg, v)
			if err == nil {
				err = typed.GetInto(bg, &v)
			}
			return err
		}},
		{"Queue[[]byte].Put, GetInto", func() error {
			err := blobs.Put(bg, in)
			if err == nil {
				err = blobs.GetInto(bg, &blob)
			}
			return err
		}},
		{"Producer[struct].Put, Consumer.GetInto", func() error {
			err := tp.Put(bg, v)
			if err == nil {
				err = tc.GetInto(bg, &v)
			}
			return err
		}},
	} {
		var err error
		n := testing.AllocsPerRun(1000, func() {
			if e := c.f(); e != nil {
				err = e
			}
		})
		ok(t, err)
		if n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}
