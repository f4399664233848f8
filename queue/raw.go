package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// Raw is an open queue in bytes. All methods may be called concurrently.
type Raw struct {
	obj    *object.Object
	row    *row.Queue
	mode   wait.Mode
	accept int // the longest message that is copied out

	exclusive object.Family[interface{ Close() error }] // producers and consumers, to be closed with this one

	mu     sync.Mutex
	leases map[uint64]row.Lease // deliveries not settled yet
	closed bool

	targets targets
}

func space(d *shiplap.Domain) *object.Space { return object.OfDomain(d) }

// CreateRaw makes a queue of bytes; shiplap.ErrExist when the name is taken.
func CreateRaw(d *shiplap.Domain, name string, opt *Options) (*Raw, error) {
	desc, err := schema.Describe(bytesType, schema.Raw)
	if err != nil {
		return nil, err
	}
	return create(d, name, opt, desc)
}

// OpenRaw opens a queue of any type to put and take its messages as bytes.
func OpenRaw(d *shiplap.Domain, name string, opt *Options) (*Raw, error) {
	return open(d, name, opt)
}

func create(d *shiplap.Domain, name string, opt *Options, desc schema.Descriptor) (*Raw, error) {
	if opt == nil {
		opt = &Options{}
	}
	spec, err := opt.spec(desc)
	if err == nil && name != "" && opt.DeadLetters == name {
		err = fmt.Errorf("%w: the queue is to be that of its own dead letters", errs.ErrConflict)
	}
	if err != nil {
		return nil, fmt.Errorf("create queue %q: %w", name, err)
	}
	var dead *object.Object
	if opt.DeadLetters != "" { // now, so that a full file system is an error now
		if dead, err = openDead(space(d), opt.DeadLetters, name, desc, *opt); err != nil {
			return nil, fmt.Errorf("create queue %q: %w", name, err)
		}
	}
	o, err := space(d).Create(name, spec)
	if err != nil {
		if dead != nil {
			err = errors.Join(err, dead.Close())
		}
		return nil, err
	}
	q := newRaw(o, opt)
	if dead != nil {
		q.targets.open.Store(q.target(dead, opt.DeadLetters))
	}
	return q, nil
}

func open(d *shiplap.Domain, name string, opt *Options) (*Raw, error) {
	if opt == nil {
		opt = &Options{}
	}
	o, err := space(d).Open(name, object.Queue, parts)
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
	r := view(o, mode, &o.Sess)
	r.Accept(opt.MaxReceive)
	q := &Raw{obj: o, mode: mode, accept: opt.MaxReceive, row: r, leases: map[uint64]row.Lease{}}
	if r.Ack() {
		q.moves()
	}
	return q
}

func view(o *object.Object, mode wait.Mode, sess *wait.Session) *row.Queue {
	return row.OpenQueue(row.Config{
		Ctl: o.Ctl, Base: rowBase, Area: o.Region.Span(1), State: o.Word, Object: o.Word,
		Owners: o.Space.Table, Sess: sess, Mode: mode,
		Moves: o.Ctl, MovesAt: movesAt, NameAt: moveName, ID: o.Params[paramID], MaxDeliveries: uint32(o.Params[paramMax]),
	}, o.Params[paramAck] == 1)
}

// enter lets a call in; when ok, leave must follow.
func (q *Raw) enter() error {
	if !q.obj.Gate.Enter() {
		return fmt.Errorf("queue %q: %w", q.obj.Name, errs.ErrClosed)
	}
	return nil
}

func (q *Raw) explain(err error) error { return q.obj.Wrap(err) }

// call runs f inside the gate and under the fault guard. The hot paths spell it out.
func (q *Raw) call(f func() error) error { return q.obj.Call(f) }

// Name is the name of the queue.
func (q *Raw) Name() string { return q.obj.Name }

// Type is the descriptor of its elements.
func (q *Raw) Type() string { return q.obj.Desc }

// Ack reports whether deliveries have to be acknowledged.
func (q *Raw) Ack() bool { return q.row.Ack() }

// MaxMessage is the longest message that fits, in bytes; its envelope counts.
func (q *Raw) MaxMessage() int { return q.row.MaxPayload() }

// String names the queue.
func (q *Raw) String() string { return fmt.Sprintf("queue %q of %s", q.obj.Name, q.obj.Desc) }

// TryPut puts a copy of b if there is room now (else shiplap.ErrFull) and nobody holds the producing side
// (else shiplap.ErrBusy).
func (q *Raw) TryPut(b []byte) (err error) {
	if err := q.enter(); err != nil {
		return err
	}
	defer q.obj.Gate.Leave()
	g := mem.Protect()
	defer g.Recover(&err)
	err = q.explain(q.row.TryPut(b))
	g.Done = true
	return err
}

// Put puts a copy of b, waiting while the queue is full or somebody else holds the producing side.
// With an error nothing was put.
func (q *Raw) Put(ctx context.Context, b []byte) (err error) {
	if err := q.enter(); err != nil {
		return err
	}
	defer q.obj.Gate.Leave()
	g := mem.Protect()
	defer g.Recover(&err)
	err = q.explain(q.row.Put(ctx, b))
	g.Done = true
	return err
}

