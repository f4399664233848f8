// Package mutex is the lock that users of the module get: wordlock's, with handles that may be closed
// at any moment, and with the memory of a death that somebody has to repair (D16).
//
// A process that dies with the lock leaves its token in the word. Whoever takes the lock over from it
// sets the damaged word before anything else, and is told errs.ErrOwnerDied with the lock held, and so
// is everybody after it until one calls Repaired. A taker that dies before it set the word leaves a
// dead token again. So from the death to the repair there is no moment at which somebody could take
// the lock and not be told.
//
// What a handle owes, and when, is the table in docs/design.md, section 5.2.
package mutex

import (
	"context"
	"fmt"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Mutex is one handle on a lock record. All methods may be called concurrently.
//
// A handle has a share of its object's gate from New until it is closed and the word does not name this process:
// then nobody holds the lock through it, and nobody will. A light hold needs nothing else. A gated one has a share of
// its own besides.
type Mutex struct {
	obj     *object.Object
	lock    *wordlock.Lock
	damaged *mem.U32

	bars  mem.U32     // why there can be no light hold; 0: there can
	light mem.U32     // whether there is one; stored by the holder
	gated object.Hold // the other kind of hold
	long  bool        // MarkSince was called in the gated hold; under its protection

	share object.Hold // of the gate: the handle's
}

const (
	barGoes   = 1 << iota // the memory does not linger
	barClosed             // the handle is closed
)

const (
	notHeld = iota
	held
	since // held, and MarkSince was called
)

// New makes a handle on the record at off of an open object. Close must follow.
//
// The memory of a small object lingers (object.Linger): there the uncontended paths need no gate, whose
// two atomic operations would cost as much as the lock itself. Their holds are the light ones.
func New(o *object.Object, off int) (*Mutex, error) { return newMutex(o, off, o.Space.Table) }

func newMutex(o *object.Object, off int, owners wordlock.Owners) (*Mutex, error) {
	if !o.Gate.Enter() {
		return nil, errs.ErrClosed
	}
	l := wordlock.New(o.Ctl, off, owners, &o.Sess)
	m := &Mutex{obj: o, lock: l, damaged: l.Damaged()}
	m.share.Begin()
	if !o.Linger() {
		m.bars.Store(barGoes)
	}
	return m, nil
}

// Close gives the handle up; waits end when the object is closed. A hold goes on until Unlock.
func (m *Mutex) Close() {
	if m.bars.Or(barClosed)&barClosed == 0 {
		m.freeSoon(time.Millisecond)
	}
}

// free gives the handle's share back if the word does not name this process. A light Lock changes the word, then looks
// whether the handle is closed, and gives up if it is; Close does the two the other way round, and both are full
// fences. So a Lock that has succeeded is seen here, and one that is not seen here fails.
func (m *Mutex) free() bool {
	mine := false
	if m.share.Use(func() { mine = m.mine() }) && !mine && m.share.End() {
		m.obj.Gate.Leave()
	}
	return !m.share.Held()
}

// freeSoon frees the handle now or later. Unlock tries it as well; what remains is for other handles of this process
// that hold the lock, whose Unlock does not know of this one.
func (m *Mutex) freeSoon(d time.Duration) {
	if !m.free() {
		later(d, func() { m.freeSoon(min(2*d, wait.MaxSleep)) })
	}
}

// mine reports whether this process has the lock, through whichever handle; of memory that is gone nobody has.
func (m *Mutex) mine() (mine bool) {
	_ = object.Guarded(func() error {
		mine = m.lock.Mine()
		return nil
	})
	return mine
}

func (m *Mutex) closed() bool { return m.bars.Load()&barClosed != 0 }

// Lock takes the lock. errs.ErrOwnerDied means that it is held, too, and that what it protects may be half
// changed: see Repaired. With any other error it is not held.
func (m *Mutex) Lock(ctx context.Context) (err error) {
	inside := false // of the gate, without a hold yet
	g := mem.Protect()
	defer func() { // spelt out: this is hot
		if g.End(); !g.Done {
			m.caught(&g, recover(), &err)
		}
		if inside {
			m.obj.Gate.Leave()
		}
	}()
	switch bars := m.bars.Load(); {
	case bars == 0 && m.lock.Fast():
		if m.damaged.Load()|m.bars.Load() == 0 {
			m.light.StoreRelease(held)
		} else {
			err = m.late()
		}
	case bars&barClosed == 0 && m.obj.Gate.Enter():
		inside = true
		var recovered bool
		if bars == 0 || !m.lock.Fast() {
			recovered, err = m.lock.Lock(ctx)
		}
		if err == nil {
			err = m.hold(recovered)
			inside = false
		} else {
			err = m.obj.Wrap(err)
		}
	default:
		err = m.obj.Wrap(errs.ErrClosed)
	}
	g.Done = true
	return err
}

// late makes a gated hold of a lock that was taken without the gate; of a handle that was closed meanwhile, it gives
// the lock up. If the process has left the domain since, others may have replaced its token.
func (m *Mutex) late() (err error) {
	if !m.enter() {
		m.lock.Unlock()
		_ = m.unlocked(true)
		return m.obj.Wrap(errs.ErrClosed)
	}
	began := false
	defer func() {
		if !began {
			m.obj.Gate.Leave()
		}
	}()
	err = m.hold(false)
	began = true
	return err
}

func (m *Mutex) enter() bool { return !m.closed() && m.obj.Gate.Enter() }

// TryLock is Lock without waiting: errs.ErrBusy when somebody else, dead ones excepted, has it.
func (m *Mutex) TryLock() error {
	if !m.enter() {
		return m.obj.Wrap(errs.ErrClosed)
	}
	began := false
	err := object.Guarded(func() error {
		if err := m.obj.Err(); err != nil {
			return err
		}
		ok, recovered := m.lock.TryLock()
		if !ok {
			return errs.ErrBusy
		}
		err := m.hold(recovered)
		began = true
		return err
	})
	if !began {
		m.obj.Gate.Leave()
		err = m.obj.Wrap(err)
	}
	return err
}

func (m *Mutex) caught(g *mem.Guard, v any, err *error) {
	g.Caught(v, err)
	*err = m.obj.Wrap(*err)
}

// hold tells of damage, old and new, and begins a gated hold when nothing can fail any more.
func (m *Mutex) hold(recovered bool) (err error) {
	if recovered {
		m.damaged.StoreRelease(1)
	}
	if m.damaged.Load() != 0 {
		err = fmt.Errorf("%s %q: %w with the lock; it is yours now: repair what it protects, then call Repaired",
			m.obj.Kind, m.obj.Name, errs.ErrOwnerDied)
	}
	m.gated.Begin()
	return err
}

// Unlock gives the lock to the next; errs.ErrConflict when it is not held through this handle. It need not
// be the goroutine that took it.
func (m *Mutex) Unlock() (err error) {
	by := m.light.Load()
	if by == notHeld {
		return m.unlockGated()
	}
	g := mem.Protect()
	defer func() {
		if g.End(); !g.Done {
			m.caught(&g, recover(), &err)
		}
	}()
	m.light.StoreRelease(notHeld) // from the next line on another may hold it, also through this handle
	var ours bool
	if by == held {
		ours = m.lock.Unlock()
	} else {
		ours = m.lock.UnlockLong()
	}
	g.Done = true
	if !ours || m.bars.Load() != 0 {
		err = m.unlocked(ours)
	}
	return err
}

// unlocked is the rest of an Unlock where something is not as usual.
func (m *Mutex) unlocked(ours bool) error {
	if m.closed() {
		m.free()
	}
	if !ours { // two called Unlock for one Lock, and the other was first
		return m.misuse("Unlock")
	}
	return nil
}

func (m *Mutex) unlockGated() (err error) {
	if !m.gated.End() {
		return m.misuse("Unlock")
	}
	g := mem.Protect()
	defer func() {
		if g.End(); !g.Done {
			m.caught(&g, recover(), &err)
			_ = m.unlocked(true)
		}
		m.obj.Gate.Leave()
	}()
	var ours bool
	if m.long {
		m.long = false
		ours = m.lock.UnlockLong()
	} else {
		ours = m.lock.Unlock()
	}
	g.Done = true
	if !ours || m.closed() {
		err = m.unlocked(ours)
	}
	return err
}

// Repaired says that what the lock protects is in order again; the next ones to lock are not told of the
// death any more. Only the holder may say so.
func (m *Mutex) Repaired() error {
	return m.whileHeld("Repaired",
		func() { m.damaged.StoreRelease(0) },
		func() bool { return m.damaged.Load() == 0 }) // a light hold began without damage
}

// MarkSince records, for those who look, that the lock is held for long.
func (m *Mutex) MarkSince() error {
	return m.whileHeld("MarkSince",
		func() { m.long = true; m.lock.MarkSince() },
		func() bool {
			m.light.CAS(held, since)
			m.lock.MarkSince()
			if m.light.Load() == since {
				return true
			}
			m.lock.ClearSince() // somebody unlocked meanwhile, and perhaps cleared it before we set it
			return false
		})
}

// whileHeld calls gated in a gated hold, whose end waits for it; in a light hold, which may end meanwhile, light,
// which says whether it did not.
func (m *Mutex) whileHeld(what string, gated func(), light func() bool) error {
	var was bool
	err := object.Guarded(func() error {
		was = m.gated.Use(gated) || m.light.Load() != notHeld && light()
		return nil
	})
	if err == nil && !was {
		return m.misuse(what)
	}
	return m.obj.Wrap(err)
}

// Held reports whether the lock is held through this handle.
func (m *Mutex) Held() bool { return m.light.Load() != notHeld || m.gated.Held() }

func (m *Mutex) misuse(what string) error {
	return fmt.Errorf("%s %q: %w: %s without holding the lock through this handle", m.obj.Kind, m.obj.Name, errs.ErrConflict, what)
}
