// Package robust is the lock that users of the module get: wordlock's, with handles that may be closed
// at any moment, and with the memory of a death that somebody has to repair (D16).
//
// A process that dies with the lock leaves its token in the word. Whoever takes the lock over from it
// sets the damaged word before anything else, and is told errs.ErrOwnerDied with the lock held, and so
// is everybody after him until one calls Repaired. A taker who dies before he set the word leaves a
// dead token again. So from the death to the repair there is no moment at which somebody could take
// the lock and not be told.
package robust

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Mutex is one handle on a lock record. All methods may be called concurrently.
type Mutex struct {
	obj     *object.Object
	lock    *wordlock.Lock
	damaged *mem.U32
	lingers bool

	held   mem.U32 // how the lock is held through this handle; written by the holder alone
	closed mem.U32
	long   bool // the holder called MarkSince
	once   sync.Once
}

const (
	notHeld  = iota
	released // not held after a light hold, or Unlock is on the point of giving the lock up
	light    // without the gate: what touches the memory then looks whether the handle was closed meanwhile
	byGate   // inside of the object's gate
)

// New makes a handle on the record at off of an open object. Close must follow.
//
// The memory of a small object lingers (object.Linger): there the uncontended paths need no gate, whose
// two atomic operations would cost as much as the lock itself.
func New(o *object.Object, off int) (*Mutex, error) {
	if !o.Gate.Enter() { // until the handle is closed, and no hold without the gate is left
		return nil, errs.ErrClosed
	}
	l := wordlock.New(o.Ctl, off, o.Space.Table, &o.Sess)
	return &Mutex{obj: o, lock: l, damaged: l.Damaged(), lingers: o.Linger()}, nil
}

// Close gives the handle up; waits end when the object is closed. A hold goes on until Unlock.
func (m *Mutex) Close() {
	if m.closed.Swap(1) != 0 {
		return
	}
	mem.Heavy() // pairs with Lock and Unlock, which store held and then load closed
	m.freeUnlessHeld(time.Millisecond)
}

// freeUnlessHeld frees the handle, or leaves that to the Unlock of the light hold that is under way. If somebody
// of this process has the lock, that may be such an Unlock before its last step, but also another handle: then it
// looks again later.
func (m *Mutex) freeUnlessHeld(later time.Duration) {
	switch h := m.held.Load(); {
	case h == light:
	case h == released && m.mine():
		time.AfterFunc(later, func() { m.freeUnlessHeld(min(2*later, wait.MaxSleep)) })
	default:
		m.free()
	}
}

// mine reports whether this process has the lock, through whichever handle.
func (m *Mutex) mine() (mine bool) {
	var fault error
	g := mem.Protect()
	defer g.Recover(&fault)
	mine = m.lock.Mine()
	g.Done = true
	return mine
}

// free ends the part of the handle in its object. After it the process may leave the domain.
func (m *Mutex) free() { m.once.Do(m.obj.Gate.Leave) }

// Lock takes the lock. errs.ErrOwnerDied means that it is held, too, and that what it protects may be half
// changed: see Repaired. With any other error it is not held.
func (m *Mutex) Lock(ctx context.Context) (err error) {
	g := mem.Protect()
	defer func() { // spelt out: this is hot
		if g.End(); !g.Done {
			m.caught(&g, recover(), &err)
		}
	}()
	if m.lingers && m.lock.Fast() {
		m.held.StoreRelease(light) // before the load of closed, see Close
		if m.damaged.Load()|m.closed.Load() != 0 {
			err = m.special()
		}
	} else {
		err = m.slow(ctx)
	}
	g.Done = true
	return err
}

// special is for what is not as usual about a light hold.
func (m *Mutex) special() error {
	if m.closed.Load() != 0 {
		return m.late()
	}
	return m.died()
}

