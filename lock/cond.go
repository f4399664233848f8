package lock

import (
	"context"
	"errors"
	"fmt"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

const (
	offSignals  = object.HeaderSize // u32: how often somebody signalled
	offSignal   = offSignals + 64   // event
	offWaitings = offSignals + 128  // u32 hint: how often somebody slept
)

// Cond lets processes wait, without the Mutex that protects a condition, for the condition to change. All methods
// may be called concurrently.
//
// A waiter that is killed takes a signal with it that was meant for one: so each of the others looks up by itself
// a quarter of a second later at most, and Wait then returns although no signal was meant for it. Conditions
// are checked in a loop in any case; WaitFor is that loop.
type Cond struct {
	base
	signals *mem.U32
	event   wait.Event
	waits   *mem.U32
}

func condSpec(opt *Options) object.Spec {
	return opt.fill(object.Spec{Kind: object.Cond, Events: []int{offSignal}})
}

func newCond(o *object.Object) (*Cond, error) {
	return &Cond{base{obj: o}, o.Ctl.U32(offSignals), wait.NewEvent(o.Ctl.U32(offSignal)), o.Ctl.U32(offWaitings)}, nil
}

// CreateCond makes a condition variable; shiplap.ErrExist when the name is taken.
func CreateCond(d *shiplap.Domain, name string, opt *Options) (*Cond, error) {
	return create(d, name, condSpec(opt), newCond)
}

// OpenCond opens a condition variable; shiplap.ErrIncompatible when the object is something else.
func OpenCond(d *shiplap.Domain, name string) (*Cond, error) {
	return open(d, name, object.Cond, nil, newCond)
}

// OpenOrCreateCond opens the condition variable, or makes it if it does not exist.
func OpenOrCreateCond(d *shiplap.Domain, name string, opt *Options) (*Cond, error) {
	return object.OpenOrCreate(
		func() (*Cond, error) { return OpenCond(d, name) },
		func() (*Cond, error) { return CreateCond(d, name, opt) })
}

// Signal lets one of those who wait go on. The caller has changed the condition under the mutex; it may hold
// it still or not.
func (c *Cond) Signal() error { return c.signal(wait.Event.Wake, 1) }

// Broadcast lets all who wait go on.
func (c *Cond) Broadcast() error {
	return c.signal(func(e wait.Event, _ int) { e.WakeAll() }, 0)
}

func (c *Cond) signal(wake func(wait.Event, int), n int) error {
	return c.obj.Call(func() error {
		c.signals.Add(1)
		wake(c.event, n)
		return c.obj.Err()
	})
}

// Wait unlocks m, waits for a signal, and locks m again; m must be held through that handle. It returns when
// there was any signal since it began, perhaps not meant for it: check the condition again.
//
// Whatever it returns, m is held, unless errors.Is(err, ErrNotLocked). That takes precedence over the
// context: when that is done, Wait first gets m back, however long others hold it. Of shiplap.ErrOwnerDied see Mutex.Lock.
func (c *Cond) Wait(ctx context.Context, m *Mutex) error {
	if !m.m.Held() {
		return errors.Join(ErrNotLocked, fmt.Errorf("cond %q: %w: Wait without holding %s", c.obj.Name, errs.ErrConflict, m))
	}
	return c.obj.Call(func() error {
		unlocked := false
		err := object.Guarded(func() error { return c.sleep(ctx, m, &unlocked) })
		if !unlocked {
			return err
		}
		switch e := m.Lock(context.WithoutCancel(ctx)); {
		case e == nil:
			return err
		case errors.Is(e, errs.ErrOwnerDied):
			return errors.Join(e, err)
		default:
			return errors.Join(ErrNotLocked, e, err)
		}
	})
}

// ErrNotLocked says that Wait or WaitFor returned without the mutex, because it could not be had: closed, removed.
var ErrNotLocked = errors.New("the mutex is not held")

// sleep unlocks m once it is sure to hear of signals.
func (c *Cond) sleep(ctx context.Context, m *Mutex, unlocked *bool) error {
	c.waits.Add(1)
	first := c.signals.Load() // before the mutex is unlocked: a signal from then on is for us
	c.event.Arm()
	if err := m.Unlock(); err != nil {
		return errors.Join(ErrNotLocked, err)
	}
	*unlocked = true
	return sleepUntil(ctx, c.obj, c.event, func() bool { return c.signals.Load() != first })
}

// WaitFor waits until cond holds, which is called with m held only. It returns as Wait does; nil means that the
// condition holds.
func (c *Cond) WaitFor(ctx context.Context, m *Mutex, cond func() bool) error {
	for !cond() {
		if err := c.Wait(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// Close gives up the handle; calls that wait get their mutex back and return shiplap.ErrClosed.
func (c *Cond) Close() error { return c.close() }

// CondStats is a condition variable at one moment.
type CondStats struct {
	Signals uint32 `json:"signals"` // how often somebody signalled, modulo 2³²
	Waits   uint32 `json:"waits"`   // how often somebody waited, modulo 2³²
}

// Stats looks at the condition variable.
func (c *Cond) Stats() (s CondStats, err error) {
	err = c.obj.Call(func() error {
		s = CondStats{c.signals.Load(), c.waits.Load()}
		return nil
	})
	return s, err
}
