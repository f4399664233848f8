package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/message"
	"github.com/shiplap-ipc/shiplap/internal/object"
)

// Channel is a handle on one side of a channel of messages of type T. All methods may be called concurrently.
type Channel[T any] struct {
	raw  *Raw
	c    message.Coder[T]
	bufs sync.Pool // of *[]byte
	pump pump[T]
}

func newChannel[T any](raw *Raw, c message.Coder[T]) *Channel[T] {
	ch := &Channel[T]{raw: raw, c: c}
	raw.onClose = ch.pump.close
	return ch
}

// Set makes a channel of that name and opens its side A; shiplap.ErrExist when the name is taken.
func Set[T any](d *shiplap.Domain, name string, opt *Options) (*Channel[T], error) {
	o := opt.orDefault()
	c, err := message.New[T](o.Codec)
	if err != nil {
		return nil, fmt.Errorf("create channel %q: %w", name, err)
	}
	raw, err := create(space(d), name, o, c.Desc)
	if err != nil {
		return nil, err
	}
	return newChannel(raw, c), nil
}

// Get opens side B of a channel, or opt.Side; shiplap.ErrIncompatible when its messages are not T's, byte for byte.
func Get[T any](d *shiplap.Domain, name string, opt *Options) (*Channel[T], error) {
	return get[T](d, name, opt, sideB)
}

// GetOwn opens side A of a channel that somebody made: beside him, or in his place after he died.
func GetOwn[T any](d *shiplap.Domain, name string, opt *Options) (*Channel[T], error) {
	o := opt.orDefault()
	o.Side = SideA
	return get[T](d, name, &o, sideA)
}

func get[T any](d *shiplap.Domain, name string, opt *Options, usual side) (*Channel[T], error) {
	o := opt.orDefault()
	c, err := message.New[T](o.Codec)
	if err != nil {
		return nil, fmt.Errorf("open channel %q: %w", name, err)
	}
	raw, err := open(space(d), name, o, usual, func(obj *object.Object) error {
		return c.Matches(obj.Desc, obj.DescHash)
	})
	if err != nil {
		return nil, err
	}
	return newChannel(raw, c), nil
}

// SetOrGetOwn makes the channel, or opens side A of the one that is there.
func SetOrGetOwn[T any](d *shiplap.Domain, name string, opt *Options) (*Channel[T], error) {
	return object.OpenOrCreate(
		func() (*Channel[T], error) { return GetOwn[T](d, name, opt) },
		func() (*Channel[T], error) { return Set[T](d, name, opt) })
}

var anonymous atomic.Uint64

// Anonymous makes an ephemeral channel with a name that nobody else uses, and opens its side A. Others get to it by a
// Ref. Each direction has DefaultAnonymous bytes, if opt does not say otherwise.
func Anonymous[T any](d *shiplap.Domain, opt *Options) (*Channel[T], error) {
	o := opt.orDefault()
	o.Ephemeral = true
	if o.Capacity == 0 {
		o.Capacity = DefaultAnonymous
	}
	for {
		name := fmt.Sprintf("~%08x.%d", space(d).Table.Self(), anonymous.Add(1))
		c, err := Set[T](d, name, &o)
		if !errors.Is(err, errs.ErrExist) {
			return c, err
		}
	}
}

// Raw is the same handle in bytes. Closing one closes both.
func (c *Channel[T]) Raw() *Raw { return c.raw }

// Name is the name of the channel.
func (c *Channel[T]) Name() string { return c.raw.Name() }

// Side is the side that the handle is on.
func (c *Channel[T]) Side() Side { return c.raw.Side() }

// String names the channel and the side.
func (c *Channel[T]) String() string { return c.raw.String() }

// Stats looks at the channel.
func (c *Channel[T]) Stats() (Stats, error) { return c.raw.Stats() }

// WaitPeer waits until somebody has the other side open: see Raw.WaitPeer.
func (c *Channel[T]) WaitPeer(ctx context.Context) error { return c.raw.WaitPeer(ctx) }

// Close closes the handle: see Raw.Close. Handlers that run are not waited for; their context is done.
func (c *Channel[T]) Close() error { return c.raw.Close() }

// Send sends v, waiting while the channel is full: see Raw.Send.
func (c *Channel[T]) Send(ctx context.Context, v T) error {
	return c.encoded(v, func(b []byte) error { return c.raw.Send(ctx, b) })
}

// TrySend sends v if there is room now: see Raw.TrySend.
func (c *Channel[T]) TrySend(v T) error { return c.encoded(v, c.raw.TrySend) }

func (c *Channel[T]) buf() *[]byte {
	if b, _ := c.bufs.Get().(*[]byte); b != nil {
		return b
	}
	return new([]byte)
}

func (c *Channel[T]) encoded(v T, send func([]byte) error) error {
	if b, ok := c.c.Bytes(&v); ok {
		return send(b)
	}
	buf := c.buf()
	defer c.bufs.Put(buf)
	b, err := c.c.Append((*buf)[:0], v)
	if err != nil {
		return fmt.Errorf("channel %q: %w", c.raw.Name(), err)
	}
	*buf = b
	return send(b)
}

// Receive receives the next message, waiting for one: see Raw.Receive. Of one that cannot be decoded the error is an *UndecodableError.
// The handle must not have handlers.
func (c *Channel[T]) Receive(ctx context.Context) (T, error) {
	return c.decoded(func(dst []byte) ([]byte, error) { return c.raw.Receive(ctx, dst) })
}

// TryReceive receives the next message if there is one: see Raw.TryReceive.
func (c *Channel[T]) TryReceive() (T, error) { return c.decoded(c.raw.TryReceive) }

func (c *Channel[T]) decoded(receive func([]byte) ([]byte, error)) (v T, err error) {
	buf := c.buf()
	defer c.bufs.Put(buf)
	b, err := receive((*buf)[:0])
	if err != nil {
		return v, err
	}
	*buf = b
	return v, c.c.DecodeFrom("channel", c.raw.Name(), b, &v)
}

// UndecodableError is about a message that is no T: shiplap.ErrIncompatible if it is well-formed, else shiplap.ErrCorrupt. Body
// is a copy of it. The messages behind it can be received.
type UndecodableError = message.UndecodableError

// All yields messages until all who had the other side open closed it, or until an error, which comes last. An
// *UndecodableError does not end it.
func (c *Channel[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			v, err := c.Receive(ctx)
			if err == io.EOF {
				return
			}
			var bad *UndecodableError
			if !yield(v, err) || err != nil && !errors.As(err, &bad) {
				return
			}
		}
	}
}
