package pymp

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/segment"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// A named semaphore of glibc on 64-bit machines, little-endian: u64 with the value in the low half
// and the number of waiters in the high one, u32 0x80 ("shared between processes"), and zeros. Who
// waits counts himself in the high half, sleeps on the low one while it is 0, and takes a unit and
// his own count away in one step; who releases adds a unit, and wakes one if somebody is counted.
const (
	semSize   = 32
	waiterOne = 1 << 32
	valueMask = math.MaxUint32

	sharedOff  = 8
	sharedFlag = 0x80
)

// Semaphore is a semaphore of Python's multiprocessing, start method "spawn" or "forkserver". All
// methods may be called concurrently.
//
// Nothing gives back what a process held that died: its units are lost for good, and a Lock stays
// locked for ever. A waiter that is killed in the moment of being woken may leave another one asleep
// beside a free unit. Both are true of Python's own as well. Package lock has semaphores that survive
// this.
type Semaphore struct {
	name  string // without a slash
	max   uint32
	ino   uint64
	reg   *mem.Region
	all   *mem.U64
	value *mem.U32

	using  sync.RWMutex // held for reading by calls, those that wait as well
	closed bool
	sess   wait.Session
	spin   wait.Spinner
}

// CreateSemaphore makes a semaphore. name "" gets one as Python gives: "mp-" and 8 characters. Python
// opens it by the code that Python returns. Unlink removes it; nobody else does.
func CreateSemaphore(name string, initial int, opts *SemaphoreOptions) (*Semaphore, error) {
	most, err := opts.max()
	if err != nil {
		return nil, err
	}
	if initial < 0 || int64(initial) > int64(most) {
		return nil, fmt.Errorf("pymp: an initial value of %d; possible are 0 to %d", initial, most)
	}
	auto := name == ""
	if auto {
		name = autoName
	}
	if name, err = semName(name); err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		n := name
		if auto {
			n += strings.ToLower(rand.Text()[:8])
		}
		s, err := createSemaphore(n, uint32(initial), most)
		if err == nil || !auto || !errors.Is(err, fs.ErrExist) || try == 100 {
			return s, err
		}
	}
}

// createSemaphore writes the file under another name, then links it: it appears complete.
func createSemaphore(name string, initial, most uint32) (*Semaphore, error) {
	f, err := os.OpenFile(filepath.Join(segment.DefaultBase, ".shiplap-sem."+rand.Text()), os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create semaphore %s: %w", name, err)
	}
	defer f.Close()
	defer os.Remove(f.Name())
	b := make([]byte, semSize)
	binary.LittleEndian.PutUint32(b, initial)
	binary.LittleEndian.PutUint32(b[sharedOff:], sharedFlag)
	if _, err := f.Write(b); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			err = fmt.Errorf("%w: %w", errs.ErrNoSpace, err)
		}
		return nil, fmt.Errorf("create semaphore %s: %w", name, err)
	}
	if err := os.Link(f.Name(), semPath(name)); err != nil {
		return nil, fmt.Errorf("create semaphore %s: %w", name, err)
	}
	s, err := mapSemaphore(f, name, most)
	if err != nil {
		return nil, errors.Join(err, os.Remove(semPath(name)))
	}
	return s, nil
}

func semPath(name string) string { return filepath.Join(segment.DefaultBase, semPrefix+name) }

// OpenSemaphore opens what Python calls lock._semlock.name, "/mp-…", with its slash or without.
func OpenSemaphore(name string, opts *SemaphoreOptions) (*Semaphore, error) {
	most, err := opts.max()
	if err != nil {
		return nil, err
	}
	if name, err = semName(name); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(semPath(name), os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open semaphore: %w", err)
	}
	defer f.Close()
	return mapSemaphore(f, name, most)
}

func mapSemaphore(f *os.File, name string, most uint32) (_ *Semaphore, err error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() != semSize {
		return nil, fmt.Errorf("%w: %s is %v of %d bytes; a semaphore of 64-bit glibc is a file of %d", errs.ErrIncompatible, semPath(name), st.Mode(), st.Size(), semSize)
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Semaphore{name: name, max: most, ino: st.Sys().(*syscall.Stat_t).Ino}
	if cerr := raw.Control(func(fd uintptr) {
		s.reg, err = mem.Map(int(fd), mem.Part{Len: os.Getpagesize()})
	}); cerr != nil || err != nil {
		return nil, fmt.Errorf("map semaphore %s: %w", name, errors.Join(cerr, err))
	}
	var flag uint32
	if err := guarded(func() { flag = s.reg.Span(0).U32(sharedOff).Load() }); err == nil && flag != sharedFlag {
		err = fmt.Errorf("%w: %s has the flag %#x at 8, a shared semaphore of glibc has %#x", errs.ErrIncompatible, semPath(name), flag, sharedFlag)
		return nil, errors.Join(err, s.reg.Unmap())
	} else if err != nil {
		return nil, errors.Join(err, s.reg.Unmap())
	}
	s.all, s.value = s.reg.Span(0).U64(0), s.reg.Span(0).U32(0)
	s.spin.SetMode(wait.Adaptive)
	return s, nil
}

func guarded(f func()) (err error) {
	g := mem.Protect()
	defer g.Recover(&err)
	f()
	g.Done = true
	return nil
}

// enter keeps the memory mapped while f runs, and turns faults into errors.
func (s *Semaphore) enter(what string, f func() error) error {
	s.using.RLock()
	defer s.using.RUnlock()
	if s.closed {
		return fmt.Errorf("%s %s: %w", what, s, errs.ErrClosed)
	}
	var err error
	if gerr := guarded(func() { err = f() }); gerr != nil {
		err = gerr
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, s, err)
	}
	return nil
}

