package channel

import (
	"context"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/message"
)

// SendWith is Send of a message with an envelope, which whoever receives it with ReceiveWith gets to see.
func (r *Raw) SendWith(ctx context.Context, b []byte, env shiplap.Envelope) error {
	block, err := message.Block("channel", r.obj.Name, env)
	if err != nil {
		return err
	}
	return r.call(func() error {
		if err := r.sendable(); err != nil {
			return err
		}
		return r.out.PutWith(ctx, block, b)
	})
}

// TrySendWith is TrySend of a message with an envelope: see SendWith.
func (r *Raw) TrySendWith(b []byte, env shiplap.Envelope) error {
	block, err := message.Block("channel", r.obj.Name, env)
	if err != nil {
		return err
	}
	return r.trySend(block, b)
}

// ReceiveWith is Receive of a message and its envelope, nil if it has none. If only the envelope cannot be
// decoded, the error is an *UndecodableError, and the message is received.
func (r *Raw) ReceiveWith(ctx context.Context, dst []byte) (msg []byte, env shiplap.Envelope, err error) {
	msg = dst
	if err := r.take(active); err != nil {
		return msg, nil, err
	}
	var block []byte
	err = r.call(func() (err error) {
		msg, err = r.in.GetWith(ctx, dst, &block)
		return ended(err)
	})
	if err == nil {
		env, err = message.Envelope("channel", r.obj.Name, block, msg[len(dst):])
	}
	return msg, env, err
}

// TryReceiveWith is TryReceive of a message and its envelope: see ReceiveWith.
func (r *Raw) TryReceiveWith(dst []byte) (msg []byte, env shiplap.Envelope, err error) {
	var block []byte
	if msg, err = r.tryReceive(dst, &block); err == nil {
		env, err = message.Envelope("channel", r.obj.Name, block, msg[len(dst):])
	}
	return msg, env, err
}

// SendWith sends v with an envelope: see Raw.SendWith.
func (c *Channel[T]) SendWith(ctx context.Context, v T, env shiplap.Envelope) error {
	return c.encoded(v, func(b []byte) error { return c.raw.SendWith(ctx, b, env) })
}

// TrySendWith sends v with an envelope if there is room now: see Raw.TrySend.
func (c *Channel[T]) TrySendWith(v T, env shiplap.Envelope) error {
	return c.encoded(v, func(b []byte) error { return c.raw.TrySendWith(b, env) })
}

// ReceiveWith is Receive of a message and its envelope: see Raw.ReceiveWith.
func (c *Channel[T]) ReceiveWith(ctx context.Context) (v T, env shiplap.Envelope, err error) {
	v, err = c.decoded(func(dst []byte) (b []byte, err error) {
		b, env, err = c.raw.ReceiveWith(ctx, dst)
		return b, err
	})
	return v, env, err
}

// TryReceiveWith is TryReceive of a message and its envelope: see Raw.ReceiveWith.
func (c *Channel[T]) TryReceiveWith() (v T, env shiplap.Envelope, err error) {
	v, err = c.decoded(func(dst []byte) (b []byte, err error) {
		b, env, err = c.raw.TryReceiveWith(dst)
		return b, err
	})
	return v, env, err
}
