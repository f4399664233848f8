package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/row"
)

// MoveTo takes the message out of its queue and puts it into another one of the same domain, as one step: whatever dies when,
// it is in exactly one of the two. There it has not been handed out yet. It waits for room; with an error the delivery
// is as it was. shiplap.ErrIncompatible if the other queue is of another type, shiplap.ErrConflict if it is the
// same, or if the delivery was settled before.
func (d *RawDelivery) MoveTo(ctx context.Context, to *Raw) error {
	q := d.q
	if to.obj.Space.Table != q.obj.Space.Table {
		return fmt.Errorf("%w: queue %q is in another domain than queue %q", errs.ErrUnsupported, to.obj.Name, q.obj.Name)
	}
	if to.obj.DescHash != q.obj.DescHash || to.obj.Desc != q.obj.Desc {
		return fmt.Errorf("%w: a message of queue %q, of %s, cannot be moved to queue %q, of %s",
			errs.ErrIncompatible, q.obj.Name, q.obj.Desc, to.obj.Name, to.obj.Desc)
	}
	t := &target{to.obj, row.Target{Queue: to.row, Name: to.obj.Name}}
	return d.move(ctx, func() *target { return t }, true)
}

// Reject takes the message to the dead letters at once, for it is certain that nobody can handle it. It is MoveTo otherwise;
// shiplap.ErrUnsupported if the queue was made without DeadLetters.
func (d *RawDelivery) Reject(ctx context.Context) error { return d.reject(ctx, true) }

// reject is Reject; without wait, shiplap.ErrFull or shiplap.ErrBusy if the dead letters cannot be had now.
func (d *RawDelivery) reject(ctx context.Context, wait bool) error {
	q := d.q
	if q.targets.dead == "" {
		return fmt.Errorf("queue %q: %w: it was made without DeadLetters", q.obj.Name, errs.ErrUnsupported)
	}
	return d.move(ctx, func() *target {
		q.ready()
		return q.targets.open.Load()
	}, wait)
}

// move moves the message to a target, which it asks for each time: it may have been removed.
func (d *RawDelivery) move(ctx context.Context, to func() *target, wait bool) error {
	q := d.q
	for {
		var t *target
		err := q.call(func() error {
			if err := q.withdraw(d.lease); err != nil {
				return err
			}
			t = to()
			err := t.use(func(t row.Target) error { return q.row.MoveLease(ctx, d.lease, t) })
			if err != nil {
				err = errors.Join(err, q.restore(d.lease))
			}
			return err
		})
		if t == nil || !wait || !errors.Is(err, errs.ErrFull) && !errors.Is(err, errs.ErrBusy) {
			return err
		}
		if err := q.awaitRoom(ctx, t, d.lease.Len()); err != nil {
			return err
		}
	}
}

// awaitRoom waits for room in another queue, until either of the two is closed.
func (q *Raw) awaitRoom(ctx context.Context, to *target, n int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &canceller{cancel}
	if err := q.adopt(w); err != nil {
		return err
	}
	defer q.exclusive.Disown(w)
	return to.obj.Call(func() error { return to.AwaitRoom(ctx, n) })
}

// canceller ends a wait with the handle that it belongs to.
type canceller struct{ cancel context.CancelCauseFunc }

func (c *canceller) Close() error {
	c.cancel(errs.ErrClosed)
	return nil
}

// restore puts a lease back that was withdrawn and not settled.
func (q *Raw) restore(ls row.Lease) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return q.row.Settle(ls, false)
	}
	q.leases[ls.Pos] = ls
	return nil
}
