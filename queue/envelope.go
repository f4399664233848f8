package queue

import (
	"context"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/message"
	"github.com/shiplap-ipc/shiplap/internal/row"
)

// PutWith is Put of a message with an envelope, which whoever takes it with GetWith, Receive or Browse gets to see.
func (q *Raw) PutWith(ctx context.Context, b []byte, env shiplap.Envelope) error {
	block, err := message.Block("queue", q.obj.Name, env)
	if err != nil {
		return err
	}
	return q.call(func() error { return q.row.PutWith(ctx, block, b) })
}

// GetWith is Get of a message and its envelope. If only the envelope cannot be decoded, the error is an
// *UndecodableError, and the message is taken.
func (q *Raw) GetWith(ctx context.Context, dst []byte) (msg []byte, env shiplap.Envelope, err error) {
	msg = dst
	var block []byte
	err = q.call(func() (err error) {
		if q.row.Ack() {
			return q.leaseNow(func() (row.Lease, error) { return q.row.Lease(ctx) }, &msg, &block)
		}
		msg, err = q.row.GetWith(ctx, dst, &block)
		return err
	})
	if err == nil {
		env, err = message.Envelope("queue", q.obj.Name, block, msg[len(dst):])
	}
	return msg, env, err
}

// PutWith is Put of a message with an envelope: see Raw.PutWith.
func (p *RawProducer) PutWith(ctx context.Context, b []byte, env shiplap.Envelope) error {
	block, err := message.Block("queue", p.q.obj.Name, env)
	if err != nil {
		return err
	}
	return p.putWith(ctx, block, b)
}

func (p *RawProducer) putWith(ctx context.Context, block, b []byte) (err error) {
	if p.view != nil || !p.h.Pin.Enter() {
		return p.misuse()
	}
	g := mem.Protect()
	defer p.h.Leave(&g, &err)
	if err = p.p.PutWith(ctx, block, b); err != nil {
		err = p.q.explain(err)
	}
	g.Done = true
	return err
}

// GetWith is Get of a message and its envelope: see Raw.GetWith.
func (c *RawConsumer) GetWith(ctx context.Context, dst []byte) (msg []byte, env shiplap.Envelope, err error) {
	var block []byte
	if msg, err = c.getWith(ctx, dst, &block); err == nil {
		env, err = message.Envelope("queue", c.q.obj.Name, block, msg[len(dst):])
	}
	return msg, env, err
}

func (c *RawConsumer) getWith(ctx context.Context, dst []byte, block *[]byte) (msg []byte, err error) {
	if c.inHand != nothing || !c.h.Pin.Enter() {
		return dst, c.misuse()
	}
	g := mem.Protect()
	defer c.h.Leave(&g, &err)
	if msg, err = c.c.GetWith(ctx, dst, block); err != nil {
		err = c.q.explain(err)
	}
	g.Done = true
	return msg, err
}

// Envelope is the message's envelope, nil if it has none. It is decoded here: an error says that it cannot be, and
// the delivery is as it was.
func (d *RawDelivery) Envelope() (shiplap.Envelope, error) {
	return message.Envelope("queue", d.q.obj.Name, d.block, d.Body)
}

// Envelope is the message's envelope, nil if it has none. An error says that it cannot be decoded.
func (m Message) Envelope() (shiplap.Envelope, error) {
	return message.Envelope("queue", m.queue, m.block, m.Body)
}

// PutWith puts v with an envelope: see Raw.PutWith.
func (q *Queue[T]) PutWith(ctx context.Context, v T, env shiplap.Envelope) error {
	return q.encoded(v, func(b []byte) error { return q.raw.PutWith(ctx, b, env) })
}

// GetWith is Get of an element and its envelope. If either cannot be decoded, the error is an *UndecodableError.
func (q *Queue[T]) GetWith(ctx context.Context) (v T, env shiplap.Envelope, err error) {
	err = q.decoded(&v, func(dst []byte) (b []byte, err error) {
		b, env, err = q.raw.GetWith(ctx, dst)
		return b, err
	})
	return v, env, err
}

// PutWith puts v with an envelope: see Raw.PutWith.
func (p *Producer[T]) PutWith(ctx context.Context, v T, env shiplap.Envelope) error {
	b, err := p.encode(v)
	if err != nil {
		return err
	}
	return p.raw.PutWith(ctx, b, env)
}

// GetWith is Get of an element and its envelope: see Queue.GetWith.
func (c *Consumer[T]) GetWith(ctx context.Context) (v T, env shiplap.Envelope, err error) {
	b, env, err := c.raw.GetWith(ctx, c.buf[:0])
	if err != nil {
		return v, nil, err
	}
	c.buf = b
	return v, env, c.decode(&v)
}
