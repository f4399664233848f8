package queue

import (
	"context"
	"fmt"
	"iter"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/message"
)

// Producer holds the producing side: see RawProducer.
type Producer[T any] struct {
	*exclusiveProducer
	c   message.Coder[T]
	buf []byte
}

// Consumer holds the consuming side: see RawConsumer.
type Consumer[T any] struct {
	*exclusiveConsumer
	c   message.Coder[T]
	buf []byte
}

// The raw handles are embedded under other names to hide the methods that typed ones replace.
type (
	exclusiveProducer struct{ raw *RawProducer }
	exclusiveConsumer struct{ raw *RawConsumer }
)

// Producer takes the producing side for this handle alone, waiting while somebody else has it.
func (q *Queue[T]) Producer(ctx context.Context) (*Producer[T], error) {
	p, err := q.raw.Producer(ctx)
	if err != nil {
		return nil, err
	}
	return &Producer[T]{&exclusiveProducer{p}, q.c, nil}, nil
}

// Consumer takes the consuming side for this handle alone: see Raw.Consumer.
func (q *Queue[T]) Consumer(ctx context.Context) (*Consumer[T], error) {
	c, err := q.raw.Consumer(ctx)
	if err != nil {
		return nil, err
	}
	return &Consumer[T]{&exclusiveConsumer{c}, q.c, nil}, nil
}

// Raw is the same producer in bytes.
func (p *exclusiveProducer) Raw() *RawProducer { return p.raw }

// Close gives the side to the next: see RawProducer.Close.
func (p *exclusiveProducer) Close() error { return p.raw.Close() }

// Raw is the same consumer in bytes.
func (c *exclusiveConsumer) Raw() *RawConsumer { return c.raw }

// Close gives the side to the next: see RawConsumer.Close.
func (c *exclusiveConsumer) Close() error { return c.raw.Close() }

// Put puts v, waiting while the queue is full.
func (p *Producer[T]) Put(ctx context.Context, v T) error {
	if p.c.Desc.Fixed {
		return p.raw.Put(ctx, mem.AsBytes(&v))
	}
	b, err := p.encode(v)
	if err != nil {
		return err
	}
	return p.raw.Put(ctx, b)
}

// TryPut puts v if there is room now, else shiplap.ErrFull.
func (p *Producer[T]) TryPut(v T) error {
	b, err := p.encode(v)
	if err != nil {
		return err
	}
	return p.raw.TryPut(b)
}

func (p *Producer[T]) encode(v T) ([]byte, error) {
	b, err := p.c.Append(p.buf[:0], v)
	if err != nil {
		return nil, fmt.Errorf("queue %q: %w", p.raw.q.Name(), err)
	}
	p.buf = b
	return b, nil
}

// PutMany puts all values, in order: see Raw.PutMany.
func (p *Producer[T]) PutMany(ctx context.Context, vs []T) (n int, err error) {
	msgs, err := p.c.Many(vs)
	if err != nil {
		return 0, fmt.Errorf("queue %q: %w", p.raw.q.Name(), err)
	}
	return p.raw.PutMany(ctx, msgs)
}

// Get takes the next element, waiting for one.
func (c *Consumer[T]) Get(ctx context.Context) (v T, err error) {
	err = c.GetInto(ctx, &v)
	return v, err
}

// GetInto is Get into *v: see Queue.GetInto.
func (c *Consumer[T]) GetInto(ctx context.Context, v *T) error {
	b, err := c.raw.Get(ctx, c.buf[:0])
	if err != nil {
		return err
	}
	c.buf = b
	return c.decode(v)
}

// TryGet takes the next element if there is one, else shiplap.ErrEmpty.
func (c *Consumer[T]) TryGet() (v T, err error) {
	b, err := c.raw.TryGet(c.buf[:0])
	if err != nil {
		return v, err
	}
	c.buf = b
	return v, c.decode(&v)
}

func (c *Consumer[T]) decode(v *T) error {
	return c.c.DecodeFrom("queue", c.raw.q.Name(), c.buf, v)
}

// GetMany takes up to most elements, at least one, waiting for the first.
func (c *Consumer[T]) GetMany(ctx context.Context, most int) (vs []T, err error) {
	_, err = c.raw.GetMany(ctx, most, collect(&c.c, c.raw.q.Name(), &vs))
	return vs, err
}

// All is as Queue.All.
func (c *Consumer[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return untilClosed(func() (T, error) { return c.Get(ctx) })
}
