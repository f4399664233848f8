package pipe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

var dialled atomic.Uint64

// Dial makes a pipe to the process that listens at name. It returns as soon as the pipe is on its way; if the
// listener dies or closes before it accepts, the pipe ends. One that is closed here before it was accepted is
// not accepted, and what was sent is gone: Close says so. shiplap.ErrPeerGone says that nobody listens.
func Dial(ctx context.Context, d *shiplap.Domain, name string, opt *Options) (*End, error) {
	fail := func(err error) (*End, error) { return nil, fmt.Errorf("dial %q: %w", name, err) }
	s := space(d)
	o, err := s.Open(name, object.Listener, listenerParts)
	if err != nil {
		return fail(err)
	}
	defer o.Close()
	c := &dialling{o: o, row: listenerView(o)}
	c.row.ConsumersGone = c.gone
	c.row.ProducerLock.Stop = func() error { return c.gone(nil) } // its owner may have been stopped
	err = object.Guarded(func() error {
		c.token = lockOwner(o, offRow+row.ConsumerLock)
		return c.gone(nil)
	})
	if err != nil {
		return fail(o.Explain(err))
	}
	e, err := c.makePipe(ctx, opt)
	if err != nil {
		return fail(err)
	}
	if err := object.Guarded(func() error { return c.put(ctx, e) }); err != nil {
		return fail(errors.Join(err, e.Close()))
	}
	return e, nil
}

// dialling is one call of Dial.
type dialling struct {
	o     *object.Object // the listener
	row   *row.Queue
	token uint32 // of the process that listens
}

// gone is why the process that listened when we came will not accept, nil if it may. Its death ends the
// sleep of the call w, if there is one.
func (c *dialling) gone(w *wait.Call) error {
	switch now := lockOwner(c.o, offRow+row.ConsumerLock); {
	case c.o.Err() != nil || c.row.IsClosed() || now == 0:
		return fmt.Errorf("%w: it stopped listening", errs.ErrPeerGone)
	case now != c.token:
		return fmt.Errorf("%w: it died, and another process listens there now", errs.ErrPeerGone)
	}
	if w != nil {
		w.Depend(c.o.Space.Table, c.token)
	}
	if c.o.Space.Table.Dead(c.token) {
		return fmt.Errorf("%w: the process that listened there is dead", errs.ErrPeerGone)
	}
	return nil
}

const (
	mostNames = 1000 // how many names of pipes are tried
	mostName  = 90   // bytes of the listener's name in that of the pipe
)

// makePipe makes the pipe that is to be accepted. Its name may be taken: objects of dead processes, or
// what was put there by others.
func (c *dialling) makePipe(ctx context.Context, opt *Options) (*End, error) {
	var own Options
	if opt != nil {
		own = *opt
	}
	own.Ephemeral = true
	s := c.o.Space
	for try := 1; ; try++ {
		name := fmt.Sprintf("%s~%08x.%d", clip(c.o.Name), s.Table.Self(), dialled.Add(1))
		e, err := create(s, name, &own, c.token)
		if !errors.Is(err, fs.ErrExist) || try == mostNames {
			return e, err
		}
		if ctx.Err() != nil {
			return nil, errors.Join(context.Cause(ctx), err)
		}
	}
}

// put puts the name of the pipe into the listener's ring.
func (c *dialling) put(ctx context.Context, e *End) error {
	err := c.row.Put(ctx, []byte(e.Name()))
	if errors.Is(err, errs.ErrClosed) || errors.Is(err, errs.ErrRemoved) {
		return fmt.Errorf("%w: it stopped listening (%w)", errs.ErrPeerGone, err)
	}
	if err != nil {
		return err
	}
	return c.accepted(e)
}

// accepted is the last look, after the name was put: nil if the pipe was accepted or may be.
func (c *dialling) accepted(e *End) error {
	// A listener that closes takes what is in its ring, and does not wait for ever for what is just being
	// put. So the last look is ours. An end that was taken has an owner, or had one, whatever became of
	// the listener.
	if why := c.gone(nil); why != nil && !e.taken() {
		return why
	}
	return nil
}

// clip leaves room for what makes the name of a dialled pipe unique.
func clip(name string) string {
	if len(name) <= mostName {
		return name
	}
	cut := mostName
	for cut > 0 && name[cut]&0xc0 == 0x80 {
		cut-- // not inside a character
	}
	return name[:cut]
}
