package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"sync"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/message"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

var bytesType = reflect.TypeFor[[]byte]()

// Queue is an open queue of elements of type T. All methods may be called concurrently.
type Queue[T any] struct {
	raw         *Raw
	c           message.Coder[T]
	bufs        sync.Pool // of *[]byte
	undecodable func(*UndecodableDelivery)
}

func typed[T any](raw *Raw, c message.Coder[T], opt *Options) *Queue[T] {
	q := &Queue[T]{raw: raw, c: c}
	if opt != nil {
		q.undecodable = opt.Undecodable
	}
	return q
}

func coderOf[T any](opt *Options) (message.Coder[T], error) {
	codec := schema.Auto
	if opt != nil {
		codec = opt.Codec
	}
	return message.New[T](codec)
}

// Create makes a queue; shiplap.ErrExist when the name is taken.
func Create[T any](d *shiplap.Domain, name string, opt *Options) (*Queue[T], error) {
	c, err := coderOf[T](opt)
	if err != nil {
		return nil, fmt.Errorf("create queue %q: %w", name, err)
	}
	raw, err := create(d, name, opt, c.Desc)
	if err != nil {
		return nil, err
	}
	return typed(raw, c, opt), nil
}

// Open opens a queue; shiplap.ErrIncompatible when its elements are not T's, byte for byte.
func Open[T any](d *shiplap.Domain, name string, opt *Options) (*Queue[T], error) {
	c, err := coderOf[T](opt)
	if err != nil {
		return nil, fmt.Errorf("open queue %q: %w", name, err)
	}
	raw, err := open(d, name, opt)
	if err != nil {
		return nil, err
	}
	if err := c.Matches(raw.obj.Desc, raw.obj.DescHash); err != nil {
		raw.Close()
		return nil, fmt.Errorf("open queue %q: %w", name, err)
	}
	return typed(raw, c, opt), nil
}

// OpenOrCreate opens the queue, or makes it if it does not exist.
func OpenOrCreate[T any](d *shiplap.Domain, name string, opt *Options) (*Queue[T], error) {
	return object.OpenOrCreate(
		func() (*Queue[T], error) { return Open[T](d, name, opt) },
		func() (*Queue[T], error) { return Create[T](d, name, opt) })
}

// Raw is the same queue in bytes. It shares the handle: closing one closes both.
func (q *Queue[T]) Raw() *Raw { return q.raw }

// String names the queue.
func (q *Queue[T]) String() string { return q.raw.String() }

// Stats is as Raw.Stats.
func (q *Queue[T]) Stats() (Stats, error) { return q.raw.Stats() }

// Close closes this handle: see Raw.Close.
func (q *Queue[T]) Close() error { return q.raw.Close() }

// CloseQueue closes the queue for everybody: see Raw.CloseQueue.
func (q *Queue[T]) CloseQueue() error { return q.raw.CloseQueue() }

func (q *Queue[T]) buf() *[]byte {
	if b, _ := q.bufs.Get().(*[]byte); b != nil {
		return b
	}
	return new([]byte)
}

// Put puts v, waiting while the queue is full or somebody else holds the producing side.
func (q *Queue[T]) Put(ctx context.Context, v T) error {
	if q.c.Desc.Fixed {
		return q.raw.Put(ctx, mem.AsBytes(&v))
	}
	if b, ok := any(&v).(*[]byte); ok && q.c.Desc.Codec == schema.Raw {
		return q.raw.Put(ctx, *b) // v stays on the stack
	}
	return q.encoded(v, func(b []byte) error { return q.raw.Put(ctx, b) })
}

// TryPut puts v if there is room now: see Raw.TryPut.
func (q *Queue[T]) TryPut(v T) error {
	if q.c.Desc.Fixed {
		return q.raw.TryPut(mem.AsBytes(&v))
	}
	if b, ok := any(&v).(*[]byte); ok && q.c.Desc.Codec == schema.Raw {
		return q.raw.TryPut(*b)
	}
	return q.encoded(v, q.raw.TryPut)
}

func (q *Queue[T]) encoded(v T, put func([]byte) error) error {
	if b, ok := q.c.Bytes(&v); ok {
		return put(b)
	}
	buf := q.buf()
	defer q.bufs.Put(buf)
	b, err := q.c.Append((*buf)[:0], v)
	if err != nil {
		return fmt.Errorf("queue %q: %w", q.raw.Name(), err)
	}
	*buf = b
	return put(b)
}

