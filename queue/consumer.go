package queue

import (
	"context"
	"fmt"
	"iter"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
)

// RawConsumer holds the consuming side of a queue without Ack until it is closed or its process
// ends. One goroutine at a time may use it; Close may be called from any.
type RawConsumer struct {
	q      *Raw
	h      object.Exclusive
	row    *row.Queue
	c      row.Consumer
	inHand inHand
}

// inHand is what the user has in hand of the queue's own memory. Meanwhile other calls are misuse, but for Close, which
// does not wait for it.
type inHand uint8

const (
	nothing inHand = iota
	peeked         // until Release or Unpeek
	batch          // while the function of GetMany runs
)

// Consumer takes the consuming side for this handle alone, waiting while somebody else has it. A
// queue with Ack has none (shiplap.ErrUnsupported): there, deliveries are already exclusive.
func (q *Raw) Consumer(ctx context.Context) (*RawConsumer, error) {
	if q.row.Ack() {
		return nil, fmt.Errorf("queue %q: %w: a queue with acknowledgement has no exclusive consumer; use Receive", q.obj.Name, errs.ErrUnsupported)
	}
	c := &RawConsumer{q: q}
	c.row = view(q.obj, q.mode, &c.h.Sess)
	c.row.Accept(q.accept)
	take := func() error {
		return q.row.ConsumerLock.LockLong(ctx, func() error { return c.c.Resume(c.row) })
	}
	if err := c.h.Open(q.obj, take, c.give); err != nil {
		return nil, err
	}
	if err := q.adopt(c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *RawConsumer) give() { c.row.ConsumerLock.UnlockLong() }

// Close gives the side to the next. A Get that waits returns shiplap.ErrClosed. A message that was
// peeked at and not released stays in the queue, and the side taken until Release.
func (c *RawConsumer) Close() error {
	if !c.h.Close() {
		return errs.ErrClosed
	}
	c.q.exclusive.Disown(c)
	return nil
}

func (c *RawConsumer) misuse() error {
	switch c.inHand {
	case peeked:
		return fmt.Errorf("queue %q: %w: a message that was peeked at is not released", c.q.obj.Name, errs.ErrConflict)
	case batch:
		return fmt.Errorf("queue %q: %w: called while GetMany of the same consumer hands out messages", c.q.obj.Name, errs.ErrConflict)
	}
	return c.q.explain(errs.ErrClosed)
}

// Get appends the next message to dst, waiting for one.
func (c *RawConsumer) Get(ctx context.Context, dst []byte) (msg []byte, err error) {
	if c.inHand != nothing || !c.h.Pin.Enter() {
		return dst, c.misuse()
	}
	g := mem.Protect()
	defer c.h.Leave(&g, &err)
	if msg, err = c.c.Get(ctx, dst); err != nil {
		err = c.q.explain(err)
	}
	g.Done = true
	return msg, err
}

// TryGet appends the next message to dst; shiplap.ErrEmpty when there is none now.
func (c *RawConsumer) TryGet(dst []byte) (msg []byte, err error) {
	if c.inHand != nothing || !c.h.Pin.Enter() {
		return dst, c.misuse()
	}
	g := mem.Protect()
	defer c.h.Leave(&g, &err)
	if msg, err = c.c.TryGet(dst); err != nil {
		err = c.q.explain(err)
	}
	g.Done = true
	return msg, err
}

// GetMany is as Raw.GetMany. f may call Close, and so may others while it runs: then the side is given to the next when
// the batch is over.
func (c *RawConsumer) GetMany(ctx context.Context, most int, f func(msg []byte) error) (n int, err error) {
	if c.inHand != nothing || !c.h.Pin.Enter() {
		return 0, c.misuse()
	}
	inside := true
	defer func() {
		if inside {
			c.h.Pin.Leave()
		}
	}()
	g := mem.Protect()
	defer g.Recover(&err)
	for err = errs.ErrEmpty; err == errs.ErrEmpty; {
		n, err = c.takeMany(most, f, &inside)
		switch {
		case err != errs.ErrEmpty:
		case !inside:
			err = errs.ErrClosed
		default:
			if e := c.c.Wait(ctx); e != nil {
				err = e
			}
		}
	}
	err = c.q.explain(err)
	g.Done = true
	return n, err
}

// takeMany hands out a batch as a view that is lent, so that Close does not wait for f. inside is false afterwards if the
// consumer was closed meanwhile.
func (c *RawConsumer) takeMany(most int, f func([]byte) error, inside *bool) (n int, err error) {
	c.inHand = batch
	c.h.Pin.Lend()
	defer func() {
		c.inHand = nothing
		*inside = c.h.Pin.Retake()
	}()
	return c.c.TakeMany(most, f)
}

// Peek waits for the next message and returns it in the queue's own memory, to be read in place.
// It is taken by Release.
func (c *RawConsumer) Peek(ctx context.Context) (view []byte, err error) {
	if c.inHand != nothing || !c.h.Pin.Enter() {
		return nil, c.misuse()
	}
	defer func() {
		if err != nil {
			c.h.Pin.Leave()
		}
	}()
	g := mem.Protect()
	defer g.Recover(&err)
	view, err = c.c.Peek(ctx)
	g.Done = true
	if err != nil {
		return nil, c.q.explain(err)
	}
	c.inHand = peeked
	c.h.Pin.Lend()
	return view, nil
}

// Release takes the message that was peeked at; its memory may be overwritten from now on.
func (c *RawConsumer) Release() error { return c.release(true) }

// Unpeek leaves the message that was peeked at in the queue.
func (c *RawConsumer) Unpeek() error { return c.release(false) }

func (c *RawConsumer) release(take bool) (err error) {
	if c.inHand != peeked {
		return fmt.Errorf("queue %q: %w: nothing was peeked at", c.q.obj.Name, errs.ErrConflict)
	}
	c.inHand = nothing
	defer c.h.Pin.Return()
	g := mem.Protect()
	defer g.Recover(&err)
	if take {
		c.c.Commit()
	} else {
		c.c.Back()
	}
	g.Done = true
	return nil
}

// All is as Raw.All.
func (c *RawConsumer) All(ctx context.Context) iter.Seq2[[]byte, error] {
	return untilClosed(func() ([]byte, error) { return c.Get(ctx, nil) })
}

// String names the consumer's queue.
func (c *RawConsumer) String() string { return "consumer of " + c.q.String() }

// Stats is as Raw.Stats.
func (c *RawConsumer) Stats() (Stats, error) { return c.q.Stats() }
