package main

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/queue"
)

// envelopeFlag is what --envelope says, each time a key and its value.
type envelopeFlag struct{ env shiplap.Envelope }

func (e *envelopeFlag) bind(cmd *cobra.Command) {
	cmd.Flags().VarP(e, "envelope", "e", "put `KEY=VALUE` in front of each message; may be repeated")
}

// Set adds a key.
func (e *envelopeFlag) Set(s string) error {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return usagef("%q is no KEY=VALUE", s)
	}
	if _, twice := e.env[key]; twice {
		return usagef("the key %q is there twice: an envelope has one value a key", key)
	}
	if e.env == nil {
		e.env = shiplap.Envelope{}
	}
	e.env[key] = []byte(value)
	return nil
}

// Type is how usage shows it.
func (e *envelopeFlag) Type() string { return "KEY=VALUE" }

// String is empty: there is no default.
func (e *envelopeFlag) String() string { return "" }

const envelopeHelp = `With --envelope, a key and its value stand in front of each message: programs that ask for them see them, to others the message
is as it would be without.`

// envelopeText is an envelope in JSON.
type envelopeText struct {
	Envelope       map[string]string `json:"envelope,omitempty"`
	EnvelopeBase64 map[string][]byte `json:"envelope_base64,omitempty"` // what is no UTF-8
	EnvelopeError  string            `json:"envelope_error,omitempty"`
	EnvelopeBytes  []byte            `json:"envelope_bytes,omitempty"` // of one that cannot be decoded
}

// envelopeTextOf is for an envelope, or the error where it cannot be decoded.
func envelopeTextOf(env shiplap.Envelope, err error) (t envelopeText) {
	if err != nil {
		t.EnvelopeError = err.Error()
	}
	if bad, ok := errors.AsType[*queue.UndecodableError](err); ok {
		t.EnvelopeError, t.EnvelopeBytes = bad.Err.Error(), bad.Envelope
	}
	for key, value := range env {
		switch {
		case !utf8.Valid(value):
			if t.EnvelopeBase64 == nil {
				t.EnvelopeBase64 = map[string][]byte{}
			}
			t.EnvelopeBase64[key] = value
		default:
			if t.Envelope == nil {
				t.Envelope = map[string]string{}
			}
			t.Envelope[key] = string(value)
		}
	}
	return t
}

// appendEnvelope adds an envelope, or why it cannot be decoded, to an object of JSON, which dst ends with.
func appendEnvelope(dst []byte, env shiplap.Envelope, wrong error) ([]byte, error) {
	if len(env) == 0 && wrong == nil {
		return dst, nil
	}
	b, err := schema.JSON.Append(nil, envelopeTextOf(env, wrong))
	if err != nil {
		return dst, err
	}
	return append(append(dst[:len(dst)-1], ','), b[1:]...), nil
}
