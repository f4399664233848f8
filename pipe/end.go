package pipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/member"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// End is one end of a pipe. All methods may be called concurrently; concurrent sends go one after
// the other, and so do receives.
type End struct {
	obj  *object.Object
	side side
	sess wait.Session

	send turn // of the goroutine that sends; what follows is its own
	out  *row.Queue
	p    row.Producer
	peer *member.Sentry // on the process at the other end, once that is known
	deaf bool           // that process was found dead, and out says so

	recv turn // of the goroutine that receives
	in   *row.Queue
	c    row.Consumer

	conn    Conn
	once    sync.Once
	closing atomic.Bool
}

func newEnd(o *object.Object, opt *Options, s side) (*End, error) {
	mode := opt.Wait
	if mode == shiplap.WaitAdaptive {
		mode = o.Space.Mode
	}
	e := &End{obj: o, side: s}
	e.send.init()
	e.recv.init()
	e.conn.end = e
	e.sess.Check, e.sess.Verify = o.Err, o.Verify
	e.out, e.in = view(o, s.out(), mode, &e.sess), view(o, s.in(), mode, &e.sess)
	e.in.Accept(opt.MaxReceive)
	e.in.ProducersGone = e.peerGone
	e.out.ConsumersGone = e.peerGone
	err := object.Guarded(func() error {
		e.out.ProducerLock.MarkSince()
		e.in.ConsumerLock.MarkSince()
		e.meet()
		return errors.Join(e.p.Resume(&e.out.Row), e.c.Resume(e.in))
	})
	if err != nil {
		return nil, errors.Join(e.explain(err), e.Close())
	}
	return e, nil
}

func (e *End) enter() error {
	if !e.obj.Gate.Enter() {
		return fmt.Errorf("pipe %q: %w", e.obj.Name, errs.ErrClosed)
	}
	return nil
}

// turn waits for the turn of sending or receiving; its give must follow. A call that was on its way when the end was
// closed gets it after Close, which may have removed the pipe: it is told of the former.
func (e *End) turn(ctx context.Context, t *turn) error {
	if err := t.take(ctx); err != nil {
		return e.explain(err)
	}
	if e.closing.Load() {
		t.give()
		return e.explain(errs.ErrClosed)
	}
	return nil
}

func (e *End) explain(err error) error { return e.obj.Wrap(err) }

// Name is the name of the pipe.
func (e *End) Name() string { return e.obj.Name }

// String names the end.
func (e *End) String() string { return fmt.Sprintf("end %s of pipe %q", e.side, e.obj.Name) }

// MaxMessage is the longest message that Send takes, in bytes; its envelope counts.
func (e *End) MaxMessage() int { return e.out.MaxPayload() }

// errPeerDied is what a wait ends with when the other process is gone.
var errPeerDied = fmt.Errorf("%w: its process died", errs.ErrPeerGone)

// peerGone says why waiting for the other end is in vain, nil if it is not. The other process's death
// ends the sleep of the call c, if there is one.
func (e *End) peerGone(c *wait.Call) error {
	opened := e.obj.Ctl.U32(offOpened).Load()&(1<<e.side.other()) != 0
	token := e.peerToken()
	if token == 0 && opened {
		return errPeerDied // closed ends do not come here: the rings tell first
	}
	if token == 0 || token == e.obj.Space.Table.Self() {
		return nil // nobody took it yet, or it is in this process
	}
	if c != nil {
		c.Depend(e.obj.Space.Table, token)
	}
	if e.obj.Space.Table.Dead(token) {
		return errPeerDied
	}
	return nil
}

// mourn looks whether the process at the other end is dead, before something is sent to it. It is
// cheap: a sentry is posted when that process is known, and is told. The dead one's ring says from then
// on that nobody takes from it, so that sends end at once, and not when it is full.
func (e *End) mourn() {
	if e.peer == nil && !e.meet() || e.deaf || !e.peer.Gone() {
		return
	}
	e.deaf = true
	e.out.Deafen()
}

// meet posts the sentry if the process at the other end is known. One that has closed the end is not
// needed: the state words tell.
func (e *End) meet() bool {
	token := e.peerToken()
	if token == 0 {
		return false
	}
	e.peer = e.obj.Space.Table.Sentry(token, nil)
	return true
}

// peerToken is the token of the process that has the other end or is to have it, 0 if there is none.
func (e *End) peerToken() uint32 {
	peer := e.side.other()
	switch {
	case e.obj.Ctl.U32(offOpened).Load()&(1<<peer) != 0:
		return lockOwner(e.obj, rowBase(peer.out())+row.ProducerLock)
	case peer == sideB:
		return e.obj.Ctl.U32(offExpect).Load()
	}
	return 0
}

// taken reports whether the other end was taken, at any time.
func (e *End) taken() (yes bool) {
	if e.enter() != nil {
		return false
	}
	defer e.obj.Gate.Leave()
	_ = object.Guarded(func() error {
		yes = e.obj.Ctl.U32(offOpened).Load()&(1<<e.side.other()) != 0
		return nil
	})
	return yes
}

