//go:build explore

package explore

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// removal is an experiment with one object that is removed by process 0, and whose name process 1 wants. The name is
// a word: the file system gives it to one at a time, under the name lock.
type removal struct {
	s         *mem.Span
	h         *object.Header
	name      *mem.U32 // 1: leads to the object
	successor *mem.U32 // 1: another object has the name
	done      bool     // somebody did both steps
	sys       *System
}

const (
	stateAt      = 128
	nameAt       = 192
	successorAt  = 196
	eventAt      = 256
	removalLock  = 384
	removalBytes = removalLock + wordlock.Size
)

func newRemoval() *removal {
	s := mem.NewHeap(mem.Part{Len: removalBytes}).Span(0)
	r := &removal{s: s, name: s.U32(nameAt), successor: s.U32(successorAt),
		h: &object.Header{Kind: object.Mutex, Size: removalBytes, Events: []int{eventAt}, Locks: []object.LockAt{{Name: "lock", Off: removalLock}}}}
	r.name.Store(1)
	r.sys = &System{Memory: []*mem.Span{s}, Clock: lockClock(removalLock), Bounded: []int{lineOf(removalLock)}}
	r.sys.Procs = []func(*Proc){
		func(*Proc) { r.both() },
		func(p *Proc) {
			if s.U32(stateAt).Load()&object.Removed == 0 {
				return // the name is taken
			}
			r.both()
			r.successor.Store(1)
		},
	}
	r.sys.Idle = func(asleep []int) error {
		if r.done {
			return errors.New("although the object was removed")
		}
		return nil
	}
	return r
}

// both are the two steps of a removal.
func (r *removal) both() {
	must(object.MarkIn(r.s, r.h))
	r.name.CAS(1, 0)
	r.done = true
}

// session is that of a handle on the object.
func (r *removal) session() *wait.Session {
	return &wait.Session{Check: func() error {
		if r.s.U32(stateAt).Load()&object.Removed != 0 {
			return errs.ErrRemoved
		}
		return nil
	}}
}

// user takes the lock through an old handle. That must not succeed once another object has the name.
func (r *removal) user() {
	r.sys.Procs = append(r.sys.Procs, func(p *Proc) {
		l := wordlock.New(r.s, removalLock, p.Owners(), r.session())
		replaced := r.successor.Load() == 1
		_, err := l.Lock(context.Background())
		switch {
		case err == nil && replaced:
			p.Failf("locked the old object after there was another one of its name")
		case err == nil:
			l.Unlock()
		case !errors.Is(err, errs.ErrRemoved):
			p.Failf("%v", err)
		}
	})
}

// owner has the lock, and keeps it.
func (r *removal) owner() {
	r.s.U32(removalLock).Store(uint32(len(r.sys.Procs)) + 1)
	r.sys.Procs = append(r.sys.Procs, func(p *Proc) { p.point() })
}

// locker waits for the lock, until the object is removed.
func (r *removal) locker() {
	r.sys.Procs = append(r.sys.Procs, func(p *Proc) {
		l := wordlock.New(r.s, removalLock, p.Owners(), r.session())
		if _, err := l.Lock(context.Background()); !errors.Is(err, errs.ErrRemoved) {
			p.Failf("%v", err)
		}
	})
}

// never is a wait for what does not come.
type never struct{ e wait.Event }

func (n never) Look(c *wait.Call) (bool, error) { c.Arm(n.e); return false, nil }
func (never) Stale() bool                       { return false }
func (never) Abandon()                          {}

// waiter sleeps on the event, until the object is removed.
func (r *removal) waiter() {
	r.sys.Procs = append(r.sys.Procs, func(p *Proc) {
		err := r.session().Wait(context.Background(), never{wait.NewEvent(r.s.U32(eventAt))})
		if !errors.Is(err, errs.ErrRemoved) {
			p.Failf("%v", err)
		}
	})
}

// One process begins a removal and may die in it; another one finishes it. No sleep has a bound.
func TestRemoval(t *testing.T) {
	for _, c := range []Options{{Switches: 3}, {Switches: 2, Weak: true, AtOnce: true}} {
		c.Deaths, c.Mortal = 1, 1
		run := func(name string, less int, add func(r *removal)) {
			t.Run(fmt.Sprintf("%s, weak=%v", name, c.Weak), func(t *testing.T) {
				opt := c
				opt.Switches -= less
				explored(t, opt, func() *System {
					r := newRemoval()
					add(r)
					return r.sys
				})
			})
		}
		run("an old handle", 0, (*removal).user)
		run("one that sleeps", 0, (*removal).waiter)
		run("two that sleep", 1, func(r *removal) {
			r.waiter()
			r.waiter()
		})
		run("one that waits for a lock", 1, func(r *removal) {
			r.owner()
			r.locker()
		})
	}
}
