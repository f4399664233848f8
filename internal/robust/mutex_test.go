package robust

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

var bg = context.Background()

const (
	off       = object.HeaderSize
	deadToken = 77<<10 | 900 // of a slot that never had this generation
)

func ok(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
}

// handle opens the object "m" with a lock, once more, and the space with it; end gives both up.
func handle(t testing.TB, size int) (m *Mutex, s *object.Space) {
	t.Helper()
	s, err := object.Enter(os.Getenv("SHIPLAP_DIR"), strings.ReplaceAll(t.Name(), "/", "."), wait.Adaptive)
	ok(t, err)
	parts := []mem.Part{{Len: size}}
	o, err := object.OpenOrCreate(
		func() (*object.Object, error) {
			return s.Open("m", object.Mutex, func(*object.Header) ([]mem.Part, error) { return parts, nil })
		},
		func() (*object.Object, error) {
			return s.Create("m", object.Spec{Kind: object.Mutex, Parts: parts, Locks: []object.LockAt{{Name: "mutex", Off: off}}})
		})
	ok(t, err)
	t.Cleanup(func() { os.Remove(filepath.Join(s.Dir.Path(), "m")) })
	m, err = New(o, off)
	ok(t, err, s.Release()) // the object keeps it
	return m, s
}

func (m *Mutex) end() error {
	err := m.obj.Close()
	m.Close()
	return err
}

// sizes are those of an object whose memory lingers, and of one whose does not.
var sizes = map[string]int{"lingers": 8192, "goes": 1 << 20}

func each(t *testing.T, f func(t *testing.T, size int)) {
	for name, size := range sizes {
		t.Run(name, func(t *testing.T) { f(t, size) })
	}
}

// gone reports whether the process left the domain.
func gone(s *object.Space) bool { return errors.Is(s.Retain(), errs.ErrClosed) || s.Release() != nil }

func TestMisuse(t *testing.T) {
	each(t, func(t *testing.T, size int) {
		m, _ := handle(t, size)
		for range 2 {
			is(t, m.Unlock(), errs.ErrConflict)
			is(t, m.Repaired(), errs.ErrConflict)
			is(t, m.MarkSince(), errs.ErrConflict)
			ok(t, m.Lock(bg), m.Unlock())
		}
		ok(t, m.TryLock())
		is(t, m.TryLock(), errs.ErrBusy)
		ok(t, m.MarkSince(), m.Unlock(), m.end())
		is(t, m.Lock(bg), errs.ErrClosed)
		is(t, m.TryLock(), errs.ErrClosed)
		is(t, m.Unlock(), errs.ErrConflict)
		is(t, m.Repaired(), errs.ErrConflict)
		if m.Held() {
			t.Error("held")
		}
		m.Close()
	})
}

// The memory of a death lasts until somebody says Repaired.
func TestDamage(t *testing.T) {
	each(t, func(t *testing.T, size int) {
		a, _ := handle(t, size)
		b, _ := handle(t, size)
		a.obj.Ctl.U32(off).Store(deadToken)
		is(t, a.Lock(bg), errs.ErrOwnerDied)
		ok(t, a.Unlock())
		is(t, b.TryLock(), errs.ErrOwnerDied)
		ok(t, b.Unlock())
		is(t, b.Lock(bg), errs.ErrOwnerDied)
		ok(t, b.Repaired())
		b.obj.Ctl.U32(off).Store(deadToken) // dead after Repaired, before Unlock
		b.held.Store(notHeld)
		if !b.lingers {
			b.obj.Gate.Leave()
		}
		is(t, a.TryLock(), errs.ErrOwnerDied)
		ok(t, a.Repaired(), a.Unlock(), b.Lock(bg), b.Unlock(), a.Lock(bg), a.Unlock())
		ok(t, a.end(), b.end())
	})
}

