package lock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
)

// closable is a lock that is closed while goroutines hold it.
type closable interface {
	Lock(ctx context.Context) error
	TryLock() error
	Repaired() error
	Unlock() error
	Close() error
}

// rounds is how often a race is run.
func rounds(long int) int {
	if testing.Short() || raceEnabled {
		return long / 5
	}
	return long
}

func markFile(d *shiplap.Domain) string { return filepath.Join(peertest.Base(d), "mark of "+d.Name()) }

// mark is a word that needs no membership: whether somebody is inside of the lock.
func mark(d *shiplap.Domain) (w *mem.U32, end func() error, err error) {
	f, err := os.OpenFile(markFile(d), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if err = f.Truncate(int64(os.Getpagesize())); err != nil {
		return nil, nil, err
	}
	r, err := mem.Map(int(f.Fd()), mem.Part{Len: os.Getpagesize()})
	if err != nil {
		return nil, nil, err
	}
	return r.Span(0).U32(0), r.Unmap, nil
}

func openMutex(d *shiplap.Domain) (closable, error)   { return OpenMutex(d, "lock") }
func openRWMutex(d *shiplap.Domain) (closable, error) { return OpenRWMutex(d, "lock") }

func init() {
	// The process joins, opens, and closes both while four goroutines lock through the one handle, again and again.
	closes := func(open func(*shiplap.Domain) (closable, error)) func(*shiplap.Domain, int) error {
		return func(d *shiplap.Domain, n int) error {
			inside, end, err := mark(d)
			if err != nil {
				return err
			}
			defer end()
			if err := d.Close(); err != nil { // or its membership would outlast the rounds
				return err
			}
			for range n {
				if err := closeUnderGoroutines(d, open, inside); err != nil {
					return err
				}
			}
			peertest.Say("done")
			return nil
		}
	}
	roles["close a mutex"] = closes(openMutex)
	roles["close an rwmutex"] = closes(openRWMutex)
}

func closeUnderGoroutines(d *shiplap.Domain, open func(*shiplap.Domain) (closable, error), inside *mem.U32) error {
	d, err := shiplap.Join(d.Name(), &shiplap.Options{Dir: peertest.Base(d), NoSweep: true})
	if err != nil {
		return err
	}
	m, err := open(d)
	if err != nil {
		return err
	}
	var closing atomic.Bool
	var wg sync.WaitGroup
	faults := make([]error, 4)
	for i := range faults {
		wg.Go(func() {
			for {
				err := m.Lock(bg)
				if errors.Is(err, shiplap.ErrOwnerDied) { // the rival tells the count
					err = m.Repaired()
				}
				if err != nil {
					if !errors.Is(err, shiplap.ErrClosed) {
						faults[i] = fmt.Errorf("lock: %w", err)
					}
					return
				}
				inside.Store(1)
				for range rand.IntN(10) {
					if closing.Load() {
						time.Sleep(3 * time.Millisecond) // time for a robbery
						break
					}
					runtime.Gosched()
				}
				inside.Store(0)
				if err := m.Unlock(); err != nil {
					faults[i] = fmt.Errorf("unlock: %w", err)
					return
				}
			}
		})
	}
	time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond) // a random moment
	closing.Store(true)
	err = errors.Join(m.Close(), d.Close())
	wg.Wait()
	return errors.Join(append(faults, err)...)
}

// closed is the rival of a process that closes its handle and its domain while goroutines hold the lock: a hold goes on
// until its Unlock. Nobody dies, so a takeover is a robbery.
func closed(t *testing.T, d *shiplap.Domain, role string, m closable) {
	inside, end, err := mark(d)
	ok(t, err)
	defer os.Remove(markFile(d))
	defer end()
	n := rounds(1000)
	p := peertest.Start(t, d, role, n)
	over := make(chan struct{})
	go func() {
		defer close(over)
		p.Lines()
	}()
	var robbed, takenOver int
	for {
		select {
		case <-over:
			p.Says("done")
			if robbed+takenOver > 0 {
				t.Errorf("in %d rounds the rival had the lock %d times while another was inside, %d times by takeover", n, robbed, takenOver)
			}
			ok(t, p.Wait())
			return
		default:
		}
		switch err := m.TryLock(); { // it asks each time whether the owner lives
		case errors.Is(err, shiplap.ErrBusy):
			continue
		case errors.Is(err, shiplap.ErrOwnerDied):
			takenOver++
			ok(t, m.Repaired())
		default:
			ok(t, err)
		}
		if inside.Load() != 0 {
			robbed++
		}
		ok(t, m.Unlock())
	}
}

func TestMutexClosedUnderGoroutines(t *testing.T) {
	d := join(t)
	m := must(CreateMutex(d, "lock", nil))(t)
	defer m.Close()
	closed(t, d, "close a mutex", m)
}

