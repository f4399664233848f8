package topic

import (
	"context"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/message"
)

// PublishWith is Publish of a message with an envelope, which whoever receives it with ReceiveWith gets to see.
func (t *Raw) PublishWith(ctx context.Context, b []byte, env shiplap.Envelope) error {
	block, err := message.Block("topic", t.obj.Name, env)
	if err != nil {
		return err
	}
	return t.obj.Call(func() error { return t.row.PutWith(ctx, block, b) })
}

// PublishWith is Publish of a message with an envelope: see Raw.PublishWith.
func (p *RawPublisher) PublishWith(ctx context.Context, b []byte, env shiplap.Envelope) error {
	block, err := message.Block("topic", p.t.obj.Name, env)
	if err != nil {
		return err
	}
	return p.publishWith(ctx, block, b)
}

func (p *RawPublisher) publishWith(ctx context.Context, block, b []byte) (err error) {
	if !p.h.Pin.Enter() {
		return p.t.obj.Wrap(errs.ErrClosed)
	}
	g := mem.Protect()
	defer p.h.Leave(&g, &err)
	if err = p.p.PutWith(ctx, block, b); err != nil {
		err = p.t.obj.Wrap(err)
	}
	g.Done = true
	return err
}

// ReceiveWith is Receive of a message and its envelope, nil if it has none. If only the envelope cannot be decoded, the
// error is an *UndecodableError, and the next call goes on behind the message.
func (s *RawSubscription) ReceiveWith(ctx context.Context, dst []byte) (msg []byte, env shiplap.Envelope, err error) {
	var block []byte
	if msg, err = s.receiveWith(ctx, dst, &block); err == nil {
		env, err = message.Envelope("topic", s.t.obj.Name, block, msg[len(dst):])
	}
	return msg, env, err
}

func (s *RawSubscription) receiveWith(ctx context.Context, dst []byte, block *[]byte) (msg []byte, err error) {
	if !s.h.Pin.Enter() {
		return dst, s.t.obj.Wrap(errs.ErrClosed)
	}
	g := mem.Protect()
	defer s.h.Leave(&g, &err)
	if msg, err = s.s.GetWith(ctx, dst, block); err != nil {
		err = s.t.obj.Wrap(err)
	}
	g.Done = true
	return msg, err
}

// PublishWith publishes v with an envelope: see Raw.PublishWith.
func (t *Topic[T]) PublishWith(ctx context.Context, v T, env shiplap.Envelope) error {
	return t.encoded(v, func(b []byte) error { return t.raw.PublishWith(ctx, b, env) })
}

// PublishWith publishes v with an envelope: see Raw.PublishWith.
func (p *Publisher[T]) PublishWith(ctx context.Context, v T, env shiplap.Envelope) error {
	b, err := p.encode(v)
	if err != nil {
		return err
	}
	return p.raw.PublishWith(ctx, b, env)
}

// ReceiveWith is Receive of a message and its envelope: see RawSubscription.ReceiveWith.
func (s *Subscription[T]) ReceiveWith(ctx context.Context) (v T, env shiplap.Envelope, err error) {
	b, env, err := s.raw.ReceiveWith(ctx, s.buf[:0])
	if err != nil {
		return v, nil, err
	}
	s.buf = b
	return v, env, s.decode(&v)
}
