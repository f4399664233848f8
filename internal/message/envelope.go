package message

import (
	"bytes"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/envelope"
)

// Envelope decodes the block that stood in front of a message. Its error is about this one message, and
// carries it.
func Envelope(kind, name string, block, body []byte) (map[string][]byte, error) {
	env, err := envelope.Decode(block)
	if err != nil {
		return nil, &UndecodableError{
			From: fmt.Sprintf("%s %q", kind, name), Body: bytes.Clone(body), Err: err, Envelope: bytes.Clone(block)}
	}
	return env, nil
}

// Block encodes an envelope, nil for an empty one.
func Block(kind, name string, env map[string][]byte) ([]byte, error) {
	b, err := envelope.Append(nil, env)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", kind, name, err)
	}
	return b, nil
}
