package queue

import (
	"context"
	"errors"
	"log/slog"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/message"
)

// UndecodableError is about a message that is no T: shiplap.ErrIncompatible if it is well-formed, else
// shiplap.ErrCorrupt. Body is a copy of it. The messages behind it can be received.
type UndecodableError = message.UndecodableError

// UndecodableDelivery is an UndecodableError of a queue with Ack. The message is in this process's hands: Body can
// be looked at, Nack gives it to the next consumer, Ack takes it away for good. Until then, or until this handle is closed or its
// process ends, it stays where it is, and so does the room that it takes in the queue.
type UndecodableDelivery struct {
	*RawDelivery
	Err *UndecodableError
}

func (e *UndecodableDelivery) Error() string { return e.Err.Error() }
func (e *UndecodableDelivery) Unwrap() error { return e.Err }

// setAside is what Deliveries does with what it cannot decode: one such message must not end one worker after the
// other, and nobody but the program can say that it is worth nothing.
func (q *Queue[T]) setAside(ctx context.Context, e *UndecodableDelivery) {
	if q.undecodable != nil {
		q.undecodable(e)
		return
	}
	if q.raw.DeadLetters() != "" {
		err := e.reject(ctx, false)
		if errors.Is(err, errs.ErrFull) || errors.Is(err, errs.ErrBusy) {
			err = e.Nack() // it comes back as often as the limit says, then waits for room beside the others
		}
		if err == nil {
			return
		}
	}
	slog.Warn("a delivery that cannot be decoded is held until the handle is closed", "queue", q.raw.Name(), "bytes", len(e.Body),
		"deliveries", e.Count, "err", e.Err.Err, "next", "make the queue with DeadLetters, or set Options.Undecodable")
}

func isUndecodable(err error) bool {
	var e *UndecodableError
	return errors.As(err, &e)
}

// collect is the function of a GetMany that decodes.
func collect[T any](c *message.Coder[T], name string, vs *[]T) func([]byte) error {
	return func(b []byte) error {
		var v T
		if err := c.DecodeFrom("queue", name, c.Own(b), &v); err != nil {
			return err
		}
		*vs = append(*vs, v)
		return nil
	}
}