// PutMany puts all values, in order: see Raw.PutMany.
func (q *Queue[T]) PutMany(ctx context.Context, vs []T) (n int, err error) {
	msgs, err := q.c.Many(vs)
	if err != nil {
		return 0, fmt.Errorf("queue %q: %w", q.raw.Name(), err)
	}
	return q.raw.PutMany(ctx, msgs)
}

// Get takes the next element, waiting for one: see Raw.Get. What cannot be decoded is taken, too; the
// error is an *UndecodableError, which has the bytes.
func (q *Queue[T]) Get(ctx context.Context) (v T, err error) {
	err = q.GetInto(ctx, &v)
	return v, err
}

// GetInto is Get into *v, whose memory is used again where that is possible: with []byte and types
// of fixed layout nothing is allocated.
func (q *Queue[T]) GetInto(ctx context.Context, v *T) error {
	return q.decoded(v, func(dst []byte) ([]byte, error) { return q.raw.Get(ctx, dst) })
}

// TryGet takes the next element if there is one: see Raw.TryGet.
func (q *Queue[T]) TryGet() (v T, err error) {
	err = q.decoded(&v, q.raw.TryGet)
	return v, err
}

func (q *Queue[T]) decoded(v *T, get func([]byte) ([]byte, error)) error {
	if p, ok := any(v).(*[]byte); ok && q.c.Desc.Codec == schema.Raw {
		b, err := get((*p)[:0])
		if err == nil {
			*p = b
		}
		return err
	}
	buf := q.buf()
	defer q.bufs.Put(buf)
	b, err := get((*buf)[:0])
	if err != nil {
		return err
	}
	*buf = b
	return q.c.DecodeFrom("queue", q.raw.Name(), b, v)
}

// GetMany takes up to most elements, at least one, waiting for the first. What cannot be decoded ends the batch: see Get.
func (q *Queue[T]) GetMany(ctx context.Context, most int) (vs []T, err error) {
	_, err = q.raw.GetMany(ctx, most, collect(&q.c, q.raw.Name(), &vs))
	return vs, err
}

// All yields elements until the queue is closed and drained, or until an error, which comes last. An
// *UndecodableError does not end it.
func (q *Queue[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return untilClosed(func() (T, error) { return q.Get(ctx) })
}

// Delivery is an element in this process's hands, from a queue with Ack: see RawDelivery.
type Delivery[T any] struct {
	*RawDelivery
	// Value is the element.
	Value T
}

// Receive hands out the next element: see Raw.Receive. Of what cannot be decoded the error is an
// *UndecodableDelivery, which has to be settled as others are.
func (q *Queue[T]) Receive(ctx context.Context) (*Delivery[T], error) {
	return q.delivery(q.raw.Receive(ctx))
}

// TryReceive is Receive without waiting.
func (q *Queue[T]) TryReceive() (*Delivery[T], error) {
	return q.delivery(q.raw.TryReceive())
}

func (q *Queue[T]) delivery(d *RawDelivery, err error) (*Delivery[T], error) {
	if err != nil {
		return nil, err
	}
	t := &Delivery[T]{RawDelivery: d}
	var bad *UndecodableError
	if errors.As(q.c.DecodeFrom("queue", q.raw.Name(), d.Body, &t.Value), &bad) {
		return nil, &UndecodableDelivery{d, bad}
	}
	return t, nil
}

// Deliveries yields deliveries until the queue is closed and everything acknowledged, or until an error,
// which comes last. What cannot be decoded goes to Options.Undecodable instead, or else to the dead letters; without either
// it is logged and held until this handle is closed, and keeps a closed queue from ending: make the queue with DeadLetters.
func (q *Queue[T]) Deliveries(ctx context.Context) iter.Seq2[*Delivery[T], error] {
	return untilClosed(func() (*Delivery[T], error) {
		for {
			d, err := q.Receive(ctx)
			var bad *UndecodableDelivery
			if !errors.As(err, &bad) {
				return d, err
			}
			q.setAside(ctx, bad)
		}
	})
}
