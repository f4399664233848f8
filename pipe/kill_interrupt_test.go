package pipe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/pipe"
)

// interruptScenarios are those of the kill trials, and some in which the operation waits.
func interruptScenarios() (all []killtest.Scenario) {
	for _, s := range killScenarios() {
		slow := []string{"pipe/OpenOrCreate", "pipe/Dial", "pipe/AcceptEnd", "pipe/Listener.Close"}
		s.Interrupt = &killtest.Interruption{Check: orderly(s.Check), Slow: slices.Contains(slow, s.Name)}
		switch s.Name {
		case "pipe/Send", "pipe/Write", "pipe/Recv", "pipe/CloseWrite", "pipe/Close":
			s.Interrupt.Await = hearsTheEnd
		}
		switch s.Name {
		case "pipe/Send", "pipe/Write":
			s.Interrupt.Check = sentOrNot(s.Check)
		case "pipe/Read":
			s.Interrupt.Deaf = true // it has no context
		}
		all = append(all, s)
	}
	check := endGone("", false)
	waiting := func(name string, op func(b *pipe.End) error, first func(b *pipe.End) error, check func(t *killtest.Trial, state any) error) {
		all = append(all, killtest.Scenario{
			Name: name, Setup: withA, Check: check, Prepare: onB(op),
			Interrupt: &killtest.Interruption{Waits: true, Check: check, Prepare: func(v *killtest.Victim) (func() error, error) {
				run, err := onB(func(b *pipe.End) error { return op(b) })(v)
				if err != nil {
					return nil, err
				}
				return run, first(lastEnd)
			}},
		})
	}
	waiting("pipe/Recv, nothing comes", func(b *pipe.End) error { _, err := b.Recv(bg, nil); return err }, func(b *pipe.End) error {
		for range 3 {
			if _, err := b.Recv(bg, nil); err != nil {
				return err
			}
		}
		return nil
	}, orderly(check))
	waiting("pipe/Send, full", func(b *pipe.End) error { return b.Send(bg, full) }, func(b *pipe.End) error {
		for {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Millisecond)
			defer cancel()
			if err := b.Send(ctx, full); errors.Is(err, context.DeadlineExceeded) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}, fullAndOrderly)
	all = append(all, killtest.Scenario{
		Name: "pipe/AcceptEnd, nobody dials", Setup: empty, Check: orderly(listenable), Prepare: acceptsAlone,
		Interrupt: &killtest.Interruption{Waits: true, Check: orderly(listenable)},
	})
	return all
}

// hearsTheEnd is what survivors do who wait for a victim that dies while it forks.
func hearsTheEnd(_ *killtest.Trial, state any) error {
	w := state.(*pipeWorld)
	return killtest.Promptly("receive", func(ctx context.Context) error {
		for {
			b, err := w.a.Recv(ctx, nil)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			w.got = append(w.got, string(b))
		}
	})
}

var full = make([]byte, 500)

func acceptsAlone(v *killtest.Victim) (func() error, error) {
	d, err := joinAt(v.Dir)
	if err != nil {
		return nil, err
	}
	l, err := pipe.Listen(d, "l", small)
	if err != nil {
		return nil, err
	}
	v.Own(d)
	v.Own(l)
	v.Close = l.Close
	return func() error { _, err := l.AcceptEnd(bg); return err }, nil
}

// orderly is a check of a kill trial, for a victim that has closed everything: whether it completed the
// operation does not matter then.
func orderly(check func(t *killtest.Trial, state any) error) func(t *killtest.Trial, state any) error {
	return func(t *killtest.Trial, state any) error {
		c := *t
		c.Done = false
		return check(&c, state)
	}
}

// sentOrNot: what was sent is there exactly if no error was returned.
func sentOrNot(check func(t *killtest.Trial, state any) error) func(t *killtest.Trial, state any) error {
	return func(t *killtest.Trial, state any) error {
		err := orderly(check)(t, state)
		if n := len(state.(*pipeWorld).got); err == nil && (n == 1) != t.Done {
			err = fmt.Errorf("%d messages came, and sending returned: %v", n, t.Err)
		}
		return err
	}
}

// fullAndOrderly: all that was sent before comes, and not what was interrupted.
func fullAndOrderly(_ *killtest.Trial, state any) error {
	w := state.(*pipeWorld)
	ctx, cancel := soon()
	defer cancel()
	n := 0
	for ; ; n++ {
		if _, err := w.a.Recv(ctx, nil); err != nil {
			if n < 5 || n > 8 || err != io.EOF {
				return fmt.Errorf("%d messages came, and then: %w", n, err)
			}
			break
		}
	}
	if err := w.a.Close(); err != nil {
		return err
	}
	return tidyPipes(w.d)
}

func TestInterruptedAnywhere(t *testing.T) { killtest.RunInterrupts(t, interruptScenarios()...) }
