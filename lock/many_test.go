package lock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
)

// blocker is an object at which calls wait.
type blocker struct {
	name  string
	wait  func(ctx context.Context) error // waits; whatever it takes it gives back
	free  func() error                    // lets all go on
	close func() error
	quiet func() error // nobody waits, says the object
}

// blockers makes one of each kind.
func blockers(t testing.TB, d *shiplap.Domain, i int) []blocker {
	t.Helper()
	name := func(kind string) string { return fmt.Sprint(kind, i) }
	m := must(CreateMutex(d, name("mutex"), nil))(t)
	ok(t, m.Lock(bg))
	rw := must(CreateRWMutex(d, name("rwmutex"), nil))(t)
	ok(t, rw.Lock(bg))
	drain := must(CreateRWMutex(d, name("drain"), nil))(t)
	ok(t, drain.RLock(bg))
	s := must(CreateSemaphore(d, name("semaphore"), 1, nil))(t)
	ok(t, s.Acquire(bg, 1))
	e := must(CreateEvent(d, name("event"), nil))(t)
	c := must(CreateCond(d, name("cond"), nil))(t)
	cm := must(CreateMutex(d, name("condmutex"), nil))(t)
	b := must(CreateBarrier(d, name("barrier"), 1<<10, nil))(t)
	waiters := func(n int) error {
		if n != 0 {
			return fmt.Errorf("%d waiters", n)
		}
		return nil
	}
	return []blocker{
		{"Mutex.Lock", func(ctx context.Context) error {
			err := m.Lock(ctx)
			if err == nil {
				err = m.Unlock()
			}
			return err
		}, m.Unlock, m.Close, func() error { return waiters(len(must(m.Stats())(t).Waiters)) }},
		{"RWMutex.RLock", func(ctx context.Context) error {
			err := rw.RLock(ctx)
			if err == nil {
				err = rw.RUnlock()
			}
			return err
		}, rw.Unlock, rw.Close, func() error { return waiters(len(must(rw.Stats())(t).Waiters)) }},
		{"RWMutex.Lock", func(ctx context.Context) error {
			err := drain.Lock(ctx)
			if err == nil {
				err = drain.Unlock()
			}
			return err
		}, drain.RUnlock, drain.Close, func() error { return waiters(len(must(drain.Stats())(t).Waiters)) }},
		{"Semaphore.Acquire", func(ctx context.Context) error {
			err := s.Acquire(ctx, 1)
			if err == nil {
				err = s.Release(1)
			}
			return err
		}, func() error { return s.Release(1) }, s.Close, func() error { return waiters(len(must(s.Stats())(t).Queue.Waiters)) }},
		{"Event.Wait", e.Wait, e.Set, e.Close, func() error { return nil }},
		{"Cond.Wait", func(ctx context.Context) error {
			err := cm.Lock(ctx)
			if err == nil {
				err = errors.Join(c.Wait(ctx, cm), cm.Unlock())
			}
			return err
		}, c.Broadcast, func() error { return errors.Join(c.Close(), cm.Close()) }, func() error { return waiters(len(must(cm.Stats())(t).Waiters)) }},
		{"Barrier.Wait", func(ctx context.Context) error {
			_, err := b.Wait(ctx)
			return err
		}, b.Abort, b.Close, func() error { return nil }},
	}
}

// status is a number of /proc/self/status.
func status(t testing.TB, what string) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	ok(t, err)
	_, rest, _ := strings.Cut(string(b), "\n"+what+":")
	line, _, _ := strings.Cut(rest, "\n")
	return must(strconv.Atoi(strings.TrimSpace(line)))(t)
}

func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	ok(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen: " + what)
		}
	}
}

