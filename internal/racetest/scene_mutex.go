package racetest

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
)

func init() {
	addStorm("mutex", storm[*lock.Mutex]{
		create: func(b *bout) error { return made(lock.CreateMutex(b.d, object, nil)) },
		open:   func(_ *worker, d *shiplap.Domain) (*lock.Mutex, error) { return lock.OpenMutex(d, object) },
		turn:   func(h *hand, m *lock.Mutex) bool { return h.lockTurn(m, 0) },
		judge:  judgeLock(lock.OpenMutex),
	})
}

// made closes what was made.
func made[H interface{ Close() error }](obj H, err error) error {
	if err != nil {
		return err
	}
	return obj.Close()
}

// locker is a lock that tells when an owner died.
type locker interface {
	Lock(context.Context) error
	TryLock() error
	Unlock() error
	Repaired() error
}

// judgeLock: nobody holds the lock any more.
func judgeLock[L interface {
	locker
	io.Closer
}](open func(*shiplap.Domain, string) (L, error)) func(b *bout) error {
	return func(b *bout) error {
		l, err := open(b.d, object)
		if err != nil {
			return err
		}
		defer l.Close()
		return b.lockFree(l)
	}
}

// lockFree takes a lock that nobody holds, and gives it back.
func (b *bout) lockFree(l locker) error {
	return b.within("Lock of what nobody holds", func(ctx context.Context) error {
		err := l.Lock(ctx)
		if errors.Is(err, shiplap.ErrOwnerDied) {
			err = l.Repaired()
		}
		if err != nil {
			return err
		}
		return l.Unlock()
	})
}

// lockTurn takes a lock, checks that it is alone inside, and gives the lock back. The mark says who
// is inside.
func (h *hand) lockTurn(m locker, mark int) bool {
	var err error
	if h.rng.IntN(4) == 0 {
		if err = h.call(opLock, 0, m.TryLock); errors.Is(err, shiplap.ErrBusy) {
			h.pause()
			return true
		}
	} else {
		ctx, within, cancel := h.context()
		err = h.call(opLock, within, func() error { return m.Lock(ctx) })
		cancel()
	}
	died := errors.Is(err, shiplap.ErrOwnerDied)
	switch {
	case err == nil, died:
	case gaveUp(err):
		return true
	case h.over(err):
		return false
	default:
		h.unexpected("Lock", err)
		return false
	}
	leave := h.enters(mark, died)
	h.linger()
	leave()
	if died {
		if err := m.Repaired(); err != nil && !h.over(err) {
			h.unexpected("Repaired", err)
		}
	}
	if err := h.call(opUnlock, 0, m.Unlock); err != nil && !h.excusedAbsence(err) {
		h.unexpected("Unlock of what this goroutine holds", err)
	}
	return true
}

// enters writes down that this goroutine is inside, alone, and returns what writes down that it
// leaves. died: it was told that the owner before it died.
func (h *hand) enters(mark int, died bool) (leave func()) {
	at, me := h.mark(mark), h.me()
	for {
		was := name(at.Load())
		switch {
		case was == 0:
		case !h.dead(was) && !h.excused():
			h.complain("two-owners", "%v has the lock, and so has %v (told that an owner died: %v)", was, me,
				died)
		case h.dead(was) && !died && was.epoch() == me.epoch() && !h.excused():
			h.complain("not-told", "%v died inside, and %v is not told of it", was, me)
		}
		if at.CAS(uint64(was), uint64(me)) {
			break
		}
	}
	if died && !h.Weather.deadly() && !h.Weather.lossy() {
		h.complain("false-death", "%v is told that an owner died, and nobody did", me)
	}
	return func() {
		if !at.CAS(uint64(me), 0) && !h.excused() {
			h.complain("robbed", "%v had the lock, and %v got it", me, name(at.Load()))
		}
	}
}

func init() {
	addVigil("mutex", vigil{
		create: makes(lock.CreateMutex, nil),
		hold:   holdsLock(lock.OpenMutex), open: waitsLock(lock.OpenMutex),
		ends: leaving(deaths(shiplap.ErrOwnerDied), nil),
	})
}

func init() {
	addStorm("mutex misuse", storm[*ownHandles]{
		create: func(b *bout) error { return made(lock.CreateMutex(b.d, object, nil)) },
		open:   func(_ *worker, d *shiplap.Domain) (*ownHandles, error) { return &ownHandles{d}, nil },
		turn:   (*hand).misuseTurn,
	})
}

// ownHandles gives each goroutine a handle of its own.
type ownHandles struct{ d *shiplap.Domain }

// Close does nothing: each goroutine closes its own.
func (*ownHandles) Close() error { return nil }

// oneByOne are the turns of misuse in this process. A lock knows the process that has it, so a second Unlock that is
// held up may hit a hold of its own process through another handle (docs/design.md, 5.2): what is tried here is that it
// hits nobody else's.
var oneByOne sync.Mutex

// misuseTurn unlocks twice at once what it has locked once. One of both is told; no other process is
// harmed.
func (h *hand) misuseTurn(o *ownHandles) bool {
	m, err := lock.OpenMutex(o.d, object)
	if err != nil {
		return h.ends("OpenMutex", err)
	}
	defer m.Close()
	for range 50 {
		if h.isClosing() {
			return false
		}
		if !h.misuse(m) {
			return false
		}
	}
	return true
}

func (h *hand) misuse(m *lock.Mutex) bool {
	oneByOne.Lock()
	defer oneByOne.Unlock()
	if h.rng.IntN(4) == 0 { // as it should be, so that there is somebody to harm
		return h.lockTurn(m, 0)
	}
	err := h.call(opLock, 0, func() error { return m.Lock(h.ctx) })
	died := errors.Is(err, shiplap.ErrOwnerDied)
	if err != nil && !died {
		return h.ends("Lock", err)
	}
	leave := h.enters(0, died)
	if died {
		if err := m.Repaired(); err != nil && !h.over(err) {
			h.unexpected("Repaired", err)
		}
	}
	leave()
	other := make(chan error)
	var ready, now atomic.Bool
	go func() {
		for ready.Store(true); !now.Load(); { // so that both unlock at the same moment
		}
		other <- m.Unlock()
	}()
	for !ready.Load() {
		runtime.Gosched()
	}
	now.Store(true)
	first := h.call(opUnlock, 0, m.Unlock)
	second := <-other
	if first != nil {
		first, second = second, first
	}
	if h.excusedAbsence(first) || h.excusedAbsence(second) {
		return false
	}
	if first != nil || !errors.Is(second, shiplap.ErrConflict) {
		h.complain("unlocked-twice", "%v locked once and unlocked twice: %v, %v", h.me(), first, second)
	}
	return true
}
