package lock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
)

var bg = killtest.Background()

func join(t testing.TB) *shiplap.Domain {
	t.Helper()
	d, err := shiplap.Join(strings.ReplaceAll(t.Name(), "/", "."), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		list, err := d.List()
		for _, o := range list {
			err = errors.Join(err, d.Remove(bg, o.Name))
		}
		ok(t, err, d.Close())
	})
	return d
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
}

// deadToken is of a slot that never had this generation.
const deadToken = 77<<10 | 900

// truncate shortens the file of an object.
func truncate(t testing.TB, d *shiplap.Domain, name string, size int64) {
	t.Helper()
	ok(t, os.Truncate(filepath.Join(d.Dir(), name), size))
}

// soon is a context that ends soon.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestMutex(t *testing.T) {
	d := join(t)
	a := must(CreateMutex(d, "m", nil))(t)
	b := must(OpenMutex(d, "m"))(t)
	ok(t, a.Lock(bg))
	is(t, b.TryLock(), shiplap.ErrBusy)
	is(t, b.Unlock(), shiplap.ErrConflict)
	is(t, b.Lock(soon(t)), context.DeadlineExceeded)
	ok(t, a.Unlock(), b.TryLock())
	is(t, a.Repaired(), shiplap.ErrConflict)
	ok(t, b.Close())
	is(t, a.TryLock(), shiplap.ErrBusy)
	ok(t, b.Unlock(), a.Lock(bg))
	is(t, b.Lock(bg), shiplap.ErrClosed)
	ok(t, a.Unlock(), a.Close())
	is(t, a.TryLock(), shiplap.ErrClosed)
	is(t, a.Close(), nil)
}

func TestMutexGoroutines(t *testing.T) {
	d := join(t)
	var wg sync.WaitGroup
	n, want := 0, 0
	for range 3 {
		m := must(OpenOrCreateMutex(d, "m", nil))(t)
		t.Cleanup(func() { m.Close() })
		for range 4 {
			want += 500
			wg.Go(func() {
				for range 500 {
					ok(t, m.Lock(bg))
					n++
					ok(t, m.Unlock())
				}
			})
		}
	}
	wg.Wait()
	if n != want {
		t.Errorf("%d, want %d", n, want)
	}
}

func TestRWMutex(t *testing.T) {
	d := join(t)
	a := must(CreateRWMutex(d, "m", nil))(t)
	b := must(OpenRWMutex(d, "m"))(t)
	ok(t, a.RLock(bg), b.RLock(bg), a.TryRLock())
	is(t, b.TryLock(), shiplap.ErrBusy)
	is(t, b.Lock(soon(t)), context.DeadlineExceeded)
	ok(t, a.RUnlock(), a.RUnlock())
	is(t, a.RUnlock(), shiplap.ErrConflict)
	done := make(chan error)
	go func() { done <- a.Lock(bg) }()
	for s, _ := a.Stats(); s.Holder == 0; s, _ = a.Stats() {
		time.Sleep(time.Millisecond)
	}
	is(t, b.TryRLock(), shiplap.ErrBusy)
	ok(t, b.RUnlock(), <-done)
	is(t, b.RLock(soon(t)), context.DeadlineExceeded)
	is(t, b.Unlock(), shiplap.ErrConflict)
	ok(t, a.Close(), a.Unlock(), b.RLock(bg), b.RUnlock(), b.Close())
}

func TestSemaphore(t *testing.T) {
	d := join(t)
	a := must(CreateSemaphore(d, "s", 3, nil))(t)
	b := must(OpenSemaphore(d, "s"))(t)
	is(t, a.Acquire(bg, 4), shiplap.ErrTooLarge)
	ok(t, a.Acquire(bg, 2), b.TryAcquire(1))
	is(t, b.TryAcquire(1), shiplap.ErrBusy)
	is(t, b.Acquire(soon(t), 1), context.DeadlineExceeded)
	is(t, b.Release(2), shiplap.ErrConflict)
	done := make(chan error)
	go func() { done <- b.Acquire(bg, 2) }()
	ok(t, a.Close(), a.Release(1), a.Release(1), <-done)
	s, err := b.Stats()
	if err != nil || s.Available != 0 || len(s.Holders) != 1 || s.Holders[0].Number != 3 {
		t.Errorf("%+v, %v", s, err)
	}
	ok(t, b.Release(3), b.Close())

	u := must(CreateSemaphore(d, "u", 2, &SemaphoreOptions{Unowned: true}))(t)
	is(t, u.Release(1), shiplap.ErrConflict)
	ok(t, u.Acquire(bg, 1), u.Release(1), u.Close())
}

func TestEvent(t *testing.T) {
	d := join(t)
	a := must(CreateEvent(d, "e", nil))(t)
	is(t, a.Wait(soon(t)), context.DeadlineExceeded)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() { ok(t, a.Wait(bg)) })
	}
	ok(t, a.Set(), a.Set(), a.Wait(bg))
	wg.Wait()
	ok(t, a.Clear())
	if set, err := a.IsSet(); set || err != nil {
		t.Error(set, err)
	}
	ok(t, a.Close())
}

func TestCond(t *testing.T) {
	d := join(t)
	m := must(CreateMutex(d, "m", nil))(t)
	c := must(CreateCond(d, "c", nil))(t)
	is(t, c.Wait(bg, m), ErrNotLocked)
	ready := 0
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			ok(t, m.Lock(bg), c.WaitFor(bg, m, func() bool { return ready > 0 }))
			ready--
			ok(t, m.Unlock())
		})
	}
	for range 4 {
		ok(t, m.Lock(bg))
		ready++
		ok(t, c.Signal(), m.Unlock())
	}
	wg.Wait()
	ok(t, m.Lock(bg))
	is(t, c.Wait(soon(t), m), context.DeadlineExceeded)
	ok(t, m.Unlock(), c.Close(), m.Close())
}

func TestBarrier(t *testing.T) {
	d := join(t)
	b := must(CreateBarrier(d, "b", 3, nil))(t)
	var sum atomic.Int64
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 100 {
				n, err := b.Wait(bg)
				ok(t, err)
				sum.Add(int64(n))
			}
		})
	}
	wg.Wait()
	if sum.Load() != 300 {
		t.Errorf("the numbers add up to %d", sum.Load())
	}
	wait := func() chan error {
		c := make(chan error, 1)
		was := must(b.Stats())(t).Waiting
		go func() {
			_, err := b.Wait(bg)
			c <- err
		}()
		for must(b.Stats())(t).Waiting == was {
			time.Sleep(time.Millisecond)
		}
		return c
	}
	one := wait()
	_, err := b.Wait(soon(t))
	is(t, err, context.DeadlineExceeded)
	is(t, <-one, ErrBroken)
	_, err = b.Wait(bg)
	is(t, err, ErrBroken)
	ok(t, b.Reset(bg))
	one, two := wait(), wait()
	ok(t, b.Reset(bg))
	is(t, <-one, ErrBroken)
	is(t, <-two, ErrBroken)
	one = wait()
	ok(t, b.Abort())
	is(t, <-one, ErrBroken)
	ok(t, b.Reset(bg), b.Close())
}
