package topic

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"runtime/debug"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/message"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/row"
)

// RawSubscription is one subscriber, until it is closed or its process ends. One goroutine at a time may receive; Close,
// Lag and String may be called from any.
type RawSubscription struct {
	t   *Raw
	h   object.Exclusive
	row *row.Topic
	s   *row.Subscriber
}

// Subscribe makes a subscriber, which gets what is published from now on, and before that the last messages if it asks
// for them. shiplap.ErrFull when the topic has as many subscribers as it was made for.
func (t *Raw) Subscribe(opt *SubOptions) (*RawSubscription, error) {
	if opt == nil {
		opt = &SubOptions{}
	}
	s := &RawSubscription{t: t}
	s.row = view(t.obj, t.mode, &s.h.Sess)
	s.row.Accept(t.accept)
	take := func() (err error) {
		s.s, err = s.row.Subscribe(uint64(max(opt.Last, 0)))
		return err
	}
	if err := s.h.Open(t.obj, take, s.give); err != nil {
		return nil, err
	}
	if err := t.adopt(s); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *RawSubscription) give() { s.s.Leave() }

func (s *RawSubscription) interrupt() { s.h.Interrupt() }

// Close ends the subscription; nobody waits for it any more. A Receive that waits returns shiplap.ErrClosed.
func (s *RawSubscription) Close() error {
	if !s.h.Close() {
		return errs.ErrClosed
	}
	s.t.made.Disown(s)
	return nil
}

// Receive appends the next message to dst, waiting for one. ErrLagged says that this subscriber was too slow; the next
// call goes on with the oldest message that is there. shiplap.ErrClosed says that the topic is closed and everything in
// it was received.
func (s *RawSubscription) Receive(ctx context.Context, dst []byte) (msg []byte, err error) {
	if !s.h.Pin.Enter() {
		return dst, s.t.obj.Wrap(errs.ErrClosed)
	}
	g := mem.Protect()
	defer s.h.Leave(&g, &err)
	if msg, err = s.s.Get(ctx, dst); err != nil {
		err = s.t.obj.Wrap(err)
	}
	g.Done = true
	return msg, err
}

// TryReceive is Receive without waiting; shiplap.ErrEmpty when there is nothing now.
func (s *RawSubscription) TryReceive(dst []byte) (msg []byte, err error) {
	if !s.h.Pin.Enter() {
		return dst, s.t.obj.Wrap(errs.ErrClosed)
	}
	g := mem.Protect()
	defer s.h.Leave(&g, &err)
	if msg, err = s.s.TryGet(dst); err != nil {
		err = s.t.obj.Wrap(err)
	}
	g.Done = true
	return msg, err
}

// Lag is how many messages were published and not received yet, and how many bytes they take in the topic. Of a topic
// with Overwrite, some of them may be gone.
func (s *RawSubscription) Lag() (messages, bytes uint64, err error) {
	if !s.t.obj.Gate.Enter() {
		return 0, 0, s.t.obj.Wrap(errs.ErrClosed)
	}
	defer s.t.obj.Gate.Leave()
	if s.h.Pin.IsClosed() {
		return 0, 0, s.t.obj.Wrap(errs.ErrClosed)
	}
	err = s.t.obj.Wrap(object.Guarded(func() error {
		messages, bytes = s.s.Lag()
		return nil
	}))
	return messages, bytes, err
}

// All yields messages until the topic is closed and everything in it received. The slices are the caller's own. After an
// ErrLagged it goes on, if the caller does; any other error comes last.
func (s *RawSubscription) All(ctx context.Context) iter.Seq2[[]byte, error] {
	return all(func() ([]byte, error) { return s.Receive(ctx, nil) })
}

func all[T any](receive func() (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			v, err := receive()
			if errors.Is(err, errs.ErrClosed) {
				return
			}
			if !yield(v, err) || err != nil && !lagged(err) && !undecodable(err) {
				return
			}
		}
	}
}

