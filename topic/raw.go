package topic

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// Raw is an open topic in bytes. All methods may be called concurrently.
type Raw struct {
	obj    *object.Object
	row    *row.Topic
	mode   wait.Mode
	accept int // the longest message that subscriptions copy out

	made object.Family[handle] // to be closed with this one
}

// handle is a publisher or a subscription.
type handle interface {
	interrupt() // whoever waits in it
	Close() error
}

func space(d *shiplap.Domain) *object.Space { return object.OfDomain(d) }

// CreateRaw makes a topic of bytes; shiplap.ErrExist when the name is taken.
func CreateRaw(d *shiplap.Domain, name string, opt *Options) (*Raw, error) {
	desc, err := schema.Describe(reflect.TypeFor[[]byte](), schema.Raw)
	if err != nil {
		return nil, err
	}
	return create(d, name, opt, desc)
}

// OpenRaw opens a topic of any type to publish and receive its messages as bytes.
func OpenRaw(d *shiplap.Domain, name string, opt *Options) (*Raw, error) {
	return open(d, name, opt)
}

func create(d *shiplap.Domain, name string, opt *Options, desc schema.Descriptor) (*Raw, error) {
	if opt == nil {
		opt = &Options{}
	}
	spec, err := opt.spec(desc)
	if err != nil {
		return nil, fmt.Errorf("create topic %q: %w", name, err)
	}
	o, err := space(d).Create(name, spec)
	if err != nil {
		return nil, err
	}
	return newRaw(o, opt), nil
}

func open(d *shiplap.Domain, name string, opt *Options) (*Raw, error) {
	if opt == nil {
		opt = &Options{}
	}
	o, err := space(d).Open(name, object.Topic, parts)
	if err != nil {
		return nil, err
	}
	return newRaw(o, opt), nil
}

func newRaw(o *object.Object, opt *Options) *Raw {
	mode := opt.Wait
	if mode == shiplap.WaitAdaptive {
		mode = o.Space.Mode
	}
	return &Raw{obj: o, mode: mode, accept: opt.MaxReceive, row: view(o, mode, &o.Sess)}
}

func view(o *object.Object, mode wait.Mode, sess *wait.Session) *row.Topic {
	return row.OpenTopic(row.Config{
		Ctl: o.Ctl, Base: rowBase, Area: o.Region.Span(1), State: o.Word, Object: o.Word,
		Owners: o.Space.Table, Sess: sess, Mode: mode,
	}, row.Slots{At: tableBase, N: int(o.Params[paramSlots])}, o.Params[paramPolicy] == uint64(Overwrite))
}

// enter lets a call in; when ok, leave must follow.
func (t *Raw) enter() error {
	if !t.obj.Gate.Enter() {
		return t.obj.Wrap(errs.ErrClosed)
	}
	return nil
}

// Name is the name of the topic.
func (t *Raw) Name() string { return t.obj.Name }

// Type is the descriptor of its messages.
func (t *Raw) Type() string { return t.obj.Desc }

// Policy is what happens when a subscriber does not keep up.
func (t *Raw) Policy() Policy { return Policy(t.obj.Params[paramPolicy]) }

// MaxMessage is the longest message that fits, in bytes; its envelope counts.
func (t *Raw) MaxMessage() int { return t.row.MaxPayload() }

// String names the topic.
func (t *Raw) String() string { return fmt.Sprintf("topic %q of %s", t.obj.Name, t.obj.Desc) }

// TryPublish publishes a copy of b if that needs no waiting: shiplap.ErrFull when a slow subscriber of a topic with Block
// leaves no room, shiplap.ErrBusy when somebody else holds the publishing side.
func (t *Raw) TryPublish(b []byte) (err error) {
	if err := t.enter(); err != nil {
		return err
	}
	defer t.obj.Gate.Leave()
	g := mem.Protect()
	defer g.Recover(&err)
	err = t.obj.Wrap(t.row.TryPut(b))
	g.Done = true
	return err
}

// Publish publishes a copy of b, waiting for slow subscribers of a topic with Block, and while somebody else holds the
// publishing side. With an error nothing was published.
func (t *Raw) Publish(ctx context.Context, b []byte) (err error) {
	if err := t.enter(); err != nil {
		return err
	}
	defer t.obj.Gate.Leave()
	g := mem.Protect()
	defer g.Recover(&err)
	err = t.obj.Wrap(t.row.Put(ctx, b))
	g.Done = true
	return err
}

// PublishMany publishes copies of all messages, in order; those that fit at a time become visible at once. With an error,
// n says how many were published.
func (t *Raw) PublishMany(ctx context.Context, msgs [][]byte) (n int, err error) {
	err = t.obj.Call(func() error {
		n, err = t.row.PutMany(ctx, msgs)
		return err
	})
	return n, err
}

// CloseTopic closes the topic for everybody, in all processes, as a Go channel is closed: nothing more is published;
// subscribers receive what is there, then shiplap.ErrClosed. It is not undone. The handle stays open: see Close.
func (t *Raw) CloseTopic() error {
	return t.obj.Call(func() error {
		t.row.Close()
		return nil
	})
}

// Close closes this handle, and the publishers and subscriptions made from it. Calls that wait return shiplap.ErrClosed
// (but one that waits for what this very handle held, the publishing side or room, may get it and succeed).
func (t *Raw) Close() error {
	made, first := t.made.Disband()
	if !first {
		return errs.ErrClosed
	}
	// Those who wait are to fail, not to get what the others give back.
	t.obj.Sess.Interrupt(errs.ErrClosed)
	for h := range made {
		h.interrupt()
	}
	var err error
	for _, publishers := range []bool{true, false} {
		for h := range made {
			if _, is := h.(*RawPublisher); is != publishers {
				continue
			}
			if e := h.Close(); !errors.Is(e, errs.ErrClosed) {
				err = errors.Join(err, e)
			}
		}
	}
	return errors.Join(err, t.obj.Close())
}

// adopt registers a handle, to be closed with this one.
func (t *Raw) adopt(h handle) error {
	if !t.made.Adopt(h) {
		return t.obj.Wrap(errs.ErrClosed)
	}
	return nil
}
