package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
)

func newChannelSendCmd(at *place) *cobra.Command {
	s := &sender{chosen: chosen{at: at}}
	var raw bool
	cmd := &cobra.Command{
		Use:   "send NAME [MESSAGE…]",
		Short: "Send messages, or lines, to the other side",
		Long: `Send each MESSAGE, or each line of standard input if there is none, to whoever is at the other side. Lines are sent as they come. With --raw, all
of standard input is one message.

` + wordingHelp + `

` + envelopeHelp + `

Before anybody was at the other side, messages wait in the channel, and send waits while it is full. When nobody is there any more the exit code is 5;
--wait waits first for somebody. What was sent stays for the next who comes.`,
		Example: `  shiplap channel send chat --create "are you there?"      # one terminal
  shiplap channel recv chat                                # another
  shiplap channel send bot-active --side A '"hello"'       # to a child of a process manager, as its parent
  tail -f app.log | shiplap channel send log --wait`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: first(at.names("channel")),
		RunE: func(cmd *cobra.Command, args []string) error {
			if raw && len(args) > 1 {
				return usagef("--raw sends standard input, and takes no MESSAGE")
			}
			return s.with(cmd, args[0], func() (err error) {
				if s.wording, err = wordingOf(s.chosen.raw.Type(), raw); err != nil {
					return err
				}
				err = s.run(cmd, args[1:], raw)
				if err != nil && s.n > 0 {
					err = fmt.Errorf("%w (%s sent before that)", err, counted(s.n, "message"))
				}
				return err
			})
		},
	}
	s.chosen.flags(cmd)
	s.envelope.bind(cmd)
	s.patience.flags(cmd, "for room, and for somebody with --wait")
	cmd.Flags().BoolVar(&raw, "raw", false, "all of standard input is one message, as it is")
	cmd.Flags().BoolVarP(&s.wait, "wait", "w", false, "wait first until somebody is at the other side")
	cmd.MarkFlagsMutuallyExclusive("wait", "no-wait")
	cmd.SetFlagErrorFunc(minusFirst("NAME -- -5"))
	return cmd
}

type sender struct {
	chosen
	patience
	*wording
	wait     bool
	envelope envelopeFlag
	n        int // messages sent
}

func (s *sender) run(cmd *cobra.Command, messages []string, raw bool) error {
	ctx := cmd.Context()
	if s.wait {
		wait, cancel := s.context(ctx)
		err := s.chosen.raw.WaitPeer(wait)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return fmt.Errorf("channel %q: %w: nobody came to side %s within %v", s.chosen.raw.Name(), shiplap.ErrEmpty, s.other(), s.timeout)
		}
		if err != nil {
			return s.explain(cmd, err)
		}
	}
	most := s.chosen.raw.MaxMessage()
	switch {
	case raw:
		b, err := readAll(ctx, "standard input", cmd.InOrStdin(), most, largerChannel)
		if err != nil {
			return err
		}
		return s.send(cmd, [][]byte{b})
	case len(messages) > 0:
		return s.text(cmd, "message", 0, toBytes(messages))
	}
	return input(cmd.InOrStdin(), "-", func(name string, r io.Reader) error {
		return eachLines(ctx, name, r, s.longestLine(most), largerChannel, func(number int64, lines [][]byte) error {
			return s.text(cmd, "line", number, lines)
		})
	})
}

// text sends messages that are written as text.
func (s *sender) text(cmd *cobra.Command, what string, number int64, texts [][]byte) error {
	msgs, wrong := s.parseAll(what, number, texts)
	if err := s.send(cmd, msgs); err != nil {
		return err
	}
	return wrong
}

func (s *sender) send(cmd *cobra.Command, msgs [][]byte) error {
	for _, m := range msgs {
		if err := s.one(cmd.Context(), m); err != nil {
			return s.explain(cmd, err)
		}
		s.n++
	}
	return nil
}

func (s *sender) one(ctx context.Context, msg []byte) error {
	if s.envelope.env != nil {
		return s.oneEnveloped(ctx, msg)
	}
	if s.noWait {
		return s.chosen.raw.TrySend(msg)
	}
	wait, cancel := s.context(ctx)
	defer cancel()
	return s.chosen.raw.Send(wait, msg)
}

func (s *sender) oneEnveloped(ctx context.Context, msg []byte) error {
	if s.noWait {
		return s.chosen.raw.TrySendWith(msg, s.envelope.env)
	}
	wait, cancel := s.context(ctx)
	defer cancel()
	return s.chosen.raw.SendWith(wait, msg, s.envelope.env)
}

const largerChannel = "a channel made with more --capacity"

func (s *sender) explain(cmd *cobra.Command, err error) error {
	name := s.chosen.raw.Name()
	switch {
	case cmd.Context().Err() != nil:
		return context.Cause(cmd.Context())
	case errors.Is(err, shiplap.ErrPeerGone):
		return exitError{err, exitEnded, "--wait waits for somebody; shiplap channel ls" + sameDomain(cmd) + " shows who is there"}
	case err == shiplap.ErrFull, err == shiplap.ErrBusy:
		return fmt.Errorf("channel %q: %w", name, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("channel %q: %w: no room within %v, side %s does not receive", name, shiplap.ErrFull, s.timeout, s.other())
	case errors.Is(err, shiplap.ErrTooLarge):
		return exitError{err, exitFailure, largerChannel}
	}
	return err
}
