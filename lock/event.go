package lock

import (
	"context"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

const (
	offSet     = object.HeaderSize // u32: bit 0 set, bits 1–31 how often it was set
	offChanged = offSet + 64       // event
)

// Event is a flag that processes wait for. Setting and clearing are single atomic operations: nobody's
// death leaves anything half done. All methods may be called concurrently.
type Event struct {
	base
	word    *mem.U32
	changed wait.Event
}

func eventSpec(opt *Options) object.Spec {
	return opt.fill(object.Spec{Kind: object.Event, Events: []int{offChanged}})
}

func newEvent(o *object.Object) (*Event, error) {
	return &Event{base{obj: o}, o.Ctl.U32(offSet), wait.NewEvent(o.Ctl.U32(offChanged))}, nil
}

// CreateEvent makes an event that is not set; shiplap.ErrExist when the name is taken.
func CreateEvent(d *shiplap.Domain, name string, opt *Options) (*Event, error) {
	return create(d, name, eventSpec(opt), newEvent)
}

// OpenEvent opens an event; shiplap.ErrIncompatible when the object is something else.
func OpenEvent(d *shiplap.Domain, name string) (*Event, error) {
	return open(d, name, object.Event, nil, newEvent)
}

// OpenOrCreateEvent opens the event, or makes it if it does not exist.
func OpenOrCreateEvent(d *shiplap.Domain, name string, opt *Options) (*Event, error) {
	return object.OpenOrCreate(
		func() (*Event, error) { return OpenEvent(d, name) },
		func() (*Event, error) { return CreateEvent(d, name, opt) })
}

// Set sets the event and lets all who wait go on, also if it is cleared right after.
func (e *Event) Set() error {
	return e.obj.Call(func() error {
		for v := e.word.Load(); v&1 == 0 && !e.word.CAS(v, v+3); v = e.word.Load() { // bit 0, and once more
		}
		e.changed.WakeAll() // in any case: who set it before may have died on the way
		return e.obj.Err()
	})
}

// Clear makes those who come later wait.
func (e *Event) Clear() error {
	return e.obj.Call(func() error {
		for v := e.word.Load(); v&1 != 0 && !e.word.CAS(v, v&^1); v = e.word.Load() {
		}
		return e.obj.Err()
	})
}

// IsSet reports whether the event is set.
func (e *Event) IsSet() (set bool, err error) {
	err = e.obj.Call(func() error {
		set = e.word.Load()&1 != 0
		return e.obj.Err()
	})
	return set, err
}

// Wait waits until the event is set, or was set since the call began.
func (e *Event) Wait(ctx context.Context) error {
	return e.obj.Call(func() error {
		first := e.word.Load()
		return sleepUntil(ctx, e.obj, e.changed, func() bool {
			v := e.word.Load()
			return v&1 != 0 || v>>1 != first>>1
		})
	})
}

// sleepUntil waits for a condition that somebody publishes with the event.
func sleepUntil(ctx context.Context, o *object.Object, ev wait.Event, done func() bool) error {
	if done() {
		return nil
	}
	return o.Sess.Wait(ctx, &published{ev, done})
}

// published is a condition that somebody publishes with an event.
type published struct {
	ev   wait.Event
	done func() bool // cheap, from any goroutine
}

// Look implements wait.Until.
func (p *published) Look(c *wait.Call) (over bool, err error) {
	c.Arm(p.ev)
	return p.done(), nil
}

// Stale implements wait.Until.
func (p *published) Stale() bool { return p.done() }

// Abandon passes on a wake-up that was perhaps meant for another.
func (p *published) Abandon() {
	if p.done() {
		p.ev.Wake(1)
	}
}

// Close gives up the handle; calls that wait return shiplap.ErrClosed.
func (e *Event) Close() error { return e.close() }

// EventStats is an event at one moment.
type EventStats struct {
	Set   bool   `json:"set"`
	Times uint32 `json:"times"` // how often it was set, modulo 2³¹
}

// Stats looks at the event.
func (e *Event) Stats() (s EventStats, err error) {
	err = e.obj.Call(func() error {
		v := e.word.Load()
		s = EventStats{Set: v&1 != 0, Times: v >> 1}
		return nil
	})
	return s, err
}
