package object

import (
	"sync"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// Exclusive is what a handle stands on that one goroutine at a time uses, and that holds something of an object: a
// side of a queue, a subscriber's slot. It is inside of the object's Gate for its whole life, and has a session of its
// own, so that its waits end when it is closed.
type Exclusive struct {
	Pin  Pin
	Sess wait.Session
	obj  *Object
	give func()
}

// Open lets the handle in. take takes hold of what it is for; give gives that back when the handle is closed and the
// last call is over. Both run under the fault guard.
func (e *Exclusive) Open(o *Object, take func() error, give func()) error {
	if !o.Gate.Enter() {
		return o.Wrap(errs.ErrClosed)
	}
	e.obj, e.give = o, give
	e.Sess.Check, e.Sess.Verify = o.Err, o.Verify
	e.Pin.Init(e.free)
	if err := Guarded(take); err != nil {
		o.Gate.Leave()
		return o.Wrap(err)
	}
	return nil
}

func (e *Exclusive) free() {
	_ = Guarded(func() error {
		e.give()
		return nil
	})
	e.obj.Gate.Leave()
}

// Interrupt ends the waits of the handle, now and later, with errs.ErrClosed.
func (e *Exclusive) Interrupt() { e.Sess.Interrupt(errs.ErrClosed) }

// Close reports whether it was this call that closed the handle.
func (e *Exclusive) Close() bool {
	e.Interrupt()
	return e.Pin.Close()
}

// Leave ends a call: it recovers from a fault in the memory and leaves the pin. The call itself must defer it.
func (e *Exclusive) Leave(g *mem.Guard, err *error) {
	e.Pin.Leave()
	g.End()
	if !g.Done {
		g.Caught(recover(), err)
	}
}

// Family is the handles that were made from one handle, and are closed with it.
type Family[H comparable] struct {
	mu     sync.Mutex
	made   map[H]struct{}
	closed bool
}

// Adopt takes a new handle in. It reports false if the family was disbanded.
func (f *Family[H]) Adopt(h H) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	if f.made == nil {
		f.made = map[H]struct{}{}
	}
	f.made[h] = struct{}{}
	return true
}

// Disown forgets a handle that was closed by itself.
func (f *Family[H]) Disown(h H) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.made, h)
}

// Disband hands out the handles for closing, and takes no new ones in. The first call reports true.
func (f *Family[H]) Disband() (made map[H]struct{}, first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first = !f.closed
	made, f.made, f.closed = f.made, nil, true
	return made, first
}
