package topic

import (
	"context"
	"fmt"
	"sync"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/message"
	"github.com/shiplap-ipc/shiplap/internal/object"
)

// Topic is an open topic of messages of type T. All methods may be called concurrently.
type Topic[T any] struct {
	raw  *Raw
	c    message.Coder[T]
	bufs sync.Pool // of *[]byte
}

func coderOf[T any](opt *Options) (message.Coder[T], error) {
	codec := Auto
	if opt != nil {
		codec = opt.Codec
	}
	return message.New[T](codec)
}

// Create makes a topic; shiplap.ErrExist when the name is taken.
func Create[T any](d *shiplap.Domain, name string, opt *Options) (*Topic[T], error) {
	c, err := coderOf[T](opt)
	if err != nil {
		return nil, fmt.Errorf("create topic %q: %w", name, err)
	}
	raw, err := create(d, name, opt, c.Desc)
	if err != nil {
		return nil, err
	}
	return &Topic[T]{raw: raw, c: c}, nil
}

// Open opens a topic; shiplap.ErrIncompatible when its messages are not T's, byte for byte.
func Open[T any](d *shiplap.Domain, name string, opt *Options) (*Topic[T], error) {
	c, err := coderOf[T](opt)
	if err != nil {
		return nil, fmt.Errorf("open topic %q: %w", name, err)
	}
	raw, err := open(d, name, opt)
	if err != nil {
		return nil, err
	}
	if err := c.Matches(raw.obj.Desc, raw.obj.DescHash); err != nil {
		raw.Close()
		return nil, fmt.Errorf("open topic %q: %w", name, err)
	}
	return &Topic[T]{raw: raw, c: c}, nil
}

// OpenOrCreate opens the topic, or makes it if it does not exist.
func OpenOrCreate[T any](d *shiplap.Domain, name string, opt *Options) (*Topic[T], error) {
	return object.OpenOrCreate(
		func() (*Topic[T], error) { return Open[T](d, name, opt) },
		func() (*Topic[T], error) { return Create[T](d, name, opt) })
}

// Raw is the same topic in bytes. It shares the handle: closing one closes both.
func (t *Topic[T]) Raw() *Raw { return t.raw }

// Name is the name of the topic.
func (t *Topic[T]) Name() string { return t.raw.Name() }

// Policy is what happens when a subscriber does not keep up.
func (t *Topic[T]) Policy() Policy { return t.raw.Policy() }

// String names the topic.
func (t *Topic[T]) String() string { return t.raw.String() }

// Stats is as Raw.Stats.
func (t *Topic[T]) Stats() (Stats, error) { return t.raw.Stats() }

// Close closes this handle: see Raw.Close.
func (t *Topic[T]) Close() error { return t.raw.Close() }

// CloseTopic closes the topic for everybody: see Raw.CloseTopic.
func (t *Topic[T]) CloseTopic() error { return t.raw.CloseTopic() }

// Publish publishes v to all subscribers: see Raw.Publish.
func (t *Topic[T]) Publish(ctx context.Context, v T) error {
	if t.c.Desc.Fixed {
		return t.raw.Publish(ctx, mem.AsBytes(&v))
	}
	return t.encoded(v, func(b []byte) error { return t.raw.Publish(ctx, b) })
}

// TryPublish publishes v if that needs no waiting: see Raw.TryPublish.
func (t *Topic[T]) TryPublish(v T) error {
	if t.c.Desc.Fixed {
		return t.raw.TryPublish(mem.AsBytes(&v))
	}
	return t.encoded(v, t.raw.TryPublish)
}

func (t *Topic[T]) encoded(v T, publish func([]byte) error) error {
	buf, _ := t.bufs.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	defer t.bufs.Put(buf)
	b, err := t.c.Append((*buf)[:0], v)
	if err != nil {
		return fmt.Errorf("topic %q: %w", t.Name(), err)
	}
	*buf = b
	return publish(b)
}

// PublishMany publishes all values, in order: see Raw.PublishMany.
func (t *Topic[T]) PublishMany(ctx context.Context, vs []T) (n int, err error) {
	msgs, err := t.c.Many(vs)
	if err != nil {
		return 0, fmt.Errorf("topic %q: %w", t.Name(), err)
	}
	return t.raw.PublishMany(ctx, msgs)
}
