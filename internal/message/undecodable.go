package message

import (
	"bytes"
	"fmt"
)

// UndecodableError is about one message that was received and is not of the type: shiplap.ErrIncompatible if it is
// well-formed, else shiplap.ErrCorrupt. The messages behind it can be received.
type UndecodableError struct {
	From string // "queue \"jobs\""
	Body []byte // the message, a copy
	Err  error

	// Envelope is what stood in front of the message, a copy, if that is what cannot be decoded.
	Envelope []byte
}

func (e *UndecodableError) Error() string { return fmt.Sprintf("%s: %v", e.From, e.Err) }
func (e *UndecodableError) Unwrap() error { return e.Err }

// DecodeFrom is Decode for handles: its errors say where the message comes from, and carry it.
func (c *Coder[T]) DecodeFrom(kind, name string, b []byte, v *T) error {
	if err := c.Decode(b, v); err != nil {
		return &UndecodableError{From: fmt.Sprintf("%s %q", kind, name), Body: bytes.Clone(b), Err: err}
	}
	return nil
}
