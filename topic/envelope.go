package topic

import (
	"context"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/message"
)

// PublishWith is Publish of a message with an envelope, which whoever receives it with ReceiveWith gets to
// see.
func (t *Raw) PublishWith(ctx context.Context, b []byte, env shiplap.Envelope) error {
	block, err := message.Block("topic", t.obj.Name, env)
	if err != nil {
		return err
	}
	return t.obj.Call(func() error { return t.row.PutWith(ctx, block, b) })
}

// TryPublishWith is TryPublish of a message with an envelope: see PublishWith.
func (t *Raw) TryPublishWith(b []byte, env shiplap.Envelope) error {
	block, err := message.Block("topic", t.obj.Name, env)
	if err != nil {
		return err
	}
	return t.obj.Call(func() error { return t.row.TryPutWith(block, b) })
}

// PublishWith is Publish of a message with an envelope: see Raw.PublishWith.
func (p *RawPublisher) PublishWith(ctx context.Context, b []byte, env shiplap.Envelope) error {
	block, err := message.Block("topic", p.t.obj.Name, env)
	if err != nil {
		return err
	}
	return p.publishWith(func() error { return p.p.PutWith(ctx, block, b) })
}

// TryPublishWith is TryPublish of a message with an envelope: see Raw.PublishWith.
func (p *RawPublisher) TryPublishWith(b []byte, env shiplap.Envelope) error {
	block, err := message.Block("topic", p.t.obj.Name, env)
	if err != nil {
		return err
	}
	return p.publishWith(func() error { return p.p.TryPutWith(block, b) })
}

func (p *RawPublisher) publishWith(put func() error) (err error) {
	if !p.h.Pin.Enter() {
		return p.t.obj.Wrap(errs.ErrClosed)
	}
	g := mem.Protect()
	defer p.h.Leave(&g, &err)
	if err = put(); err != nil {
		err = p.t.obj.Wrap(err)
	}
	g.Done = true
	return err
}

// ReceiveWith is Receive of a message and its envelope, nil if it has none. If only the envelope cannot be
// decoded, the error is an *UndecodableError, and the next call goes on behind the message.
func (s *RawSubscription) ReceiveWith(ctx context.Context, dst []byte) (msg []byte, env shiplap.Envelope, err error) {
	return s.receiveWith(dst, func(block *[]byte) ([]byte, error) { return s.s.GetWith(ctx, dst, block) })
}

// TryReceiveWith is TryReceive of a message and its envelope: see ReceiveWith.
func (s *RawSubscription) TryReceiveWith(dst []byte) (msg []byte, env shiplap.Envelope, err error) {
	return s.receiveWith(dst, func(block *[]byte) ([]byte, error) { return s.s.TryGetWith(dst, block) })
}

func (s *RawSubscription) receiveWith(dst []byte, get func(block *[]byte) ([]byte, error)) (
	msg []byte, env shiplap.Envelope, err error) {
	var block []byte
	if msg, err = s.receiveBlock(dst, func() ([]byte, error) { return get(&block) }); err == nil {
		env, err = message.Envelope("topic", s.t.obj.Name, block, msg[len(dst):])
	}
	return msg, env, err
}

func (s *RawSubscription) receiveBlock(dst []byte, get func() ([]byte, error)) (msg []byte, err error) {
	if !s.h.Pin.Enter() {
		return dst, s.t.obj.Wrap(errs.ErrClosed)
	}
	g := mem.Protect()
	defer s.h.Leave(&g, &err)
	if msg, err = get(); err != nil {
		err = s.t.obj.Wrap(err)
	}
	g.Done = true
	return msg, err
}

// PublishWith publishes v with an envelope: see Raw.PublishWith.
func (t *Topic[T]) PublishWith(ctx context.Context, v T, env shiplap.Envelope) error {
	return t.encoded(v, func(b []byte) error { return t.raw.PublishWith(ctx, b, env) })
}

// TryPublishWith publishes v with an envelope if that needs no waiting: see Raw.TryPublish.
func (t *Topic[T]) TryPublishWith(v T, env shiplap.Envelope) error {
	return t.encoded(v, func(b []byte) error { return t.raw.TryPublishWith(b, env) })
}

// PublishWith publishes v with an envelope: see Raw.PublishWith.
func (p *Publisher[T]) PublishWith(ctx context.Context, v T, env shiplap.Envelope) error {
	b, err := p.encode(v)
	if err != nil {
		return err
	}
	return p.raw.PublishWith(ctx, b, env)
}

// TryPublishWith publishes v with an envelope if there is room now: see RawPublisher.TryPublish.
func (p *Publisher[T]) TryPublishWith(v T, env shiplap.Envelope) error {
	b, err := p.encode(v)
	if err != nil {
		return err
	}
	return p.raw.TryPublishWith(b, env)
}

// ReceiveWith is Receive of a message and its envelope: see RawSubscription.ReceiveWith.
func (s *Subscription[T]) ReceiveWith(ctx context.Context) (v T, env shiplap.Envelope, err error) {
	return s.decodedWith(s.raw.ReceiveWith(ctx, s.buf[:0]))
}

// TryReceiveWith is TryReceive of a message and its envelope: see RawSubscription.ReceiveWith.
func (s *Subscription[T]) TryReceiveWith() (v T, env shiplap.Envelope, err error) {
	return s.decodedWith(s.raw.TryReceiveWith(s.buf[:0]))
}

func (s *Subscription[T]) decodedWith(b []byte, env shiplap.Envelope, err error) (v T, _ shiplap.Envelope, _ error) {
	if err != nil {
		return v, nil, err
	}
	s.buf = b
	return v, env, s.decode(&v)
}