// TryAcquire takes a unit if there is one.
func (s *Semaphore) TryAcquire() (ok bool, err error) {
	err = s.enter("acquire", func() error {
		ok = s.take(0)
		return nil
	})
	return ok, err
}

// take takes a unit, and off the count of waiters what is given. Nothing happens if the value is 0.
func (s *Semaphore) take(waiter uint64) bool {
	for {
		d := s.all.Load()
		if d&valueMask == 0 {
			return false
		}
		if s.all.CAS(d, d-1-waiter) {
			return true
		}
	}
}

// Acquire takes a unit, and waits for one until ctx ends.
func (s *Semaphore) Acquire(ctx context.Context) error {
	return s.enter("acquire", func() error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if s.spin.Poll(awake{s}) {
			return nil
		}
		return s.sleep(ctx)
	})
}

// awake is one that polls for a unit; it is not counted among the waiters.
type awake struct{ s *Semaphore }

// Ready takes the unit that is there.
func (a awake) Ready() bool { return a.s.take(0) }

func (s *Semaphore) sleep(ctx context.Context) error {
	s.all.Add(waiterOne)
	err := s.sess.Wait(ctx, asleep{s})
	if err != nil {
		// A wake-up that was meant for us goes to the next one.
		if d := s.all.Add(^uint64(waiterOne - 1)); d&valueMask != 0 && d>>32 != 0 {
			wait.Wake(s.value, 1)
		}
	}
	return err
}

// asleep is one who waits for a unit, counted among the waiters.
type asleep struct{ s *Semaphore }

// Look implements wait.Until.
func (a asleep) Look(c *wait.Call) (over bool, err error) {
	c.On(a.s.value, 0)
	return a.s.take(waiterOne), nil
}

// Stale implements wait.Until.
func (a asleep) Stale() bool { return a.s.value.Load() != 0 }

// Abandon implements wait.Until: sleep does it, with the count of waiters.
func (a asleep) Abandon() {}

// Release gives a unit back, and wakes one waiter. Above the maximum it is ErrFull, as Python's
// ValueError.
func (s *Semaphore) Release() error {
	return s.enter("release", func() error {
		for {
			d := s.all.Load()
			if d&valueMask >= uint64(s.max) {
				return fmt.Errorf("%w: %w: it has %d of %d", errs.ErrFull, errReleased, d&valueMask, s.max)
			}
			if !s.all.CAS(d, d+1) {
				continue
			}
			if d>>32 != 0 {
				wait.Wake(s.value, 1)
			}
			return nil
		}
	})
}

// SemaphoreStats are what the memory says.
type SemaphoreStats struct {
	Value   uint32
	Waiters uint32 // processes that were killed while they waited stay counted
}

// Stats are value and waiters at this moment.
func (s *Semaphore) Stats() (st SemaphoreStats, err error) {
	err = s.enter("read", func() error {
		d := s.all.Load()
		st = SemaphoreStats{uint32(d & valueMask), uint32(d >> 32)}
		return nil
	})
	return st, err
}

// Value is the number of units at this moment.
func (s *Semaphore) Value() (int, error) {
	st, err := s.Stats()
	return int(st.Value), err
}

// Name is what Python calls lock._semlock.name, with its slash.
func (s *Semaphore) Name() string { return "/" + s.name }

// Python is Python code, one expression, that makes a Semaphore over it, or a BoundedSemaphore if it
// has a maximum. It works in every Python from 3.8 on, of whatever start method, and can be handed to
// child processes of "spawn".
//
// It stands for multiprocessing.synchronize.Semaphore with __setstate__((0, 1, max, name)), by which
// Python itself opens what another process has made.
func (s *Semaphore) Python() string {
	class := "BoundedSemaphore"
	if s.max == MaxValue {
		class = "Semaphore"
	}
	return pythonExpr(class, kindSemaphore, s.max, s.Name())
}

// Unlink removes the name. A process that has the semaphore open keeps it. Python removes what it has made
// itself, when the lock object or its process ends.
func (s *Semaphore) Unlink() error {
	st, err := os.Lstat(semPath(s.name))
	if err != nil {
		return err
	}
	if st.Sys().(*syscall.Stat_t).Ino != s.ino {
		return fmt.Errorf("unlink %s: %w: the name leads to another one by now", s, errs.ErrNotExist)
	}
	return os.Remove(semPath(s.name))
}

// Close lets go of it. Calls that wait return ErrClosed. What is held stays held.
func (s *Semaphore) Close() error {
	s.sess.Interrupt(errs.ErrClosed) // so that whoever waits lets go of the mutex
	s.using.Lock()
	defer s.using.Unlock()
	s.closed = true
	return s.reg.Unmap()
}

func (s *Semaphore) String() string { return "semaphore " + s.Name() }
