package pymp

import (
	"errors"
	"fmt"
	"time"
)

// The errors of connections, beside those of package shiplap.
var (
	// ErrAuth: the two sides do not have the same key.
	ErrAuth = errors.New("authentication failed")
	// ErrProtocol: the other side does not speak the protocol of multiprocessing.connection.
	ErrProtocol = errors.New("not the protocol of multiprocessing.connection")
)

// Options of connections and listeners. The zero value is good.
type Options struct {
	// AuthKey is Python's authkey; nil is None. Both sides prove that they know it; it encrypts nothing.
	AuthKey []byte
	// MaxMessage is how many bytes a received message may have; 0 means DefaultMaxMessage.
	MaxMessage int64
	// HandshakeTimeout bounds the handshake with one peer; 0 means 10 seconds.
	HandshakeTimeout time.Duration
	// NoMD5 refuses the handshake with HMAC-MD5, the only one that Python before 3.12 has.
	NoMD5 bool
	// Pickle bounds what Recv decodes and Send encodes; nil is good.
	Pickle *PickleLimits
}

const (
	// DefaultMaxMessage is how many bytes a received message may have if Options say nothing else.
	DefaultMaxMessage = 64 << 20

	defaultHandshakeTimeout = 10 * time.Second
)

func (o *Options) resolve() (Options, error) {
	var r Options
	if o != nil {
		r = *o
	}
	switch {
	case r.AuthKey != nil && len(r.AuthKey) == 0:
		return r, errors.New("pymp: an empty AuthKey: Pythons disagree on what that means; use nil for none")
	case r.MaxMessage < 0 || r.HandshakeTimeout < 0:
		return r, fmt.Errorf("pymp: MaxMessage %d and HandshakeTimeout %v must not be negative", r.MaxMessage, r.HandshakeTimeout)
	}
	if r.MaxMessage == 0 {
		r.MaxMessage = DefaultMaxMessage
	}
	if r.HandshakeTimeout == 0 {
		r.HandshakeTimeout = defaultHandshakeTimeout
	}
	_, err := r.Pickle.resolve()
	return r, err
}