// PeerDied reports whether the process at the other end died without closing it.
func (e *End) PeerDied() bool {
	if e.enter() != nil {
		return false
	}
	defer e.obj.Gate.Leave()
	died := false
	_ = object.Guarded(func() error {
		state := e.obj.Ctl.U32(offStates + 4*e.side.in())
		// It may close while we ask who owns its lock. It says so first, and gives the lock back afterwards.
		died = state.Load()&row.Closed == 0 && e.peerGone(nil) != nil && state.Load()&row.Closed == 0
		return nil
	})
	return died
}

// Send sends a copy of msg, waiting while the pipe is full. shiplap.ErrPeerGone says that the other end is
// finished; nothing was sent then.
func (e *End) Send(ctx context.Context, msg []byte) (err error) {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.obj.Gate.Leave()
	if err := e.turn(ctx, &e.send); err != nil {
		return err
	}
	defer e.send.give()
	g := mem.Protect()
	defer g.Recover(&err)
	e.mourn()
	err = e.explain(e.p.Put(ctx, msg))
	g.Done = true
	return err
}

// Recv appends the next message to dst, waiting for one. io.EOF says that the other end is finished and
// everything it sent was received.
func (e *End) Recv(ctx context.Context, dst []byte) (msg []byte, err error) {
	if err := e.enter(); err != nil {
		return dst, err
	}
	defer e.obj.Gate.Leave()
	if err := e.turn(ctx, &e.recv); err != nil {
		return dst, err
	}
	defer e.recv.give()
	g := mem.Protect()
	defer g.Recover(&err)
	msg, err = e.c.Get(ctx, dst)
	err = e.recvError(err)
	g.Done = true
	return msg, err
}

// recvError maps the end of the ring to the end of the stream.
func (e *End) recvError(err error) error {
	if err == errs.ErrClosed && e.in.IsClosed() || err == errPeerDied {
		return io.EOF
	}
	return e.explain(err)
}

// Read reads as io.Reader does: at least one byte, waiting for it, regardless of how it was sent.
func (e *End) Read(p []byte) (int, error) { return e.read(context.Background(), p) }

func (e *End) read(ctx context.Context, p []byte) (n int, err error) {
	if err := e.enter(); err != nil {
		return 0, err
	}
	defer e.obj.Gate.Leave()
	if err := e.turn(ctx, &e.recv); err != nil {
		return 0, err
	}
	defer e.recv.give()
	g := mem.Protect()
	defer g.Recover(&err)
	n, err = e.c.ReadWait(ctx, p)
	err = e.recvError(err)
	g.Done = true
	return n, err
}

// Write writes all of p as io.Writer does, waiting for room.
func (e *End) Write(p []byte) (int, error) { return e.write(context.Background(), p) }

func (e *End) write(ctx context.Context, p []byte) (n int, err error) {
	if err := e.enter(); err != nil {
		return 0, err
	}
	defer e.obj.Gate.Leave()
	if err := e.turn(ctx, &e.send); err != nil {
		return 0, err
	}
	defer e.send.give()
	g := mem.Protect()
	defer g.Recover(&err)
	e.mourn()
	n, err = e.p.WriteAll(ctx, p)
	err = e.explain(err)
	g.Done = true
	return n, err
}

// Drain waits until the other end has received everything that was sent. shiplap.ErrPeerGone says that
// it never will.
func (e *End) Drain(ctx context.Context) (err error) {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.obj.Gate.Leave()
	if err := e.turn(ctx, &e.send); err != nil {
		return err
	}
	defer e.send.give()
	g := mem.Protect()
	defer g.Recover(&err)
	e.mourn()
	err = e.explain(e.p.Drain(ctx))
	g.Done = true
	return err
}

// CloseWrite says that nothing more will be sent; the other end gets io.EOF after what was.
func (e *End) CloseWrite() error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.obj.Gate.Leave()
	return e.explain(object.Guarded(func() error {
		e.out.Close()
		return nil
	}))
}

// Close finishes this end. Calls that wait return shiplap.ErrClosed. What was sent can still be received
// by the other end, also by one that is not open yet; see Drain to wait for that. If the pipe goes now,
// because it is Ephemeral and nobody else has it open, and its other end was never opened, then what
// was sent goes with it: ErrUnread says how much that is.
func (e *End) Close() error {
	err := errs.ErrClosed
	e.once.Do(func() { err = e.close() })
	return err
}

func (e *End) close() error {
	e.closing.Store(true)
	e.sess.Interrupt(errs.ErrClosed)
	_ = e.send.take(noEnd) // calls that are inside are on their way out
	defer e.send.give()
	_ = e.recv.take(noEnd)
	defer e.recv.give()
	if e.peer != nil {
		e.peer.Close()
	}
	var remove bool
	err := object.Guarded(func() error {
		e.out.Close()
		e.in.Deafen()
		remove = bothFinished(e.obj) && e.obj.Err() == nil
		e.in.ConsumerLock.UnlockLong()
		e.out.ProducerLock.UnlockLong()
		return nil
	})
	if remove {
		err = errors.Join(err, e.obj.Remove())
	}
	return errors.Join(e.explain(err), closeAndCount(e.obj))
}

// Remove takes the pipe away at once: whoever has an end gets shiplap.ErrRemoved, and what was not
// received is gone. It is how one side tells the other that what it sent is not complete. Close must
// follow.
func (e *End) Remove() error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.obj.Gate.Leave()
	return e.explain(e.obj.Remove())
}
