package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

func (o *Options) checkLimit() error {
	switch {
	case o.MaxDeliveries < 0 || o.MaxDeliveries > mostDeliveries:
		return fmt.Errorf("%w: a limit of %d deliveries, possible are 1 to %d, and 0 for none",
			errs.ErrTooLarge, o.MaxDeliveries, mostDeliveries)
	case o.MaxDeliveries > 0 && !o.Ack:
		return fmt.Errorf("%w: MaxDeliveries without Ack: what is taken from such a queue does not come back", errs.ErrUnsupported)
	case o.DeadLetters != "" && o.MaxDeliveries == 0:
		return fmt.Errorf("%w: DeadLetters without MaxDeliveries: no message would ever go there", errs.ErrUnsupported)
	case len(o.DeadLetters) > row.LongestName:
		return fmt.Errorf("%w: the name of the dead letters has %d bytes, at most %d fit", errs.ErrTooLarge, len(o.DeadLetters), row.LongestName)
	}
	return nil
}

func writeName(s *mem.Span, name string) {
	s.U64(deadName).Store(uint64(len(name)))
	copy(s.Bytes(deadName+8, len(name)), name)
}

func readName(s *mem.Span) string {
	n := min(s.U64(deadName).Load(), row.LongestName)
	return string(s.Bytes(deadName+8, int(n)))
}

// targets are the queues that messages of a queue are moved to, as far as this handle has opened them. They are opened
// outside of the queue's locks.
type targets struct {
	dead string                 // the name of the dead letters, "" if there are none
	mu   sync.Mutex             // guards opening and closing
	open atomic.Pointer[target] // of the dead letters
	past atomic.Pointer[target] // of a move that a dead process left

	closed bool
}

// target is an open queue, without an object if it is gone.
type target struct {
	obj *object.Object
	row.Target
}

var errNoTarget = fmt.Errorf("%w: the queue of dead letters is not open", errs.ErrBusy)

// use runs f with the target while nobody can close it, and under a fault guard of its own: its memory is no reason to give
// up the queue that the message comes from.
func (t *target) use(f func(row.Target) error) error {
	if t == nil || t.obj != nil && !t.obj.Gate.Enter() {
		return errNoTarget
	}
	if t.obj != nil {
		defer t.obj.Gate.Leave()
	}
	return object.Guarded(func() error { return f(t.Target) })
}

// here reports that the target is open, and has not been removed.
func (t *target) here() bool {
	if t == nil || t.obj == nil || !t.obj.Gate.Enter() {
		return false
	}
	defer t.obj.Gate.Leave()
	return t.obj.Err() == nil
}

func (t *target) close() error {
	if t == nil || t.obj == nil {
		return nil
	}
	return t.obj.Close()
}

// moves has the ring's records moved.
func (q *Raw) moves() {
	if q.MaxDeliveries() > 0 {
		q.targets.dead = readName(q.obj.Ctl)
	}
	q.row.Prepare = q.ready
	q.row.Reach = func(name string, id uint64, look func(row.Target) error) error {
		for _, t := range []*target{q.targets.past.Load(), q.targets.open.Load()} {
			if t != nil && t.Name == name && (t.obj == nil || t.ID() == id) {
				return t.use(look)
			}
		}
		return errNoTarget
	}
	if q.targets.dead != "" {
		q.row.Bury = func(move func(row.Target) error) error { return q.targets.open.Load().use(move) }
	}
}

// ready opens what messages may have to be moved to. What cannot be opened is tried again by the next call.
func (q *Raw) ready() {
	ts := &q.targets
	name, id, moving := q.row.Moving()
	if (ts.dead == "" || ts.open.Load().here()) && !moving {
		return
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.closed {
		return
	}
	if ts.dead != "" && !ts.open.Load().here() {
		if o, err := q.openDead(); err == nil {
			_ = ts.open.Swap(q.target(o, ts.dead)).close()
		}
	}
	if moving {
		if t, err := q.openPast(name, id); err == nil {
			_ = ts.past.Swap(t).close()
		}
	}
}

func (q *Raw) target(o *object.Object, name string) *target {
	return &target{o, row.Target{Queue: view(o, q.mode, &o.Sess), Name: name}}
}

// openDead opens the dead letters, or makes them.
func (q *Raw) openDead() (*object.Object, error) {
	o := q.obj
	return openDead(o.Space, q.targets.dead, o.Name, schema.Descriptor{Text: o.Desc, Hash: o.DescHash},
		Options{Capacity: int64(o.Params[paramArea]), Ephemeral: o.Flags&object.Ephemeral != 0})
}

// openDead opens the dead letters of a queue with those options, or makes them.
func openDead(s *object.Space, name, of string, desc schema.Descriptor, like Options) (*object.Object, error) {
	opt := Options{Capacity: like.Capacity, Ack: true, Ephemeral: like.Ephemeral, Label: deadLabel(of)}
	spec, err := opt.spec(desc)
	if err != nil {
		return nil, err
	}
	o, err := object.OpenOrCreate(
		func() (*object.Object, error) { return s.Open(name, object.Queue, parts) },
		func() (*object.Object, error) { return s.Create(name, spec) })
	if err == nil && (o.Desc != desc.Text || o.DescHash != desc.Hash) {
		err = fmt.Errorf("%w: the queue %q is of %s, its dead letters would be of %s", errs.ErrIncompatible, name, o.Desc, desc.Text)
		return nil, errors.Join(err, o.Close())
	}
	return o, err
}

func deadLabel(of string) string {
	const before, most = "dead letters of ", 256
	return strings.ToValidUTF8(before+of[:min(len(of), most-len(before))], "")
}

// openPast opens the queue that somebody was moving a message to. If it has been removed, or another one has its name, the
// target is one that is gone.
func (q *Raw) openPast(name string, id uint64) (*target, error) {
	o, err := q.obj.Space.Open(name, object.Queue, parts)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errs.ErrIncompatible):
		return &target{Target: row.Target{Name: name}}, nil
	case err != nil:
		return nil, err
	}
	if t := q.target(o, name); t.ID() == id {
		return t, nil
	}
	return &target{Target: row.Target{Name: name}}, o.Close()
}

// close closes the targets.
func (ts *targets) close() error {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.closed = true
	return errors.Join(ts.open.Load().close(), ts.past.Load().close())
}

// MaxDeliveries is how often a message is handed out, 0 if there is no limit: see Options.
func (q *Raw) MaxDeliveries() int { return int(q.obj.Params[paramMax]) }

// DeadLetters is the name of the queue where messages go that were handed out MaxDeliveries times, "" if there is none.
func (q *Raw) DeadLetters() string { return q.targets.dead }
