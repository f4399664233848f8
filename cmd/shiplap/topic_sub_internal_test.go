package main

import (
	"bytes"
	"context"
	"errors"
	"syscall"
	"testing"

	"github.com/shiplap-ipc/shiplap"
)

// interruptedSource has two messages; a signal comes while the first one is taken.
type interruptedSource struct {
	stop context.CancelCauseFunc
	left []string
}

func (s *interruptedSource) TryReceive(dst []byte) ([]byte, error) {
	s.stop(interrupted{syscall.SIGINT})
	if len(s.left) == 0 {
		return dst, shiplap.ErrEmpty
	}
	msg := s.left[0]
	s.left = s.left[1:]
	return append(dst, msg...), nil
}

func (s *interruptedSource) Receive(ctx context.Context, dst []byte) ([]byte, error) {
	return dst, context.Cause(ctx)
}

func (s *interruptedSource) TryReceiveWith(dst []byte) ([]byte, shiplap.Envelope, error) {
	msg, err := s.TryReceive(dst)
	return msg, nil, err
}

func (s *interruptedSource) ReceiveWith(ctx context.Context, dst []byte) ([]byte, shiplap.Envelope, error) {
	msg, err := s.Receive(ctx, dst)
	return msg, nil, err
}

// What was taken out is written, whatever came meanwhile; what was not stays there.
func TestListenInterrupted(t *testing.T) {
	w, err := wordingOf("bytes", false)
	if err != nil {
		t.Fatal(err)
	}
	for json, want := range map[bool]string{false: "first\n", true: "{\"message\":\"first\"}\n"} {
		ctx, cancel := context.WithCancelCause(context.Background())
		from := &interruptedSource{cancel, []string{"first", "second"}}
		var out bytes.Buffer
		l := &listener{wording: w, w: &out, json: json}
		if err := l.listen(ctx, from); !errors.Is(err, interrupted{syscall.SIGINT}) {
			t.Errorf("it ended with %v", err)
		}
		if out.String() != want || len(from.left) != 1 {
			t.Errorf("it wrote %q and left %q", out.String(), from.left)
		}
	}
}

// closedSource has messages, and then no more.
type closedSource struct{ left []string }

func (s *closedSource) TryReceive(dst []byte) ([]byte, error) {
	if len(s.left) == 0 {
		return dst, shiplap.ErrClosed
	}
	msg := s.left[0]
	s.left = s.left[1:]
	return append(dst, msg...), nil
}

func (s *closedSource) Receive(_ context.Context, dst []byte) ([]byte, error) {
	return s.TryReceive(dst)
}

func (s *closedSource) TryReceiveWith(dst []byte) ([]byte, shiplap.Envelope, error) {
	return s.ReceiveWith(context.Background(), dst)
}

func (s *closedSource) ReceiveWith(_ context.Context, dst []byte) ([]byte, shiplap.Envelope, error) {
	msg, err := s.TryReceive(dst)
	return msg, nil, err
}

// A message that could not be shown is no success, however it ended.
func TestListenUnshown(t *testing.T) {
	w, err := wordingOf("cbor:map[i64]str", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, count := range []int{0, 3} {
		from := &closedSource{[]string{"\xa1\x01\x61a", "\x61a", "\xa1\x02\x61b"}}
		var out, told bytes.Buffer
		l := &listener{wording: w, w: &out, err: &told, count: count}
		err := l.listen(t.Context(), from)
		if e, ok := errors.AsType[exitError](err); !ok || e.code != exitFailure {
			t.Errorf("it ended with %v", err)
		}
		if out.String() != "{\"1\":\"a\"}\n{\"2\":\"b\"}\n" || !bytes.Contains(told.Bytes(), []byte("message 2, of 2 bytes")) {
			t.Errorf("it wrote %q and told %q", out.String(), told.String())
		}
	}
}
