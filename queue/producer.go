package queue

import (
	"context"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
)

// RawProducer holds the producing side of a queue until it is closed or its process ends. One
// goroutine at a time may use it; Close may be called from any.
type RawProducer struct {
	q    *Raw
	h    object.Exclusive
	row  *row.Queue
	p    row.Producer
	view []byte // reserved, not committed
}

// Producer takes the producing side for this handle alone, waiting while somebody else has it.
func (q *Raw) Producer(ctx context.Context) (*RawProducer, error) {
	p := &RawProducer{q: q}
	p.row = view(q.obj, q.mode, &p.h.Sess)
	take := func() error {
		return q.row.ProducerLock.LockLong(ctx, func() error { return p.p.Resume(&p.row.Row) })
	}
	if err := p.h.Open(q.obj, take, p.give); err != nil {
		return nil, err
	}
	if err := q.adopt(p); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *RawProducer) give() {
	p.p.Drop()
	p.row.ProducerLock.UnlockLong()
}

// Close gives the side to the next. A Put that waits returns shiplap.ErrClosed. While a reserved
// message is not committed or aborted, the side stays taken.
func (p *RawProducer) Close() error {
	if !p.h.Close() {
		return errs.ErrClosed
	}
	p.q.exclusive.Disown(p)
	return nil
}

func (p *RawProducer) misuse() error {
	if p.view != nil {
		return fmt.Errorf("queue %q: %w: a reserved message is neither committed nor aborted", p.q.obj.Name, errs.ErrConflict)
	}
	return p.q.explain(errs.ErrClosed)
}

// Put puts a copy of b, waiting while the queue is full.
func (p *RawProducer) Put(ctx context.Context, b []byte) (err error) {
	if p.view != nil || !p.h.Pin.Enter() {
		return p.misuse()
	}
	g := mem.Protect()
	defer p.h.Leave(&g, &err)
	if err = p.p.Put(ctx, b); err != nil {
		err = p.q.explain(err)
	}
	g.Done = true
	return err
}

// TryPut puts a copy of b if there is room now, else shiplap.ErrFull.
func (p *RawProducer) TryPut(b []byte) (err error) {
	if p.view != nil || !p.h.Pin.Enter() {
		return p.misuse()
	}
	g := mem.Protect()
	defer p.h.Leave(&g, &err)
	if err = p.p.TryPut(b); err != nil {
		err = p.q.explain(err)
	}
	g.Done = true
	return err
}

// PutMany is as Raw.PutMany.
func (p *RawProducer) PutMany(ctx context.Context, msgs [][]byte) (n int, err error) {
	if p.view != nil || !p.h.Pin.Enter() {
		return 0, p.misuse()
	}
	g := mem.Protect()
	defer p.h.Leave(&g, &err)
	n, err = p.p.PutAll(ctx, msgs)
	err = p.q.explain(err)
	g.Done = true
	return n, err
}

// Reserve waits for room for a message of n bytes and returns its memory in the queue, to be filled in
// place. Nobody sees it before Commit. The contents are arbitrary at first.
func (p *RawProducer) Reserve(ctx context.Context, n int) (view []byte, err error) {
	if p.view != nil || !p.h.Pin.Enter() {
		return nil, p.misuse()
	}
	defer func() {
		if err != nil {
			p.h.Pin.Leave()
		}
	}()
	g := mem.Protect()
	defer g.Recover(&err)
	view, err = p.p.ReserveWait(ctx, n)
	g.Done = true
	if err != nil {
		return nil, p.q.explain(err)
	}
	p.view = view
	if n == 0 {
		p.view = []byte{}
	}
	p.h.Pin.Lend()
	return p.view, nil
}

// Commit puts the reserved message, cut to its first n bytes.
func (p *RawProducer) Commit(n int) (err error) {
	if p.view == nil {
		return fmt.Errorf("queue %q: %w: nothing is reserved", p.q.obj.Name, errs.ErrConflict)
	}
	if n < 0 || n > len(p.view) {
		return fmt.Errorf("queue %q: %w: commit of %d bytes of %d reserved", p.q.obj.Name, errs.ErrTooLarge, n, len(p.view))
	}
	v := p.view
	p.view = nil
	defer p.h.Pin.Return()
	g := mem.Protect()
	defer g.Recover(&err)
	p.p.AddReserved(v, n)
	err = p.q.explain(p.p.Commit())
	g.Done = true
	return err
}

// Abort gives the reserved memory back; nothing is put.
func (p *RawProducer) Abort() error {
	if p.view == nil {
		return fmt.Errorf("queue %q: %w: nothing is reserved", p.q.obj.Name, errs.ErrConflict)
	}
	p.view = nil
	p.h.Pin.Return()
	return nil
}

// String names the producer's queue.
func (p *RawProducer) String() string { return "producer of " + p.q.String() }

// Stats is as Raw.Stats.
func (p *RawProducer) Stats() (Stats, error) { return p.q.Stats() }
