package queue

import (
	"context"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/message"
	"github.com/shiplap-ipc/shiplap/internal/row"
)

// PutWith is Put of a message with an envelope, which whoever takes it with GetWith, Receive or Browse gets
// to see.
func (q *Raw) PutWith(ctx context.Context, b []byte, env shiplap.Envelope) error {
	block, err := message.Block("queue", q.obj.Name, env)
	if err != nil {
		return err
	}
	return q.call(func() error { return q.row.PutWith(ctx, block, b) })
}

// TryPutWith is TryPut of a message with an envelope: see PutWith.
func (q *Raw) TryPutWith(b []byte, env shiplap.Envelope) error {
	block, err := message.Block("queue", q.obj.Name, env)
	if err != nil {
		return err
	}
	return q.call(func() error { return q.row.TryPutWith(block, b) })
}

// GetWith is Get of a message and its envelope, nil if it has none. If only the envelope cannot be decoded,
// the error is an *UndecodableError, and the message is taken.
func (q *Raw) GetWith(ctx context.Context, dst []byte) (msg []byte, env shiplap.Envelope, err error) {
	lease := func() (row.Lease, error) { return q.row.Lease(ctx) }
	get := func(block *[]byte) ([]byte, error) { return q.row.GetWith(ctx, dst, block) }
	return q.getWith(dst, lease, get)
}

// TryGetWith is TryGet of a message and its envelope: see GetWith.
func (q *Raw) TryGetWith(dst []byte) (msg []byte, env shiplap.Envelope, err error) {
	get := func(block *[]byte) ([]byte, error) { return q.row.TryGetWith(dst, block) }
	return q.getWith(dst, q.row.TryLease, get)
}

func (q *Raw) getWith(dst []byte, lease func() (row.Lease, error), get func(block *[]byte) ([]byte, error)) (
	msg []byte, env shiplap.Envelope, err error) {
	msg = dst
	var block []byte
	err = q.call(func() (err error) {
		if q.row.Ack() {
			return q.leaseNow(lease, &msg, &block)
		}
		msg, err = get(&block)
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
	return p.putWith(func() error { return p.p.PutWith(ctx, block, b) })
}

// TryPutWith is TryPut of a message with an envelope: see Raw.PutWith.
func (p *RawProducer) TryPutWith(b []byte, env shiplap.Envelope) error {
	block, err := message.Block("queue", p.q.obj.Name, env)
	if err != nil {
		return err
	}
	return p.putWith(func() error { return p.p.TryPutWith(block, b) })
}

func (p *RawProducer) putWith(put func() error) (err error) {
	if p.view != nil || !p.h.Pin.Enter() {
		return p.misuse()
	}
	g := mem.Protect()
	defer p.h.Leave(&g, &err)
	if err = put(); err != nil {
		err = p.q.explain(err)
	}
	g.Done = true
	return err
}

// GetWith is Get of a message and its envelope: see Raw.GetWith.
func (c *RawConsumer) GetWith(ctx context.Context, dst []byte) (msg []byte, env shiplap.Envelope, err error) {
	return c.getWith(dst, func(block *[]byte) ([]byte, error) { return c.c.GetWith(ctx, dst, block) })
}

// TryGetWith is TryGet of a message and its envelope: see Raw.GetWith.
func (c *RawConsumer) TryGetWith(dst []byte) (msg []byte, env shiplap.Envelope, err error) {
	return c.getWith(dst, func(block *[]byte) ([]byte, error) { return c.c.TryGetWith(dst, block) })
}

func (c *RawConsumer) getWith(dst []byte, get func(block *[]byte) ([]byte, error)) (
	msg []byte, env shiplap.Envelope, err error) {
	var block []byte
	if msg, err = c.getBlock(dst, func() ([]byte, error) { return get(&block) }); err == nil {
		env, err = message.Envelope("queue", c.q.obj.Name, block, msg[len(dst):])
	}
	return msg, env, err
}

func (c *RawConsumer) getBlock(dst []byte, get func() ([]byte, error)) (msg []byte, err error) {
	if c.inHand != nothing || !c.h.Pin.Enter() {
		return dst, c.misuse()
	}
	g := mem.Protect()
	defer c.h.Leave(&g, &err)
	if msg, err = get(); err != nil {
		err = c.q.explain(err)
	}
	g.Done = true
	return msg, err
}

// Envelope is the message's envelope, nil if it has none. It is decoded here: an error says that it cannot
// be, and the delivery is as it was.
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

// TryPutWith puts v with an envelope if there is room now: see Raw.TryPut.
func (q *Queue[T]) TryPutWith(v T, env shiplap.Envelope) error {
	return q.encoded(v, func(b []byte) error { return q.raw.TryPutWith(b, env) })
}

// GetWith is Get of an element and its envelope. If either cannot be decoded, the error is an
// *UndecodableError.
func (q *Queue[T]) GetWith(ctx context.Context) (v T, env shiplap.Envelope, err error) {
	err = q.decoded(&v, func(dst []byte) (b []byte, err error) {
		b, env, err = q.raw.GetWith(ctx, dst)
		return b, err
	})
	return v, env, err
}

// TryGetWith is TryGet of an element and its envelope: see GetWith.
func (q *Queue[T]) TryGetWith() (v T, env shiplap.Envelope, err error) {
	err = q.decoded(&v, func(dst []byte) (b []byte, err error) {
		b, env, err = q.raw.TryGetWith(dst)
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

// TryPutWith puts v with an envelope if there is room now: see RawProducer.TryPut.
func (p *Producer[T]) TryPutWith(v T, env shiplap.Envelope) error {
	b, err := p.encode(v)
	if err != nil {
		return err
	}
	return p.raw.TryPutWith(b, env)
}

// GetWith is Get of an element and its envelope: see Queue.GetWith.
func (c *Consumer[T]) GetWith(ctx context.Context) (v T, env shiplap.Envelope, err error) {
	return c.decodedWith(c.raw.GetWith(ctx, c.buf[:0]))
}

// TryGetWith is TryGet of an element and its envelope: see Queue.GetWith.
func (c *Consumer[T]) TryGetWith() (v T, env shiplap.Envelope, err error) {
	return c.decodedWith(c.raw.TryGetWith(c.buf[:0]))
}

func (c *Consumer[T]) decodedWith(b []byte, env shiplap.Envelope, err error) (v T, _ shiplap.Envelope, _ error) {
	if err != nil {
		return v, nil, err
	}
	c.buf = b
	return v, env, c.decode(&v)
}