func TestRWMutexClosedUnderGoroutines(t *testing.T) {
	d := join(t)
	m := must(CreateRWMutex(d, "lock", nil))(t)
	defer m.Close()
	closed(t, d, "close an rwmutex", m)
}

func init() {
	roles["lock in a loop"] = func(d *shiplap.Domain, _ int) error {
		m, err := OpenMutex(d, "lock")
		if err != nil {
			return err
		}
		defer m.Close()
		peertest.Say("ready")
		for over, n := peertest.StdinEnds(), 0; ; n++ {
			select {
			case <-over:
				return nil
			default:
			}
			if err := m.Lock(bg); err != nil {
				return err
			}
			runtime.Gosched()
			if err := m.Unlock(); err != nil { // it was taken away
				return fmt.Errorf("turn %d: %w", n, err)
			}
		}
	}
}

// Unlocks of nothing, at random moments, take the lock from no other process.
func TestUnlockTwiceBesideAnother(t *testing.T) {
	d := join(t)
	m := must(CreateMutex(d, "lock", nil))(t)
	defer m.Close()
	p := peertest.Start(t, d, "lock in a loop", 0)
	p.Says("ready")
	n := int32(rounds(40_000))
	var turn, good, done atomic.Int32
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := int32(1); i <= n; i++ {
				for turn.Load() < i { // both are let go by one store
					runtime.Gosched()
				}
				if err := m.Unlock(); err == nil {
					good.Add(1)
				} else {
					is(t, err, shiplap.ErrConflict)
				}
				done.Add(1)
			}
		})
	}
	twice := 0
	for i := int32(1); i <= n; i++ {
		ok(t, m.Lock(bg))
		turn.Store(i)
		for done.Load() < 2*i {
			runtime.Gosched()
		}
		if g := good.Swap(0); g != 1 {
			twice++
		}
	}
	wg.Wait()
	if twice > 0 {
		t.Errorf("%d times of %d not one of two calls of Unlock succeeded", twice, n)
	}
	p.Ends()
}

// Permits of a closed handle that several goroutines release at once: all come back, and no Release touches memory that
// is gone.
func TestReleaseAfterClose(t *testing.T) {
	d := join(t)
	const g = 4
	stay := must(CreateSemaphore(d, "s", g, nil))(t)
	defer stay.Close()
	var crashed, lost int
	n := rounds(6000)
	for range n {
		s := must(OpenSemaphore(d, "s"))(t)
		for range g {
			ok(t, s.Acquire(bg, 1))
		}
		ok(t, s.Close())
		failed := make(chan string, g)
		start := make(chan struct{})
		for range g {
			go func() {
				defer func() {
					if v := recover(); v != nil {
						failed <- fmt.Sprint(v)
					}
				}()
				<-start
				if err := s.Release(1); err != nil {
					t.Error(err)
				}
				failed <- ""
			}()
		}
		close(start)
		for range g {
			if <-failed != "" {
				crashed++
			}
		}
		if err := stay.TryAcquire(g); err != nil {
			lost++
			break // for good
		}
		ok(t, stay.Release(g))
	}
	if crashed+lost > 0 {
		t.Errorf("in %d rounds %d calls of Release touched memory that was gone, permits were lost: %v", n, crashed, lost > 0)
	}
}

// Of two that release at once, the one that gave the last permit away need not be the last one inside.
func TestReleaseOvertaken(t *testing.T) {
	d := join(t)
	stay := must(CreateSemaphore(d, "s", 2, nil))(t)
	defer stay.Close()
	for range rounds(50) {
		s := must(OpenSemaphore(d, "s"))(t)
		ok(t, s.Acquire(bg, 2), s.Close())
		_, err := stay.guard.Lock(bg)
		ok(t, err)
		sleeps := mutexStats(stay.obj, offGuard).Sleeps
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { ok(t, s.Release(1)) })
		}
		for mutexStats(stay.obj, offGuard).Sleeps < sleeps+2 {
			time.Sleep(100 * time.Microsecond)
		}
		stay.guard.Unlock()
		wg.Wait()
		ok(t, stay.TryAcquire(2), stay.Release(2))
	}
}

// A semaphore whose remover died behind the mark gives no permits any more, as all other kinds.
func TestAcquireAfterRemoval(t *testing.T) {
	d := join(t)
	s := must(CreateSemaphore(d, "s", 2, nil))(t)
	defer s.Close()
	ok(t, s.Acquire(bg, 1))
	s.obj.Word.Or(object.Removed)
	is(t, s.Acquire(bg, 1), shiplap.ErrRemoved)
	is(t, s.TryAcquire(1), shiplap.ErrRemoved)
	ok(t, s.Release(1))
}
