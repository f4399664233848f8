package channel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
)

// interruptScenarios are those of the kill trials, and some in which the operation waits.
func interruptScenarios() (all []killtest.Scenario) {
	for _, s := range scenarios() {
		check := s.Check
		switch s.Name {
		case "channel/Get", "channel/Ref.Open":
			check = closedOrNot("", 0)
		case "channel/Get of one who is waited for", "channel/Close of one who is waited for":
			continue // what the victim does depends on when the survivor sleeps
		case "channel/Send", "channel/TrySend", "channel/SendWith", "channel/TrySendWith":
			check = closedOrNot("to A", 0)
		case "channel/Receive", "channel/TryReceive", "channel/ReceiveWith", "channel/TryReceiveWith":
			check = closedOrNot("", 1)
		case "channel/Close":
			check = closedOrNot("", 0)
		}
		s.Interrupt = &killtest.Interruption{Check: orderly(check), Slow: s.Recover == nil ||
			strings.Contains(s.Name, "Send")}
		switch s.Name {
		case "channel/Send", "channel/TrySend", "channel/SendWith", "channel/TrySendWith", "channel/Receive",
			"channel/TryReceive", "channel/ReceiveWith", "channel/TryReceiveWith", "channel/Close":
			s.Interrupt.Await = hearsTheEnd
		}
		all = append(all, s)
	}
	waiting := func(name string, op func(b *channel.Channel[string]) error, first func(b *channel.Channel[string]) error, check func(t *killtest.Trial, state any) error) {
		prepare := func(v *killtest.Victim) (func() error, error) {
			var c *channel.Channel[string]
			run, err := onB(func(b *channel.Channel[string]) error {
				if c == nil {
					c = b
					return first(b)
				}
				return op(b)
			})(v)
			if err != nil {
				return nil, err
			}
			return run, run()
		}
		all = append(all, killtest.Scenario{
			Name: name, Setup: withA, Check: check, Prepare: prepare,
			Interrupt: &killtest.Interruption{Waits: true, Check: check},
		})
	}
	waiting("channel/Receive, nothing comes", func(b *channel.Channel[string]) error { _, err := b.Receive(bg); return err },
		func(b *channel.Channel[string]) error {
			for range 3 {
				if _, err := b.Receive(bg); err != nil {
					return err
				}
			}
			return nil
		}, closedOrNot("", 3))
	waiting("channel/Send, full", func(b *channel.Channel[string]) error { return b.Send(bg, large) },
		func(b *channel.Channel[string]) error {
			for {
				if err := b.TrySend(large); errors.Is(err, shiplap.ErrFull) {
					return nil
				} else if err != nil {
					return err
				}
			}
		}, func(_ *killtest.Trial, state any) error {
			w := state.(*world)
			if err := drain(w.a, &w.got); err != io.EOF {
				return fmt.Errorf("%d messages, then: %w", len(w.got), err)
			}
			if n := len(w.got); n < 3 || n > 8 {
				return fmt.Errorf("%d messages came", n)
			}
			w.got = nil
			return goesOn(w, 0, 0)
		})
	return all
}

// hearsTheEnd is what survivors do who wait for a victim that dies while it forks.
func hearsTheEnd(_ *killtest.Trial, state any) error {
	w := state.(*world)
	return killtest.Promptly("receive", func(ctx context.Context) error {
		for {
			s, err := w.a.Receive(ctx)
			if err == io.EOF || errors.Is(err, shiplap.ErrPeerGone) {
				return nil
			}
			if err != nil {
				return err
			}
			w.got = append(w.got, s)
		}
	})
}

var large = string(make([]byte, 500))

// orderly is a check for a victim that has closed everything: whether it completed the operation does
// not matter then.
func orderly(check func(t *killtest.Trial, state any) error) func(t *killtest.Trial, state any) error {
	return func(t *killtest.Trial, state any) error {
		c := *t
		if c.Done = false; t.Done {
			c.Err = nil
		}
		return check(&c, state)
	}
}

// closedOrNot: B may have come; then it has closed the channel in order. What it sent is there exactly
// if it was told so, and what it took is missing exactly if it was given it.
func closedOrNot(sent string, takes int) func(t *killtest.Trial, state any) error {
	return func(t *killtest.Trial, state any) error {
		w := state.(*world)
		ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
		defer cancel()
		for {
			s, err := w.a.Receive(ctx)
			if err == io.EOF || errors.Is(err, context.DeadlineExceeded) {
				break
			}
			if err != nil {
				return fmt.Errorf("receive from one who closed: %w", err)
			}
			w.got = append(w.got, s)
		}
		if n := len(w.got); n > 1 || n == 1 && w.got[0] != sent {
			return fmt.Errorf("got %q, %q was sent", w.got, sent)
		}
		if sent != "" && (len(w.got) == 1) != (t.Err == nil) {
			return fmt.Errorf("got %q, and sending returned: %v", w.got, t.Err)
		}
		switch {
		case takes == 1 && t.Err != nil:
			return goesOn(w, 0, 0)
		}
		return goesOn(w, takes, takes)
	}
}

func TestInterruptedAnywhere(t *testing.T) { killtest.RunInterrupts(t, interruptScenarios()...) }
