package pipe

import (
	"context"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/message"
)

// UndecodableError is about a message whose envelope cannot be decoded: shiplap.ErrCorrupt. Body is a copy of
// it. The messages behind it can be received.
type UndecodableError = message.UndecodableError

// SendWith is Send of a message with an envelope, which RecvWith at the other end gets to see. Recv and Read
// do not.
func (e *End) SendWith(ctx context.Context, msg []byte, env shiplap.Envelope) error {
	block, err := message.Block("pipe", e.obj.Name, env)
	if err != nil {
		return err
	}
	return e.sendWith(ctx, block, msg)
}

func (e *End) sendWith(ctx context.Context, block, msg []byte) (err error) {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.obj.Gate.Leave()
	if err := e.turn(ctx, &e.send); err != nil {
		return err
	}
	defer e.send.give()
	g := mem.Protect()
	defer g.Recover(&err)
	e.mourn()
	err = e.explain(e.p.PutWith(ctx, block, msg))
	g.Done = true
	return err
}

// RecvWith is Recv of a message and its envelope, nil if it has none. If only the envelope cannot be decoded,
// the error is an *UndecodableError, and the message is received.
func (e *End) RecvWith(ctx context.Context, dst []byte) (msg []byte, env shiplap.Envelope, err error) {
	var block []byte
	if msg, err = e.recvWith(ctx, dst, &block); err == nil {
		env, err = message.Envelope("pipe", e.obj.Name, block, msg[len(dst):])
	}
	return msg, env, err
}

func (e *End) recvWith(ctx context.Context, dst []byte, block *[]byte) (msg []byte, err error) {
	if err := e.enter(); err != nil {
		return dst, err
	}
	defer e.obj.Gate.Leave()
	if err := e.turn(ctx, &e.recv); err != nil {
		return dst, err
	}
	defer e.recv.give()
	g := mem.Protect()
	defer g.Recover(&err)
	msg, err = e.c.GetWith(ctx, dst, block)
	err = e.recvError(err)
	g.Done = true
	return msg, err
}
