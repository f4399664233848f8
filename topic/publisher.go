package topic

import (
	"context"
	"errors"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
)

// RawPublisher holds the publishing side of a topic until it is closed or its process ends. One goroutine at a time may
// use it; Close may be called from any.
type RawPublisher struct {
	t   *Raw
	h   object.Exclusive
	row *row.Topic
	p   row.Producer
}

// Publisher takes the publishing side for this handle alone, waiting while somebody else has it.
func (t *Raw) Publisher(ctx context.Context) (*RawPublisher, error) {
	p := &RawPublisher{t: t}
	p.row = view(t.obj, t.mode, &p.h.Sess)
	take := func() error {
		return t.row.ProducerLock.LockLong(ctx, func() error { return p.p.Resume(&p.row.Row) })
	}
	if err := p.h.Open(t.obj, take, p.give); err != nil {
		return nil, err
	}
	if err := t.adopt(p); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *RawPublisher) give() { p.row.ProducerLock.UnlockLong() }

func (p *RawPublisher) interrupt() { p.h.Interrupt() }

// Close gives the side to the next. A Publish that waits returns shiplap.ErrClosed.
func (p *RawPublisher) Close() error {
	if !p.h.Close() {
		return errs.ErrClosed
	}
	p.t.made.Disown(p)
	return nil
}

// Publish publishes a copy of b, waiting for slow subscribers of a topic with Block.
func (p *RawPublisher) Publish(ctx context.Context, b []byte) (err error) {
	if !p.h.Pin.Enter() {
		return p.t.obj.Wrap(errs.ErrClosed)
	}
	g := mem.Protect()
	defer p.h.Leave(&g, &err)
	if err = p.p.Put(ctx, b); err != nil {
		err = p.t.obj.Wrap(err)
	}
	g.Done = true
	return err
}

// TryPublish publishes a copy of b if there is room now, else shiplap.ErrFull.
func (p *RawPublisher) TryPublish(b []byte) (err error) {
	if !p.h.Pin.Enter() {
		return p.t.obj.Wrap(errs.ErrClosed)
	}
	g := mem.Protect()
	defer p.h.Leave(&g, &err)
	if err = p.p.TryPut(b); err != nil {
		err = p.t.obj.Wrap(err)
	}
	g.Done = true
	return err
}

// PublishMany is as Raw.PublishMany.
func (p *RawPublisher) PublishMany(ctx context.Context, msgs [][]byte) (n int, err error) {
	if !p.h.Pin.Enter() {
		return 0, p.t.obj.Wrap(errs.ErrClosed)
	}
	g := mem.Protect()
	defer p.h.Leave(&g, &err)
	n, err = p.p.PutAll(ctx, msgs)
	err = p.t.obj.Wrap(err)
	g.Done = true
	return n, err
}

// String names the publisher's topic.
func (p *RawPublisher) String() string { return "publisher of " + p.t.String() }

// Stats is as Raw.Stats.
func (p *RawPublisher) Stats() (Stats, error) { return p.t.Stats() }

// Publisher holds the publishing side: see RawPublisher.
type Publisher[T any] struct {
	raw *RawPublisher
	t   *Topic[T]
	buf []byte
}

// Publisher takes the publishing side for this handle alone, waiting while somebody else has it.
func (t *Topic[T]) Publisher(ctx context.Context) (*Publisher[T], error) {
	p, err := t.raw.Publisher(ctx)
	if err != nil {
		return nil, err
	}
	return &Publisher[T]{raw: p, t: t}, nil
}

// Raw is the same publisher in bytes.
func (p *Publisher[T]) Raw() *RawPublisher { return p.raw }

// Close gives the side to the next: see RawPublisher.Close.
func (p *Publisher[T]) Close() error { return p.raw.Close() }

// String names the publisher's topic.
func (p *Publisher[T]) String() string { return p.raw.String() }

// Stats is as Raw.Stats.
func (p *Publisher[T]) Stats() (Stats, error) { return p.raw.Stats() }

// Publish publishes v: see RawPublisher.Publish.
func (p *Publisher[T]) Publish(ctx context.Context, v T) error {
	if p.t.c.Desc.Fixed {
		return p.raw.Publish(ctx, mem.AsBytes(&v))
	}
	b, err := p.encode(v)
	if err != nil {
		return err
	}
	return p.raw.Publish(ctx, b)
}

// TryPublish publishes v if there is room now: see RawPublisher.TryPublish.
func (p *Publisher[T]) TryPublish(v T) error {
	b, err := p.encode(v)
	if err != nil {
		return err
	}
	return p.raw.TryPublish(b)
}

func (p *Publisher[T]) encode(v T) ([]byte, error) {
	b, err := p.t.c.Append(p.buf[:0], v)
	if err != nil {
		return nil, fmt.Errorf("topic %q: %w", p.t.Name(), err)
	}
	p.buf = b
	return b, nil
}

// PublishMany publishes all values, in order: see Raw.PublishMany.
func (p *Publisher[T]) PublishMany(ctx context.Context, vs []T) (n int, err error) {
	msgs, err := p.t.c.Many(vs)
	if err != nil {
		return 0, fmt.Errorf("topic %q: %w", p.t.Name(), err)
	}
	return p.raw.PublishMany(ctx, msgs)
}

// lagged reports whether a subscriber can go on after an error.
func lagged(err error) bool { return errors.As(err, new(ErrLagged)) }