// late gives a lock back that was taken when the handle was closed already. If the process left the
// domain meanwhile, others may have replaced its token.
func (m *Mutex) late() error {
	m.held.StoreRelease(notHeld)
	m.lock.GiveUp()
	m.free()
	return m.obj.Wrap(errs.ErrClosed)
}

func (m *Mutex) slow(ctx context.Context) error {
	if !m.obj.Gate.Enter() {
		return m.obj.Wrap(errs.ErrClosed)
	}
	in := true
	defer func() {
		if in {
			m.obj.Gate.Leave()
		}
	}()
	recovered, err := m.lock.Lock(ctx)
	if err != nil {
		return m.obj.Wrap(err)
	}
	m.held.StoreRelease(byGate)
	in = false
	return m.look(recovered)
}

// TryLock is Lock without waiting: errs.ErrBusy when somebody else, dead ones excepted, has it.
func (m *Mutex) TryLock() error {
	if !m.obj.Gate.Enter() {
		return m.obj.Wrap(errs.ErrClosed)
	}
	var ok, recovered bool
	err := object.Guarded(func() error {
		if err := m.obj.Err(); err != nil {
			return err
		}
		if ok, recovered = m.lock.TryLock(); !ok {
			return errs.ErrBusy
		}
		m.held.StoreRelease(byGate)
		return m.look(recovered)
	})
	if !ok {
		m.obj.Gate.Leave()
		err = m.obj.Wrap(err)
	}
	return err
}

func (m *Mutex) caught(g *mem.Guard, v any, err *error) {
	g.Caught(v, err)
	*err = m.obj.Wrap(*err)
}

// look tells of damage, old and new.
func (m *Mutex) look(recovered bool) error {
	if recovered {
		m.damaged.StoreRelease(1)
	}
	if m.damaged.Load() != 0 {
		return m.died()
	}
	return nil
}

func (m *Mutex) died() error {
	return fmt.Errorf("%s %q: %w with the lock; it is yours now: repair what it protects, then call Repaired",
		m.obj.Kind, m.obj.Name, errs.ErrOwnerDied)
}

// Unlock gives the lock to the next; errs.ErrConflict when it is not held through this handle. It need not
// be the goroutine that took it.
func (m *Mutex) Unlock() (err error) {
	by := m.held.Load()
	if by < light {
		return m.misuse("Unlock")
	}
	g := mem.Protect()
	defer func() {
		if g.End(); !g.Done {
			m.caught(&g, recover(), &err)
			m.held.StoreRelease(released)
			m.left(by)
		}
	}()
	if m.long {
		m.long = false
		m.lock.ClearSince()
	}
	m.held.StoreRelease(released) // from here on the next one may store it
	m.lock.Unlock()
	g.Done = true
	if by == byGate || m.closed.Load() != 0 {
		m.left(by)
	}
	return nil
}

// left ends a hold.
func (m *Mutex) left(by uint32) {
	if by == byGate {
		m.obj.Gate.Leave()
	} else if m.closed.Load() != 0 {
		m.free()
	}
}

// Repaired says that what the lock protects is in order again; the next ones to lock are not told of the
// death any more. Only the holder may say so.
func (m *Mutex) Repaired() (err error) {
	if !m.Held() {
		return m.misuse("Repaired")
	}
	g := mem.Protect()
	defer g.Recover(&err)
	m.damaged.StoreRelease(0)
	g.Done = true
	return nil
}

// Held reports whether the lock is held through this handle.
func (m *Mutex) Held() bool { return m.held.Load() >= light }

// MarkSince records, for those who look, that the lock is held for long.
func (m *Mutex) MarkSince() (err error) {
	if !m.Held() {
		return m.misuse("MarkSince")
	}
	g := mem.Protect()
	defer g.Recover(&err)
	m.long = true
	m.lock.MarkSince()
	g.Done = true
	return nil
}

func (m *Mutex) misuse(what string) error {
	return fmt.Errorf("%s %q: %w: %s without holding the lock through this handle", m.obj.Kind, m.obj.Name, errs.ErrConflict, what)
}