// PutMany puts copies of all messages, in order; those that fit at a time become visible at once. With an
// error, n says how many were put.
func (q *Raw) PutMany(ctx context.Context, msgs [][]byte) (n int, err error) {
	if err := q.enter(); err != nil {
		return 0, err
	}
	defer q.obj.Gate.Leave()
	g := mem.Protect()
	defer g.Recover(&err)
	n, err = q.row.PutMany(ctx, msgs)
	err = q.explain(err)
	g.Done = true
	return n, err
}

// TryGet appends the next message to dst; shiplap.ErrEmpty when there is none now, shiplap.ErrBusy when
// somebody holds the consuming side, shiplap.ErrClosed when the queue is closed and drained.
func (q *Raw) TryGet(dst []byte) (msg []byte, err error) {
	msg = dst
	err = q.call(func() (err error) {
		if q.row.Ack() {
			return q.leaseNow(q.row.TryLease, &msg, nil)
		}
		msg, err = q.row.TryGet(dst)
		return err
	})
	return msg, err
}

// Get appends the next message to dst, waiting for one. shiplap.ErrClosed says that the queue is closed
// and drained. On a queue with Ack the message is acknowledged as it is handed out; use Receive to
// do that when the work is done.
func (q *Raw) Get(ctx context.Context, dst []byte) (msg []byte, err error) {
	if err := q.enter(); err != nil {
		return dst, err
	}
	defer q.obj.Gate.Leave()
	g := mem.Protect()
	defer g.Recover(&err)
	if q.row.Ack() {
		msg = dst
		err = q.leaseNow(func() (row.Lease, error) { return q.row.Lease(ctx) }, &msg, nil)
	} else {
		msg, err = q.row.Get(ctx, dst)
	}
	err = q.explain(err)
	g.Done = true
	return msg, err
}

// leaseNow takes and acknowledges one message; *block becomes a copy of its envelope, unless block is nil.
func (q *Raw) leaseNow(lease func() (row.Lease, error), msg, block *[]byte) error {
	ls, err := lease()
	if err != nil {
		return err
	}
	*msg = append(*msg, q.row.Body(ls)...)
	q.row.Block(ls, block)
	return q.row.Settle(ls, true)
}

// GetMany hands up to most messages to f, at least one, waiting for the first. The slice that f gets is
// the queue's own memory: f must be quick and must not keep it. An error or a panic of f ends the batch; what f
// saw is taken, also the message that it refused or failed at. n counts those that f accepted.
func (q *Raw) GetMany(ctx context.Context, most int, f func(msg []byte) error) (n int, err error) {
	err = q.call(func() (err error) {
		if !q.row.Ack() {
			n, err = q.row.GetMany(ctx, most, f)
			return err
		}
		lease := func() (row.Lease, error) { return q.row.Lease(ctx) }
		for ; n < most; lease = q.row.TryLease { // wait for the first only
			var b []byte
			if err := q.leaseNow(lease, &b, nil); err != nil {
				if n > 0 && (err == errs.ErrEmpty || err == errs.ErrBusy) {
					return nil
				}
				return err
			}
			if err := f(b); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

// All yields messages until the queue is closed and drained, or until an error, which comes last. The
// slices are the caller's own.
func (q *Raw) All(ctx context.Context) iter.Seq2[[]byte, error] {
	return untilClosed(func() ([]byte, error) { return q.Get(ctx, nil) })
}

func untilClosed[T any](get func() (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			v, err := get()
			if errors.Is(err, errs.ErrClosed) {
				return
			}
			if !yield(v, err) || err != nil && !isUndecodable(err) {
				return
			}
		}
	}
}

// CloseQueue closes the queue for everybody, in all processes: no more puts; consumers take what is left, then
// get shiplap.ErrClosed. It is not undone. The handle stays open: see Close.
func (q *Raw) CloseQueue() error {
	return q.call(func() error {
		q.row.Close()
		return nil
	})
}

// Close closes this handle, and the producers and consumers made from it. Calls that wait return
// shiplap.ErrClosed (but one that waits for a side that this very handle held may get it and succeed). Deliveries that were not acknowledged go to the next consumer.
func (q *Raw) Close() error {
	if q.enter() != nil { // before the leases are taken out of their table
		return errs.ErrClosed
	}
	defer q.obj.Gate.Leave()
	handles, first := q.exclusive.Disband()
	if !first {
		return errs.ErrClosed
	}
	q.mu.Lock()
	leases := q.leases
	q.leases, q.closed = nil, true
	q.mu.Unlock()
	var err error
	for h := range handles {
		err = errors.Join(err, ignoreClosed(h.Close()))
	}
	for _, ls := range leases {
		err = errors.Join(err, ignoreConflict(q.explain(object.Guarded(func() error { return q.row.Settle(ls, false) }))))
	}
	return errors.Join(err, q.targets.close(), q.obj.Close())
}

func ignoreClosed(err error) error {
	if errors.Is(err, errs.ErrClosed) {
		return nil
	}
	return err
}

func ignoreConflict(err error) error {
	if errors.Is(err, errs.ErrConflict) {
		return nil
	}
	return err
}

// adopt registers an exclusive handle, to be closed with this one.
func (q *Raw) adopt(h interface{ Close() error }) error {
	if !q.exclusive.Adopt(h) {
		return q.explain(errs.ErrClosed)
	}
	return nil
}