// OnMessage calls f for each message, one after the other, until the topic is closed and everything in it received
// (then it returns nil), or until the context or the subscription ends. A panic of f, and messages that were missed, are
// logged, and it goes on.
func (s *RawSubscription) OnMessage(ctx context.Context, f func(msg []byte)) error {
	return onMessage(s.t.Name(), s.All(ctx), f)
}

func onMessage[T any](name string, msgs iter.Seq2[T, error], f func(T)) error {
	for v, err := range msgs {
		if lagged(err) {
			slog.Warn("a subscriber was too slow", "topic", name, "err", err)
			continue
		}
		if undecodable(err) {
			slog.Warn("a message was dropped that cannot be decoded", "topic", name, "err", err)
			continue
		}
		if err != nil {
			return err
		}
		call(name, f, v)
	}
	return nil
}

func undecodable(err error) bool {
	var e *message.UndecodableError
	return errors.As(err, &e)
}

func call[T any](name string, f func(T), v T) {
	defer func() {
		if r := recover(); r != nil {
			slog.Error("a handler of messages panicked", "topic", name, "panic", r, "stack", string(debug.Stack()))
		}
	}()
	f(v)
}

// String names the subscription's topic.
func (s *RawSubscription) String() string { return "subscriber of " + s.t.String() }

// Stats is as Raw.Stats.
func (s *RawSubscription) Stats() (Stats, error) { return s.t.Stats() }

// Subscription is one subscriber: see RawSubscription.
type Subscription[T any] struct {
	raw *RawSubscription
	t   *Topic[T]
	buf []byte
}

// Subscribe makes a subscriber: see Raw.Subscribe.
func (t *Topic[T]) Subscribe(opt *SubOptions) (*Subscription[T], error) {
	s, err := t.raw.Subscribe(opt)
	if err != nil {
		return nil, err
	}
	return &Subscription[T]{raw: s, t: t}, nil
}

// Raw is the same subscriber in bytes.
func (s *Subscription[T]) Raw() *RawSubscription { return s.raw }

// Close ends the subscription: see RawSubscription.Close.
func (s *Subscription[T]) Close() error { return s.raw.Close() }

// String names the subscription's topic.
func (s *Subscription[T]) String() string { return s.raw.String() }

// Stats is as Raw.Stats.
func (s *Subscription[T]) Stats() (Stats, error) { return s.raw.Stats() }

// Lag is as RawSubscription.Lag.
func (s *Subscription[T]) Lag() (messages, bytes uint64, err error) { return s.raw.Lag() }

// UndecodableError is about a message that is no T: shiplap.ErrIncompatible if it is well-formed, else shiplap.ErrCorrupt. Body
// is a copy of it. The messages behind it can be received.
type UndecodableError = message.UndecodableError

// Receive waits for the next message: see RawSubscription.Receive. Of one that cannot be decoded the error is an *UndecodableError.
func (s *Subscription[T]) Receive(ctx context.Context) (v T, err error) {
	err = s.ReceiveInto(ctx, &v)
	return v, err
}

// ReceiveInto is Receive into *v, which should be zero or of a type without pointers: with []byte and types of fixed
// layout nothing is allocated.
func (s *Subscription[T]) ReceiveInto(ctx context.Context, v *T) error {
	b, err := s.raw.Receive(ctx, s.buf[:0])
	if err != nil {
		return err
	}
	s.buf = b
	return s.decode(v)
}

// TryReceive is Receive without waiting; shiplap.ErrEmpty when there is nothing now.
func (s *Subscription[T]) TryReceive() (v T, err error) {
	b, err := s.raw.TryReceive(s.buf[:0])
	if err != nil {
		return v, err
	}
	s.buf = b
	return v, s.decode(&v)
}

func (s *Subscription[T]) decode(v *T) error {
	return s.t.c.DecodeFrom("topic", s.t.Name(), s.buf, v)
}

// All yields messages: see RawSubscription.All. An *UndecodableError does not end it.
func (s *Subscription[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return all(func() (T, error) { return s.Receive(ctx) })
}

// OnMessage calls f for each message: see RawSubscription.OnMessage.
func (s *Subscription[T]) OnMessage(ctx context.Context, f func(v T)) error {
	return onMessage(s.t.Name(), s.All(ctx), f)
}