// TestThousandsBlocked: ten thousand goroutines that wait share threads, and cancelling leaves nothing of them.
func TestThousandsBlocked(t *testing.T) {
	rounds, spell := 1430, 2*time.Second
	if testing.Short() || raceEnabled {
		rounds, spell = 100, 300*time.Millisecond
	}
	var lim syscall.Rlimit
	ok(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim))
	if int(lim.Cur) < 8*rounds+200 {
		t.Skipf("RLIMIT_NOFILE is %d; %d are needed", lim.Cur, 8*rounds+200)
	}
	var fs syscall.Statfs_t
	ok(t, syscall.Statfs(os.Getenv("SHIPLAP_DIR"), &fs))
	if need := uint64(rounds) * 300 << 10; fs.Bavail*uint64(fs.Bsize) < need {
		t.Skipf("%d MiB of shared memory are needed", need>>20)
	}
	d := join(t)
	var all []blocker
	for i := range rounds {
		all = append(all, blockers(t, d, i)...)
	}
	goroutines, descriptors := runtime.NumGoroutine(), len(leaktest.Descriptors())
	ctx, cancel := context.WithCancel(bg)
	done := make(chan error, len(all))
	for _, b := range all {
		go func() { done <- b.wait(ctx) }()
	}
	time.Sleep(time.Second)
	before := cpuTime(t)
	time.Sleep(spell)
	used := cpuTime(t) - before
	threads := status(t, "Threads")
	t.Logf("%d blocked: %d threads, %.2f %% of a CPU", len(all), threads, 100*used.Seconds()/spell.Seconds())
	if threads > 120 {
		t.Errorf("%d threads", threads)
	}
	woken := all[len(all)/2/7*7:][:7]
	for _, b := range woken { // each kind wakes
		ok(t, b.free())
		select {
		case err := <-done:
			if !errors.Is(err, ErrBroken) {
				ok(t, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: nobody wakes", b.name)
		}
	}
	begin := time.Now()
	cancel()
	for range len(all) - len(woken) {
		is(t, <-done, context.Canceled)
	}
	t.Logf("all cancelled in %v", time.Since(begin))
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
	if n := len(leaktest.Descriptors()); n > descriptors {
		t.Errorf("%d descriptors, %d before", n, descriptors)
	}
	for _, b := range all {
		ok(t, b.quiet())
		_ = b.free() // of seven for the second time
		ok(t, b.close())
	}
}

// TestBlockedEnds: whoever waits is let go by what it waits for, a context, Close and Remove, and leaves no trace.
func TestBlockedEnds(t *testing.T) {
	const n = 5 // goroutines at each
	for _, end := range []struct {
		name string
		each bool // it is done to each object
		do   func(d *shiplap.Domain, b blocker, cancel func()) error
		want error
	}{
		{"free", true, func(_ *shiplap.Domain, b blocker, _ func()) error { return b.free() }, nil},
		{"cancel", false, func(_ *shiplap.Domain, _ blocker, cancel func()) error { cancel(); return nil }, context.Canceled},
		{"close", true, func(_ *shiplap.Domain, b blocker, _ func()) error { return b.close() }, shiplap.ErrClosed},
		{"remove", false, func(d *shiplap.Domain, _ blocker, _ func()) error {
			list, err := d.List()
			for _, o := range list {
				err = errors.Join(err, d.Remove(bg, o.Name))
			}
			return err
		}, shiplap.ErrRemoved},
	} {
		t.Run(end.name, func(t *testing.T) {
			d := join(t)
			all := blockers(t, d, 0)
			goroutines := runtime.NumGoroutine()
			ctx, cancel := context.WithCancel(bg)
			defer cancel()
			done := make([]chan error, len(all))
			for i, b := range all {
				done[i] = make(chan error, n)
				for range n {
					go func() { done[i] <- b.wait(ctx) }()
				}
			}
			time.Sleep(30 * time.Millisecond)
			for i, b := range all {
				if len(done[i]) > 0 && (i == 0 || end.each) {
					t.Fatalf("%s does not wait: %v", b.name, <-done[i])
				}
				begin := time.Now()
				if i == 0 || end.each {
					ok(t, end.do(d, b, cancel))
				}
				for range n {
					select {
					case err := <-done[i]:
						if !errors.Is(err, ErrBroken) {
							is(t, err, end.want)
						}
					case <-time.After(time.Minute):
						t.Fatalf("%s still waits", b.name)
					}
				}
				t.Logf("%s: the last one returned after %v", b.name, time.Since(begin))
			}
			eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
			for _, b := range all {
				if end.want == nil || end.name == "cancel" {
					ok(t, b.quiet())
				}
				_ = b.free()
				ok(t, b.close())
			}
		})
	}
}

// TestQuiet: a thread that waits long is woken four times a second at most. The mutex is another process's.
func TestQuiet(t *testing.T) {
	d := join(t)
	spell := 3 * time.Second
	if testing.Short() {
		spell = time.Second
	}
	m := must(CreateMutex(d, "m", nil))(t)
	defer m.Close()
	p := peertest.Start(t, d, "hold", 0)
	p.Says("holding")
	all := blockers(t, d, 0)
	waiting := append([]blocker{{name: "Mutex.Lock", wait: m.Lock}}, all[2:]...)
	ctx, cancel := context.WithCancel(bg)
	done, tids := make(chan error), make(chan int)
	threads := make([]int, len(waiting))
	for i, b := range waiting {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			tids <- syscall.Gettid()
			done <- b.wait(ctx)
		}()
		threads[i] = <-tids
	}
	time.Sleep(600 * time.Millisecond) // past the growing sleeps
	before := make([]int, len(waiting))
	for i, tid := range threads {
		before[i] = switches(t, tid)
	}
	time.Sleep(spell)
	for i, tid := range threads {
		n := float64(switches(t, tid)-before[i]) / spell.Seconds()
		t.Logf("%s: %.1f sleeps a second", waiting[i].name, n)
		if n > 8 { // four, and what the runtime adds
			t.Errorf("%s: %.1f sleeps a second", waiting[i].name, n)
		}
	}
	cancel()
	for range waiting {
		<-done
	}
	for _, b := range all {
		ok(t, b.free(), b.close())
	}
}

