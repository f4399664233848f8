package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/member"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/internal/shares"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// Raw is a handle on one side of a channel, in bytes. All methods may be called concurrently.
type Raw struct {
	obj     *object.Object
	opt     Options
	side    side
	in, out *row.Queue
	members *member.Table
	table   *shares.Table

	inside sync.RWMutex // read: calls; write: closing
	closed bool         // guarded by inside

	way atomic.Int32 // how it receives: not yet known, active, passive

	peerMu sync.Mutex
	peer   atomic.Pointer[peer] // changed under peerMu

	onClose func() // set before the handle is used

	lendMu sync.Mutex
	lent   [2]lending
}

func space(d *shiplap.Domain) *object.Space { return object.OfDomain(d) }

// create makes a channel with this process on its side A.
func create(s *object.Space, name string, opt Options, desc schema.Descriptor) (*Raw, error) {
	fail := func(err error) (*Raw, error) { return nil, fmt.Errorf("create channel %q: %w", name, err) }
	if err := opt.check(); err != nil {
		return fail(err)
	}
	spec, err := opt.spec(desc)
	if err != nil {
		return fail(err)
	}
	spec.Params[paramID] = rand.Uint64()
	spec.Init = func(m *mem.Region) {
		holderTable(s, m).Add(int32(sideA.one()))
		m.Span(spanCtl).U32(offOpens).Store(1)
	}
	o, err := s.Create(name, spec)
	if err != nil {
		return nil, err
	}
	return newRaw(o, opt, sideA), nil
}

// OpenRaw opens a side of a channel of any type, to send and receive messages as bytes: side B, or opt.Side.
func OpenRaw(d *shiplap.Domain, name string, opt *Options) (*Raw, error) {
	return open(space(d), name, opt.orDefault(), sideB, nil)
}

// open opens opt.Side, or the given one, of a channel that fits.
func open(s *object.Space, name string, opt Options, usual side, fits func(*object.Object) error) (*Raw, error) {
	side, err := opt.Side.number(usual)
	if err == nil {
		err = opt.check()
	}
	if err != nil {
		return nil, fmt.Errorf("open channel %q: %w", name, err)
	}
	o, err := s.Open(name, object.Channel, parts)
	if err != nil {
		return nil, err
	}
	r := newRaw(o, opt, side)
	if fits != nil {
		err = fits(o)
	}
	if err == nil {
		err = object.Guarded(func() error { return r.join(side) })
	}
	if err == nil {
		err = o.Err() // its last user took it away just now
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open channel %q: %w", name, o.Explain(err)), o.Close())
	}
	return r, nil
}

func holderTable(s *object.Space, m *mem.Region) *shares.Table {
	return shares.New(m.Span(spanCtl), offUsed, m.Span(spanTable), entrySize, s.Table, s.Table.Slot())
}

func newRaw(o *object.Object, opt Options, s side) *Raw {
	if opt.Wait == shiplap.WaitAdaptive {
		opt.Wait = o.Space.Mode
	}
	r := &Raw{obj: o, opt: opt, side: s, members: o.Space.Table, table: holderTable(o.Space, o.Region)}
	r.in, r.out = view(o, s.in(), opt.Wait, &o.Sess), view(o, s.out(), opt.Wait, &o.Sess)
	r.in.Accept(opt.MaxReceive)
	r.in.ProducersGone = r.peerGone
	if !opt.Keep {
		r.out.ConsumersGone = r.peerGone
	}
	return r
}

func view(o *object.Object, i int, mode wait.Mode, sess *wait.Session) *row.Queue {
	return row.OpenQueue(row.Config{
		Ctl: o.Ctl, Base: rowBase(i), Area: o.Region.Span(spanRow + i), State: o.Word, Object: o.Word,
		Owners: o.Space.Table, Sess: sess, Mode: mode,
	}, false)
}

// call runs f while the handle is open, and under the fault guard.
func (r *Raw) call(f func() error) (err error) {
	r.inside.RLock()
	defer r.inside.RUnlock()
	if r.closed {
		return r.obj.Wrap(errs.ErrClosed)
	}
	g := mem.Protect()
	defer g.Recover(&err)
	if err = f(); err != nil {
		err = r.explain(err)
	}
	g.Done = true
	return err
}

func (r *Raw) explain(err error) error {
	if err == errPeerClosed || err == errPeerDied {
		return fmt.Errorf("channel %q: %w", r.obj.Name, err)
	}
	return r.obj.Wrap(err)
}

// Name is the name of the channel.
func (r *Raw) Name() string { return r.obj.Name }

// Side is the side that the handle is on.
func (r *Raw) Side() Side { return Side(r.side.String()) }

// Type is the descriptor of the messages.
func (r *Raw) Type() string { return r.obj.Desc }

// MaxMessage is the longest message that fits, in bytes; its envelope counts.
func (r *Raw) MaxMessage() int { return r.out.MaxPayload() }

// String names the channel and the side.
func (r *Raw) String() string {
	return fmt.Sprintf("side %v of channel %q of %s", r.side, r.obj.Name, r.obj.Desc)
}

// Send sends a copy of b, waiting while the channel is full. shiplap.ErrPeerGone says that nobody has the
// other side open any more (but see Options.Keep); nothing was sent then, nor with any other error.
func (r *Raw) Send(ctx context.Context, b []byte) error {
	return r.call(func() error {
		if err := r.sendable(); err != nil {
			return err
		}
		return r.out.Put(ctx, b)
	})
}

// moment is for how long calls that do not wait wait for a lock that is held for less, unless its holder is stopped.
const moment = time.Millisecond

