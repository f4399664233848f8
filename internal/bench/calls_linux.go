package bench

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

// Calls measures what does not need another process.
func Calls(ctx context.Context, base string, idle time.Duration) ([]Result, error) {
	opt := &shiplap.Options{Dir: base}
	d, err := shiplap.Join("calls", opt)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var results []Result
	add := func(name string, unit string, v []float64) {
		slices.Sort(v)
		results = append(results, Result{Name: name, Section: "calls", Unit: unit,
			All: Figures{Slices: len(v), Median: v[len(v)/2], Min: v[0], Max: v[len(v)-1], P99: v[len(v)*99/100]}})
	}
	joins, err := times(200, func() error {
		j, err := shiplap.Join("calls.join", opt)
		if err != nil {
			return err
		}
		return j.Close()
	})
	if err != nil {
		return nil, err
	}
	add("join a domain and leave it", "ns", joins)
	q, err := queue.CreateRaw(d, "calls", nil)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	opens, err := times(500, func() error {
		o, err := queue.OpenRaw(d, "calls", nil)
		if err != nil {
			return err
		}
		return o.Close()
	})
	if err != nil {
		return nil, err
	}
	add("open an existing queue and close it", "ns", opens)
	allocs, err := hotAllocs(q)
	if err != nil {
		return nil, err
	}
	add("allocations of put and get, exclusive and shared", "1", []float64{allocs})
	for _, n := range []int{1, 64} {
		cpu, err := blocked(ctx, d, n, idle)
		if err != nil {
			return nil, err
		}
		name := "CPU while a process is blocked on a queue"
		if n > 1 {
			name = fmt.Sprintf("CPU while %d goroutines are blocked on %d queues", n, n)
		}
		add(name, "%", []float64{cpu})
	}
	return results, d.Remove(ctx, "calls")
}

func times(n int, f func() error) ([]float64, error) {
	var v []float64
	for range n {
		t := time.Now()
		if err := f(); err != nil {
			return nil, err
		}
		v = append(v, float64(time.Since(t).Nanoseconds()))
	}
	return v, nil
}

func hotAllocs(q *queue.Raw) (float64, error) {
	p, err := q.Producer(background)
	if err != nil {
		return 0, err
	}
	c, err := q.Consumer(background)
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 64)
	var bad error
	step := func(put func(context.Context, []byte) error, get func(context.Context, []byte) ([]byte, error)) func() {
		return func() {
			if err := put(background, buf); err != nil {
				bad = err
			}
			if buf, err = get(background, buf[:0]); err != nil {
				bad = err
			}
		}
	}
	n := allocs(1000, step(p.Put, c.Get))
	p.Close()
	c.Close()
	n += allocs(1000, step(q.Put, q.Get))
	return n, bad
}

// allocs is how many allocations a call of f makes, rounded down over n calls.
func allocs(n int, f func()) float64 {
	f()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		f()
	}
	runtime.ReadMemStats(&after)
	return float64((after.Mallocs - before.Mallocs) / uint64(n))
}

// blocked is the share of one CPU that n waiting goroutines take, in percent.
func blocked(ctx context.Context, d *shiplap.Domain, n int, idle time.Duration) (float64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, n)
	started := 0
	defer func() {
		cancel()
		for range started {
			<-done
		}
	}()
	for i := range n {
		q, err := queue.CreateRaw(d, fmt.Sprintf("idle.%d.%d", n, i), &queue.Options{Capacity: 4096, Ephemeral: true, Wait: shiplap.WaitSleep})
		if err != nil {
			return 0, err
		}
		started++
		go func() {
			_, err := q.Get(ctx, nil)
			q.Close()
			done <- err
		}()
	}
	select { // let them fall asleep
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	before, err := cpuTime()
	if err != nil {
		return 0, err
	}
	t := time.Now()
	select {
	case <-time.After(idle):
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	after, err := cpuTime()
	return 100 * float64(after-before) / float64(time.Since(t)), err
}

func cpuTime() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
