package mutex

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
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
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
		if b.gated.End() {
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
	m.light.StoreRelease(notHeld) // Unlock, so far
	ok(t, m.end())
	if gone(s) {
		t.Fatal("the process left the domain with the lock")
	}
	m.lock.Unlock()
	goesSoon(t, s)
}

func goesSoon(t *testing.T, s *object.Space) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !gone(s); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the process stays in the domain")
		}
	}
}

// Close between the two steps of an Unlock, when another goroutine has the lock through the same handle by then: the
// Unlock that goes on owes nothing.
func TestCloseRobsNobody(t *testing.T) {
	m, s := handle(t, sizes["lingers"])
	ok(t, m.Lock(bg))
	m.light.StoreRelease(notHeld) // Unlock of one goroutine, up to its look at the handle
	m.lock.Unlock()
	ok(t, m.Lock(bg)) // another
	ok(t, m.end())
	m.free() // the Unlock goes on
	if gone(s) || !m.lock.Mine() {
		t.Fatal("the process left the domain with the lock")
	}
	ok(t, m.Unlock())
	goesSoon(t, s)
}

// A Lock that finds the handle closed when it has the word already.
func TestLate(t *testing.T) {
	for name, closed := range map[string]func(m *Mutex) error{
		"handle": func(m *Mutex) error { m.Close(); return nil },
		"both":   (*Mutex).end,
	} {
		t.Run(name, func(t *testing.T) {
			m, s := handle(t, sizes["lingers"])
			if !m.lock.Fast() {
				t.Fatal("the lock is not free")
			}
			ok(t, closed(m))
			if gone(s) {
				t.Fatal("the process left the domain with the lock")
			}
			is(t, m.late(), errs.ErrClosed)
			if m.lock.Held() || m.Held() {
				t.Error("still held")
			}
			ok(t, m.obj.Close())
			goesSoon(t, s)
		})
	}
}

// Of two that unlock at once what was locked once, one is told so.
func TestUnlockTwice(t *testing.T) {
	each(t, func(t *testing.T, size int) {
		m, _ := handle(t, size)
		rounds := 100_000
		if testing.Short() {
			rounds = 20_000
		}
		start := []chan struct{}{make(chan struct{}), make(chan struct{})}
		done := make(chan error)
		for _, start := range start {
			go func() {
				for range start {
					done <- m.Unlock()
				}
			}()
		}
		twice := 0
		for range rounds {
			ok(t, m.Lock(bg))
			start[0] <- struct{}{}
			start[1] <- struct{}{}
			a, b := <-done, <-done
			if a == nil && b == nil {
				twice++
			} else if is(t, errors.Join(a, b), errs.ErrConflict); a != nil && b != nil {
				t.Fatal("neither unlocked it")
			}
		}
		close(start[0])
		close(start[1])
		if twice != 0 {
			t.Errorf("%d times of %d both succeeded", twice, rounds)
		}
		ok(t, m.end())
	})
}

// An Unlock that comes when the lock is another process's already changes nothing.
func TestUnlockOfAnother(t *testing.T) {
	each(t, func(t *testing.T, size int) {
		for _, word := range []uint32{0, deadToken, deadToken | 1<<31} {
			for _, long := range []bool{false, true} {
				m, s := handle(t, size)
				ok(t, m.Lock(bg))
				if long {
					ok(t, m.MarkSince())
				}
				w := m.obj.Ctl.U32(off)
				w.Store(word) // another Unlock of the same Lock was first, and then another process
				is(t, m.Unlock(), errs.ErrConflict)
				if got := w.Swap(0); got != word || m.Held() {
					t.Errorf("the word is %#x, it was %#x", got, word)
				}
				ok(t, m.end())
				goesSoon(t, s)
			}
		}
	})
}

// MarkSince and Repaired against an Unlock and a Close of other goroutines: they work or say that the lock is not held,
// and touch nothing that is gone.
func TestWordsOfTheHolder(t *testing.T) {
	each(t, func(t *testing.T, size int) {
		stay, _ := handle(t, size)
		for i := range 300 {
			m, s := handle(t, size)
			if i%3 == 0 {
				m.obj.Ctl.U32(off).Store(deadToken)
			}
			if err := m.Lock(bg); err != nil {
				is(t, err, errs.ErrOwnerDied)
			}
			var wg sync.WaitGroup
			for _, f := range []func() error{m.MarkSince, m.Repaired} {
				wg.Go(func() {
					for range 10 {
						if err := f(); err != nil {
							is(t, err, errs.ErrConflict)
						}
					}
				})
			}
			wg.Go(func() { ok(t, m.end()) })
			for range i % 50 {
				runtime.Gosched()
			}
			ok(t, m.Unlock())
			wg.Wait()
			is(t, m.Unlock(), errs.ErrConflict)
			goesSoon(t, s)
			if err := stay.TryLock(); err != nil { // Unlock was before Repaired
				is(t, err, errs.ErrOwnerDied)
				ok(t, stay.Repaired())
			}
			ok(t, stay.Unlock())
			if st := wordlock.Inspect(stay.obj.Ctl, off); !st.Since.IsZero() {
				t.Fatal("the free lock has been held since ", st.Since)
			}
		}
		ok(t, stay.end())
	})
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
		goesSoon(t, s)
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