// A hold goes on when the handle is closed, and keeps the process in the domain.
func TestCloseWhileHeld(t *testing.T) {
	each(t, func(t *testing.T, size int) {
		for _, lock := range []func(m *Mutex) error{
			func(m *Mutex) error { return m.Lock(bg) },
			(*Mutex).TryLock,
			func(m *Mutex) error { m.obj.Ctl.U32(off).Store(deadToken); return m.Lock(bg) },
		} {
			m, s := handle(t, size)
			if err := lock(m); err != nil {
				is(t, err, errs.ErrOwnerDied)
			}
			ok(t, m.end(), m.end())
			if gone(s) || !m.Held() {
				t.Fatal("the process left the domain with the lock")
			}
			is(t, m.TryLock(), errs.ErrClosed)
			ok(t, m.MarkSince(), m.Repaired(), m.Unlock())
			if !gone(s) {
				t.Error("the process is still in the domain")
			}
		}
	})
}

// Close between the two steps of an Unlock: the process stays in the domain until the lock is free.
func TestCloseWhileUnlocking(t *testing.T) {
	m, s := handle(t, sizes["lingers"])
	ok(t, m.Lock(bg))
	m.held.StoreRelease(released) // Unlock, so far
	ok(t, m.end())
	time.Sleep(10 * time.Millisecond)
	if gone(s) {
		t.Fatal("the process left the domain with the lock")
	}
	m.lock.Unlock()
	for end := time.Now().Add(10 * time.Second); !gone(s); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the process stays in the domain")
		}
	}
}

// Whoever closes races with whoever locks: calls work or say ErrClosed, nobody is told of a death, and at the end
// the lock is free and nothing is left.
func TestCloseRaces(t *testing.T) {
	each(t, func(t *testing.T, size int) {
		stay, _ := handle(t, size)
		before := len(leaktest.Descriptors())
		rounds := 400
		if testing.Short() {
			rounds = 50
		}
		counter := 0 // the race detector watches it
		for i := range rounds {
			m, _ := handle(t, size)
			var wg sync.WaitGroup
			for k := range 4 {
				wg.Go(func() {
					for {
						err := errs.ErrBusy
						for k == 0 && errors.Is(err, errs.ErrBusy) {
							err = m.TryLock()
						}
						if k != 0 {
							err = m.Lock(bg)
						}
						if err != nil {
							is(t, err, errs.ErrClosed)
							return
						}
						counter++
						ok(t, m.Unlock())
					}
				})
			}
			for range i % 50 {
				runtime.Gosched()
			}
			ok(t, m.end())
			wg.Wait()
			if m.Held() {
				t.Fatal("still held")
			}
			ok(t, stay.TryLock(), stay.Unlock())
		}
		ok(t, stay.end())
		for end := time.Now().Add(5 * time.Second); len(leaktest.Descriptors()) > before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d descriptors, %d before", len(leaktest.Descriptors()), before)
			}
		}
		t.Logf("%d times locked", counter)
	})
}

// Handles that end with their domain, in turns with others of the same process.
func TestLastHandle(t *testing.T) {
	for range 200 {
		m, s := handle(t, sizes["lingers"])
		done := make(chan error)
		go func() {
			err := m.Lock(bg)
			for ; err == nil; err = m.Lock(bg) {
				ok(t, m.Unlock())
			}
			done <- err
		}()
		ok(t, m.end())
		is(t, <-done, errs.ErrClosed)
		for end := time.Now().Add(10 * time.Second); !gone(s); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the process stays in the domain")
			}
		}
	}
	m, _ := handle(t, sizes["lingers"])
	ok(t, m.TryLock(), m.Unlock()) // no death was made up on the way
	ok(t, m.end())
}

// The file is gone from under the lock.
func TestTruncated(t *testing.T) {
	free := func(*Mutex) error { return nil }
	held := func(m *Mutex) error { return m.Lock(bg) }
	each(t, func(t *testing.T, size int) {
		for _, c := range []struct{ before, after func(m *Mutex) error }{
			{free, held}, {free, (*Mutex).TryLock}, {held, (*Mutex).Unlock}, {held, (*Mutex).Repaired}, {held, (*Mutex).MarkSince},
		} {
			m, s := handle(t, size)
			path := filepath.Join(s.Dir.Path(), "m")
			ok(t, c.before(m), os.Truncate(path, 0))
			is(t, c.after(m), errs.ErrCorrupt)
			if m.Held() {
				is(t, m.Unlock(), errs.ErrCorrupt)
			}
			ok(t, m.end(), os.Remove(path))
			if !gone(s) {
				t.Error("the process is still in the domain")
			}
		}
	})
}