// switches is how often a thread of this process went to sleep.
func switches(t testing.TB, tid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/status", tid))
	ok(t, err)
	_, rest, _ := strings.Cut(string(b), "\nvoluntary_ctxt_switches:")
	line, _, _ := strings.Cut(rest, "\n")
	return must(strconv.Atoi(strings.TrimSpace(line)))(t)
}

// TestCloseRaces: Close in the midst of calls, hundreds of times. Calls work or say ErrClosed.
func TestCloseRaces(t *testing.T) {
	d := join(t)
	m0 := must(CreateMutex(d, "m", nil))(t)
	rw0 := must(CreateRWMutex(d, "rw", nil))(t)
	s0 := must(CreateSemaphore(d, "s", 2, nil))(t)
	e0 := must(CreateEvent(d, "e", nil))(t)
	c0 := must(CreateCond(d, "c", nil))(t)
	b0 := must(CreateBarrier(d, "b", 3, nil))(t)
	rounds := 150
	if testing.Short() {
		rounds = 20
	}
	protected := 0
	for i, begin := 0, time.Now(); i < rounds && (i < 20 || time.Since(begin) < 5*time.Second); i++ {
		m, rw, s := must(OpenMutex(d, "m"))(t), must(OpenRWMutex(d, "rw"))(t), must(OpenSemaphore(d, "s"))(t)
		e, c, b := must(OpenEvent(d, "e"))(t), must(OpenCond(d, "c"))(t), must(OpenBarrier(d, "b"))(t)
		var wg sync.WaitGroup
		again := func(f func(ctx context.Context) error) {
			wg.Go(func() {
				for {
					ctx, cancel := context.WithTimeout(bg, 2*time.Millisecond)
					err := f(ctx)
					cancel()
					switch {
					case errors.Is(err, shiplap.ErrClosed):
						return
					case err == nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, shiplap.ErrBusy), errors.Is(err, ErrBroken):
					default:
						t.Errorf("%v", err)
						return
					}
				}
			})
		}
		then := func(err error, next func() error) error {
			if err == nil {
				err = next()
			}
			return err
		}
		again(func(ctx context.Context) error {
			return then(m.Lock(ctx), func() error { protected++; return m.Unlock() })
		})
		again(func(context.Context) error {
			return then(m.TryLock(), func() error { protected++; return errors.Join(m.MarkSince(), m.Unlock()) })
		})
		again(func(context.Context) error { _, err := m.Stats(); return err })
		again(func(ctx context.Context) error { return then(rw.RLock(ctx), rw.RUnlock) })
		again(func(ctx context.Context) error { return then(rw.Lock(ctx), rw.Unlock) })
		again(func(context.Context) error { return then(rw.TryRLock(), rw.RUnlock) })
		again(func(context.Context) error { return then(rw.TryLock(), rw.Unlock) })
		again(func(ctx context.Context) error { return then(s.Acquire(ctx, 2), func() error { return s.Release(2) }) })
		again(func(context.Context) error { return then(s.TryAcquire(1), func() error { return s.Release(1) }) })
		again(func(context.Context) error { return then(e.Set(), e.Clear) })
		again(e.Wait)
		again(func(context.Context) error { return c.Signal() })
		again(func(ctx context.Context) error {
			return then(m.Lock(ctx), func() error {
				err := c.Wait(ctx, m)
				if errors.Is(err, ErrNotLocked) {
					return err
				}
				return errors.Join(err, m.Unlock())
			})
		})
		again(func(ctx context.Context) error { _, err := b.Wait(ctx); return err })
		again(b.Reset)
		for range i % 20 {
			runtime.Gosched()
		}
		time.Sleep(time.Duration(i%4) * 100 * time.Microsecond)
		for _, h := range []interface{ Close() error }{m, rw, s, e, c, b} {
			wg.Go(func() { ok(t, h.Close()) })
		}
		wg.Wait()
		if m.m.Held() || rw.held.Held() || rw.readers.Load() != 0 || s.mine.Load() != 0 {
			t.Fatalf("round %d: closed, and held: %v, %v, %d readers, %d permits", i, m.m.Held(), rw.held.Held(), rw.readers.Load(), s.mine.Load())
		}
	}
	ok(t, m0.TryLock(), m0.Unlock(), rw0.TryLock(), rw0.Unlock(), s0.TryAcquire(2), s0.Release(2))
	for _, h := range []interface{ Close() error }{m0, rw0, s0, e0, c0, b0} {
		ok(t, h.Close())
	}
}
