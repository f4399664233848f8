package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/row"
)

// RawDelivery is a message in this process's hands, from a queue with Ack. Either Ack or Nack ends it;
// if the process dies before, or closes the handle, the message goes to the next consumer.
type RawDelivery struct {
	q     *Raw
	lease row.Lease
	block []byte // of the envelope, a copy
	// Body is a copy of the message.
	Body []byte
	// Count is how often it was handed out, 1 for the first time.
	Count int
}

// Receive hands out the next message, waiting for one: first those that were given back or whose
// consumer died, then new ones. shiplap.ErrClosed says that the queue is closed and everything in it
// acknowledged. The queue must have been made with Ack.
func (q *Raw) Receive(ctx context.Context) (*RawDelivery, error) {
	return q.receive(func() (row.Lease, error) { return q.row.Lease(ctx) })
}

// TryReceive is Receive without waiting; shiplap.ErrEmpty when there is nothing now.
func (q *Raw) TryReceive() (*RawDelivery, error) {
	return q.receive(q.row.TryLease)
}

func (q *Raw) receive(lease func() (row.Lease, error)) (d *RawDelivery, err error) {
	if !q.row.Ack() {
		return nil, fmt.Errorf("queue %q: %w: it was made without acknowledgement; use Get", q.obj.Name, errs.ErrUnsupported)
	}
	err = q.call(func() error {
		ls, err := lease()
		if err != nil {
			return err
		}
		d = &RawDelivery{q: q, lease: ls, Count: ls.Count, Body: append([]byte(nil), q.row.Body(ls)...)}
		q.row.Block(ls, &d.block)
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.closed {
			_ = q.row.Settle(ls, false)
			return errs.ErrClosed
		}
		q.leases[ls.Pos] = ls
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Ack takes the message away for good. A second Ack or Nack is shiplap.ErrConflict.
func (d *RawDelivery) Ack() error { return d.settle(true) }

// Nack gives the message to the next consumer.
func (d *RawDelivery) Nack() error { return d.settle(false) }

// settle takes the lease out of the table once nothing can come between any more: inside of the gate.
func (d *RawDelivery) settle(done bool) error {
	err := d.q.call(func() error {
		if err := d.q.withdraw(d.lease); err != nil {
			return err
		}
		return d.q.row.Settle(d.lease, done)
	})
	if errors.Is(err, errs.ErrClosed) {
		return fmt.Errorf("%w: its deliveries went to the next consumer", err)
	}
	return err
}

// withdraw takes a lease out of the table; the caller settles it.
func (q *Raw) withdraw(ls row.Lease) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return errs.ErrClosed
	}
	if now, ok := q.leases[ls.Pos]; !ok || now != ls {
		return fmt.Errorf("%w: the delivery was settled before", errs.ErrConflict)
	}
	delete(q.leases, ls.Pos)
	return nil
}

// Deliveries yields deliveries until the queue is closed and everything acknowledged, or until an error,
// which comes last.
func (q *Raw) Deliveries(ctx context.Context) iter.Seq2[*RawDelivery, error] {
	return untilClosed(func() (*RawDelivery, error) { return q.Receive(ctx) })
}