// TrySend is Send without waiting: shiplap.ErrFull when there is no room now, shiplap.ErrBusy when another
// process is stopped in the middle of sending.
func (r *Raw) TrySend(b []byte) error { return r.trySend(nil, b) }

func (r *Raw) trySend(block, b []byte) error {
	return r.call(func() error {
		if err := r.sendable(); err != nil {
			return err
		}
		err := r.out.TryPutWith(block, b)
		if err != errs.ErrBusy {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), moment)
		defer cancel()
		if err := r.out.PutWith(ctx, block, b); err != context.DeadlineExceeded {
			return err
		}
		return r.out.TryPutWith(block, b)
	})
}

// Receive appends the next message to dst, waiting for one. When nobody has the other side open any more, and everything
// was received, it is io.EOF if all who had it closed it, and shiplap.ErrPeerGone if one of them died with it open.
func (r *Raw) Receive(ctx context.Context, dst []byte) (msg []byte, err error) {
	if err := r.take(active); err != nil {
		return dst, err
	}
	return r.receive(ctx, dst)
}

func (r *Raw) receive(ctx context.Context, dst []byte) (msg []byte, err error) {
	msg = dst
	err = r.call(func() (err error) {
		msg, err = r.in.Get(ctx, dst)
		return ended(err)
	})
	return msg, err
}

// ended is io.EOF where the other side was closed in order.
func ended(err error) error {
	if err == errPeerClosed {
		return io.EOF
	}
	return err
}

// TryReceive is Receive without waiting: shiplap.ErrEmpty when there is nothing now, shiplap.ErrBusy when
// another process is stopped in the middle of receiving.
func (r *Raw) TryReceive(dst []byte) (msg []byte, err error) { return r.tryReceive(dst, nil) }

func (r *Raw) tryReceive(dst []byte, block *[]byte) (msg []byte, err error) {
	msg = dst
	if err := r.take(active); err != nil {
		return msg, err
	}
	err = r.call(func() (err error) {
		msg, err = r.in.TryGetWith(dst, block)
		if err == errs.ErrBusy {
			ctx, cancel := context.WithTimeout(context.Background(), moment)
			defer cancel()
			if msg, err = r.in.GetWith(ctx, dst, block); err == context.DeadlineExceeded {
				msg, err = r.in.TryGetWith(dst, block)
			}
		}
		if err == errs.ErrEmpty {
			if gone := r.peerGone(nil); gone != nil && r.in.Empty() {
				err = gone
			}
		}
		return ended(err)
	})
	return msg, err
}

// How a handle receives.
const (
	undecided int32 = iota
	active
	passive
)

// take decides how the handle receives, or says that it was decided otherwise.
func (r *Raw) take(way int32) error {
	if r.way.Load() == way || r.way.CompareAndSwap(undecided, way) || r.way.Load() == way {
		return nil
	}
	if way == active {
		return fmt.Errorf("channel %q: %w: this handle has handlers that receive; open another to receive actively", r.obj.Name, errs.ErrConflict)
	}
	return fmt.Errorf("channel %q: %w: this handle receives actively; open another for handlers", r.obj.Name, errs.ErrConflict)
}

// WaitPeer waits until somebody has the other side open. It is not wrong to send before.
func (r *Raw) WaitPeer(ctx context.Context) error {
	return r.call(func() error { return r.comeback(ctx, &arrival{r: r}) })
}

// arrival is what those wait for who wait for somebody on the other side; with message, also for a message.
type arrival struct {
	r       *Raw
	opens   uint32 // as it was at the last look
	message bool
}

// Stale implements wait.Until.
func (a *arrival) Stale() bool {
	r := a.r
	return r.opens(r.side.other()).Load() != a.opens || a.message && !r.in.Empty() || r.obj.Word.Load()&object.Removed != 0
}

// Look implements wait.Until.
func (a *arrival) Look(c *wait.Call) (over bool, err error) {
	r := a.r
	c.Arm(r.event(rowBase(r.side.in()) + row.NotEmpty))
	a.opens = r.opens(r.side.other()).Load()
	return a.message && !r.in.Empty() || r.peerGone(c) == nil && r.peer.Load() != nil, nil
}

// Abandon implements wait.Until.
func (a *arrival) Abandon() { a.pass() }

// event views an event of one of the rings.
func (r *Raw) event(off int) wait.Event { return wait.EventAt(r.obj.Ctl, off, r.obj.Space.Table) }

// pass wakes another: the wake-up that reached us was perhaps meant for it.
func (a *arrival) pass() {
	a.r.event(rowBase(a.r.side.in()) + row.NotEmpty).Wake(1)
}

// comeback waits for an arrival.
func (r *Raw) comeback(ctx context.Context, a *arrival) error {
	err := r.obj.Sess.Wait(ctx, a)
	if err == nil {
		a.pass()
	}
	return err
}

// Close closes the handle. Calls that wait return shiplap.ErrClosed. What was sent can still be received.
func (r *Raw) Close() error {
	r.obj.Sess.Interrupt(errs.ErrClosed)
	r.inside.Lock() // whoever is inside is on his way out
	defer r.inside.Unlock()
	if r.closed {
		return errs.ErrClosed
	}
	r.closed = true
	if r.onClose != nil {
		r.onClose()
	}
	r.peerMu.Lock()
	r.setPeer(nil)
	r.peerMu.Unlock()
	var kept []side
	err := r.obj.Explain(object.Guarded(func() error {
		kept = r.keep()
		r.leave(r.side)
		return nil
	}))
	if kept != nil {
		go r.keeper(kept) // closes the object
		return err
	}
	return errors.Join(err, r.obj.Close())
}
