package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/topic"
)

func newTopicPubCmd(at *place) *cobra.Command {
	p := &publisher{}
	var raw bool
	cmd := &cobra.Command{
		Use:   "pub NAME [MESSAGE…]",
		Short: "Publish messages, or lines",
		Long: `Publish each MESSAGE, or each line of standard input if there is none, to all who subscribe. Lines are published as they come. With --raw, all of
standard input is one message. Without subscribers it is published all the same; what is kept of it is there for late ones.

` + wordingHelp + `

` + envelopeHelp + `

A topic that was not made with --overwrite makes us wait while a subscriber leaves no room; when --timeout runs out, the slowest one is named. What pub has
reported (exit code 0) is there for all, whoever dies.`,
		Example: `  shiplap topic pub news "it works" "it still works"
  tail -f app.log | shiplap topic pub log
  shiplap topic pub events '{"name": "deploy", "ok": true}'
  shiplap topic pub images --raw <a.png`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: first(at.names("topic")),
		RunE: func(cmd *cobra.Command, args []string) error {
			if raw && len(args) > 1 {
				return usagef("--raw publishes standard input, and takes no MESSAGE")
			}
			return at.withTopic(args[0], func(t *topic.Raw) (err error) {
				p.t = t
				if p.wording, err = wordingOf(t.Type(), raw); err != nil {
					return err
				}
				err = p.run(cmd, args[1:], raw)
				if err != nil && p.n > 0 {
					err = fmt.Errorf("%w (%s published before that)", err, counted(p.n, "message"))
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "all of standard input is one message, as it is")
	p.envelope.bind(cmd)
	p.flags(cmd, "for slow subscribers")
	cmd.SetFlagErrorFunc(minusFirst("NAME -- -5"))
	return cmd
}

type publisher struct {
	patience
	*wording
	t        *topic.Raw
	envelope envelopeFlag
	n        int // messages published
}

func (p *publisher) run(cmd *cobra.Command, messages []string, raw bool) error {
	ctx := cmd.Context()
	switch {
	case raw:
		b, err := readAll(ctx, "standard input", cmd.InOrStdin(), p.t.MaxMessage(), largerTopic)
		if err != nil {
			return err
		}
		return p.publish(ctx, [][]byte{b})
	case len(messages) > 0:
		return p.text(ctx, "message", 0, toBytes(messages))
	}
	return input(cmd.InOrStdin(), "-", func(name string, r io.Reader) error {
		return eachLines(ctx, name, r, p.longestLine(p.t.MaxMessage()), largerTopic, func(number int64, lines [][]byte) error {
			return p.text(ctx, "line", number, lines)
		})
	})
}

func toBytes(texts []string) [][]byte {
	b := make([][]byte, len(texts))
	for i, t := range texts {
		b[i] = []byte(t)
	}
	return b
}

// text publishes messages that are written as text.
func (p *publisher) text(ctx context.Context, what string, number int64, texts [][]byte) error {
	msgs, wrong := p.parseAll(what, number, texts)
	if err := p.publish(ctx, msgs); err != nil {
		return err
	}
	return wrong
}

// parseAll turns texts into messages, up to the first that is none.
func (w *wording) parseAll(what string, number int64, texts [][]byte) ([][]byte, error) {
	if w.isText() {
		return texts, nil
	}
	var msgs [][]byte
	for i, text := range texts {
		msg, err := w.parse(text)
		if err != nil {
			return msgs, fmt.Errorf("%s %d: %w", what, number+int64(i)+1, err)
		}
		msgs = append(msgs, msg)
	}
	return msgs, nil
}

func (p *publisher) publish(ctx context.Context, msgs [][]byte) error {
	if p.envelope.env != nil {
		return p.publishEnveloped(ctx, msgs)
	}
	if p.noWait {
		for _, m := range msgs {
			if err := now(ctx, func() error { return p.t.TryPublish(m) }); err != nil {
				return p.explain(ctx, err)
			}
			p.n++
		}
		return nil
	}
	for len(msgs) > 0 {
		wait, cancel := p.context(ctx)
		n, err := p.t.PublishMany(wait, msgs)
		cancel()
		p.n += n
		msgs = msgs[n:]
		if err != nil && (n == 0 || !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil) {
			return p.explain(ctx, err)
		}
	}
	return nil
}

func (p *publisher) publishEnveloped(ctx context.Context, msgs [][]byte) error {
	for _, m := range msgs {
		err := p.either(ctx, func() error { return p.t.TryPublishWith(m, p.envelope.env) },
			func(wait context.Context) error { return p.t.PublishWith(wait, m, p.envelope.env) })
		if err != nil {
			return p.explain(ctx, err)
		}
		p.n++
	}
	return nil
}

const largerTopic = "a topic with more --capacity"

// explain names the subscriber that leaves no room.
func (p *publisher) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, shiplap.ErrTooLarge) {
		return exitError{err, exitFailure, largerTopic}
	}
	if !isAny(err, context.DeadlineExceeded, shiplap.ErrFull) {
		return err
	}
	within := ""
	if !p.noWait {
		within = fmt.Sprintf(" for all of %v", p.timeout)
	}
	slowest := ""
	if s, e := p.t.Stats(); e == nil && s.Slowest != nil {
		slowest = fmt.Sprintf("; pid %d is %s behind (%s)", s.Slowest.Pid, counted(int(s.Slowest.Lag), "message"), s.Slowest.Command)
	}
	return fmt.Errorf("topic %q: %w%s%s", p.t.Name(), shiplap.ErrFull, within, slowest)
}
