package pipe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/ring"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// Listener accepts pipes that other processes dial. It is a net.Listener.
type Listener struct {
	obj  *object.Object
	opt  *Options
	ring *ring.Ring
	mu   sync.Mutex // one Accept at a time is taking a name
	c    ring.Consumer
	once sync.Once
}

var _ net.Listener = (*Listener)(nil)

// Listen makes a listener called name. shiplap.ErrExist says that a living process listens there; one that
// died is succeeded. opt counts for the ends that are accepted.
func Listen(d *shiplap.Domain, name string, opt *Options) (*Listener, error) {
	if opt == nil {
		opt = &Options{}
	}
	s := space(d)
	for {
		o, err := createListener(s, name)
		if errors.Is(err, fs.ErrExist) {
			o, err = s.Open(name, object.Listener, listenerParts)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		l := &Listener{obj: o, opt: opt, ring: listenerView(o)}
		err = object.Guarded(func() error {
			if ok, _ := l.ring.ConsumerLock.TryLock(); !ok {
				return fmt.Errorf("%w: another process listens there", errs.ErrExist)
			}
			l.ring.ConsumerLock.MarkSince()
			return l.c.Resume(l.ring)
		})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen at %q: %w", name, o.Explain(err)), o.Close())
		}
		if o.Err() != nil || l.ring.IsClosed() { // its last user removed it just before we came, or died while closing it
			_ = l.Close()
			continue
		}
		return l, nil
	}
}

func createListener(s *object.Space, name string) (*object.Object, error) {
	desc, err := schema.Describe(reflect.TypeFor[string](), schema.Raw)
	if err != nil {
		return nil, err
	}
	spec := object.Spec{
		Kind: object.Listener, Flags: object.Ephemeral, Desc: desc,
		Parts:  []mem.Part{{Len: ctlSize}, {Len: listenerArea, Mirror: true}},
		Locks:  []object.LockAt{{Name: "dial", Off: offRing + ring.ProducerLock}, {Name: "listen", Off: offRing + ring.ConsumerLock}},
		Events: []int{offRing + ring.NotEmpty, offRing + ring.NotFull},
	}
	spec.Params[paramArea] = listenerArea
	return s.Create(name, spec)
}

func listenerView(o *object.Object) *ring.Ring {
	return ring.Open(ring.Config{
		Ctl: o.Ctl, Base: offRing, Area: o.Region.Span(1), State: o.Ctl.U32(offStates), Object: o.Word,
		Owners: o.Space.Table, Sess: &o.Sess, Mode: wait.Sleep,
	})
}

// Accept waits for the next pipe that somebody dials; net.ErrClosed after Close.
func (l *Listener) Accept() (net.Conn, error) {
	e, err := l.AcceptEnd(context.Background())
	if err != nil {
		if errors.Is(err, errs.ErrClosed) {
			err = net.ErrClosed
		}
		return nil, &net.OpError{Op: "accept", Net: "shiplap", Addr: l.Addr(), Err: err}
	}
	return e.Conn(), nil
}

// AcceptEnd is Accept for messages, and with a context.
func (l *Listener) AcceptEnd(ctx context.Context) (*End, error) {
	for {
		name, err := l.next(ctx)
		if err != nil {
			return nil, err
		}
		e, err := open(l.obj.Space, name, l.opt)
		switch {
		case err == nil:
			return e, nil
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, errs.ErrClosed), errors.Is(err, errs.ErrBusy), errors.Is(err, errs.ErrName):
			continue // the caller gave up meanwhile, or somebody put nonsense into the ring
		}
		// Out of descriptors or memory, say. The caller must not wait for ever.
		return nil, errors.Join(err, l.obj.Space.Remove(ctx, name))
	}
}

func (l *Listener) next(ctx context.Context) (name string, err error) {
	if !l.obj.Gate.Enter() {
		return "", fmt.Errorf("listener %q: %w", l.obj.Name, errs.ErrClosed)
	}
	defer l.obj.Gate.Leave()
	l.mu.Lock()
	defer l.mu.Unlock()
	err = object.Guarded(func() error {
		b, err := l.c.Get(ctx, nil)
		name = string(b)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("listener %q: %w", l.obj.Name, l.obj.Explain(err))
	}
	return name, nil
}

// Addr is the name of the listener.
func (l *Listener) Addr() net.Addr { return Addr(l.obj.Name) }

// String names the listener.
func (l *Listener) String() string { return fmt.Sprintf("listener %q", l.obj.Name) }

// Close ends listening. Pipes that were dialled and not accepted end; those accepted stay.
func (l *Listener) Close() error {
	err := errs.ErrClosed
	l.once.Do(func() { err = l.close() })
	return err
}

func (l *Listener) close() error {
	l.obj.Sess.Interrupt(errs.ErrClosed)
	l.mu.Lock()
	defer l.mu.Unlock()
	err := object.Guarded(func() error {
		l.ring.Close()
		for {
			b, err := l.c.TryGet(nil)
			if err != nil {
				break
			}
			if e, err := open(l.obj.Space, string(b), l.opt); err == nil {
				e.Close()
			}
		}
		l.ring.ConsumerLock.UnlockLong()
		return nil
	})
	if e := l.obj.Remove(); e != nil && !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return errors.Join(err, l.obj.Close())
}

var dialled atomic.Uint64

// Dial makes a pipe to the process that listens at name. It returns as soon as the pipe is on its way; if the
// listener dies or closes before it accepts, the pipe ends. One that is closed here before it was accepted is
// not accepted, and what was sent is gone. shiplap.ErrPeerGone says that nobody listens.
func Dial(ctx context.Context, d *shiplap.Domain, name string, opt *Options) (*End, error) {
	fail := func(err error) (*End, error) { return nil, fmt.Errorf("dial %q: %w", name, err) }
	s := space(d)
	o, err := s.Open(name, object.Listener, listenerParts)
	if err != nil {
		return fail(err)
	}
	defer o.Close()
	r := listenerView(o)
	var token uint32
	err = object.Guarded(func() error {
		token = lockOwner(o, offRing+ring.ConsumerLock)
		if token == 0 || s.Table.Dead(token) {
			return fmt.Errorf("%w: the process that listened there is gone", errs.ErrPeerGone)
		}
		return nil
	})
	if err != nil {
		return fail(o.Explain(err))
	}
	var eo Options
	if opt != nil {
		eo = *opt
	}
	eo.Ephemeral = true
	e, err := create(s, fmt.Sprintf("%s~%08x.%d", clip(name), s.Table.Self(), dialled.Add(1)), &eo, token)
	if err != nil {
		return fail(err)
	}
	if err := object.Guarded(func() error { return r.Put(ctx, []byte(e.Name())) }); err != nil {
		if errors.Is(err, errs.ErrClosed) || errors.Is(err, errs.ErrRemoved) {
			err = fmt.Errorf("%w: it stopped listening (%w)", errs.ErrPeerGone, err)
		}
		return fail(errors.Join(err, e.Close()))
	}
	return e, nil
}

// clip leaves room for what makes the name of a dialled pipe unique.
func clip(name string) string {
	const most = 90
	if len(name) <= most {
		return name
	}
	cut := most
	for cut > 0 && name[cut]&0xc0 == 0x80 {
		cut-- // not inside a character
	}
	return name[:cut]
}
