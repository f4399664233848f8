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

// What was taken out is written, whatever came meanwhile; what was not stays there.
func TestListenInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	w, err := wordingOf("bytes", false)
	if err != nil {
		t.Fatal(err)
	}
	from := &interruptedSource{cancel, []string{"first", "second"}}
	var out bytes.Buffer
	l := &listener{wording: w, w: &out}
	if err := l.listen(ctx, from); !errors.Is(err, interrupted{syscall.SIGINT}) {
		t.Errorf("it ended with %v", err)
	}
	if out.String() != "first\n" || len(from.left) != 1 {
		t.Errorf("it wrote %q and left %q", out.String(), from.left)
	}
}
