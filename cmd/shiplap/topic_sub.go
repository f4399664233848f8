package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/topic"
)

func newTopicSubCmd(at *place) *cobra.Command {
	s := &listener{}
	var last int
	cmd := &cobra.Command{
		Use:   "sub NAME",
		Short: "Subscribe, and write what is published",
		Long: `Write each message that is published from now on, a line each, until the topic is closed, --count messages came, or Ctrl-C. --last begins with
messages from before, as many of them as are still there.

` + wordingHelp + ` With --json a line is {"message": …}, or {"message_base64": "…"} where it is no text, with "envelope": {…} if
something stands in front of it, or {"missed": N}.

A subscriber that is too slow for a topic with --overwrite misses messages: how many is said on standard error. In any other topic publishers
wait for it: do not stop it for long.`,
		Example: `  shiplap topic sub news
  shiplap topic sub log --last 100 --count 100
  shiplap topic sub events --json | jq -r '.message.name'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(at.names("topic")),
	}
	s.flags(cmd)
	cmd.Flags().IntVarP(&last, "last", "l", 0, "begin with the last `N` messages")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := s.check(); err != nil {
			return err
		}
		if last < 0 {
			return usagef("--last %d: at least 0", last)
		}
		return at.withTopic(args[0], func(t *topic.Raw) (err error) {
			if s.wording, err = wordingOf(t.Type(), s.raw); err != nil {
				return err
			}
			sub, err := t.Subscribe(&topic.SubOptions{Last: last})
			if err != nil {
				return err
			}
			s.name, s.w, s.err = fmt.Sprintf("topic %q", args[0]), cmd.OutOrStdout(), cmd.ErrOrStderr()
			return errors.Join(s.listen(cmd.Context(), sub), sub.Close())
		})
	}
	return cmd
}

// source is what messages come from.
type source interface {
	Receive(ctx context.Context, dst []byte) ([]byte, error)
	TryReceive(dst []byte) ([]byte, error)
	ReceiveWith(ctx context.Context, dst []byte) ([]byte, shiplap.Envelope, error)
	TryReceiveWith(dst []byte) ([]byte, shiplap.Envelope, error)
}

// listener writes messages as they come.
type listener struct {
	patience
	*wording
	raw, json bool
	count     int
	name      string // of what it listens to, for errors
	w, err    io.Writer
	n         int // messages received
	unshown   int // of these, what could not be written
	missed    uint64
	buf       []byte
	msg       []byte
	env       shiplap.Envelope // with --json
	wrong     error            // with --json: why there is none
}

func (l *listener) flags(cmd *cobra.Command) {
	cmd.Flags().IntVarP(&l.count, "count", "c", 0, "end after `N` messages (default: never)")
	cmd.Flags().BoolVar(&l.raw, "raw", false, "write the bytes of messages, and add no newlines")
	cmd.Flags().BoolVar(&l.json, "json", false, "write an object of JSON a line")
	cmd.Flags().DurationVarP(&l.timeout, "timeout", "t", 0, "longest wait for the next message, as in 500ms or 10s (default: for ever)")
	cmd.MarkFlagsMutuallyExclusive("raw", "json")
}

func (l *listener) check() error {
	if l.count < 0 {
		return usagef("--count %d: at least 0", l.count)
	}
	return nil
}

// listen writes messages until there are no more, or as many as there shall be. Nothing is held back while it waits.
func (l *listener) listen(ctx context.Context, from source) error {
	left := l.count
	if left == 0 {
		left = math.MaxInt
	}
	for left > l.n {
		err := l.next(ctx, from)
		if err == nil {
			continue
		}
		if e := l.flush(); e != nil {
			return e
		}
		return errors.Join(l.ended(ctx, err), l.whole())
	}
	if err := l.flush(); err != nil {
		return err
	}
	return l.whole()
}

// whole reports whether everything was shown that came.
func (l *listener) whole() error {
	if l.unshown == 0 {
		return nil
	}
	return exitError{fmt.Errorf("%s: %s of %s could not be shown", l.name, grouped(l.unshown), counted(l.n, "message")), exitFailure,
		"--raw writes messages as they are"}
}

// next takes one message, one that is there or, after all before are written, one that is waited for.
func (l *listener) next(ctx context.Context, from source) (err error) {
	if ctx.Err() != nil { // asked here and not after the next message: one that was taken out of the channel has to be written
		return context.Cause(ctx)
	}
	if err = l.try(from); isAny(err, shiplap.ErrEmpty, shiplap.ErrBusy) {
		err = l.wait(ctx, from)
	}
	l.wrong = nil
	if bad, ok := errors.AsType[*topic.UndecodableError](err); ok {
		fmt.Fprintf(l.err, "shiplap: %v; message %d is shown with what stood in front of it in base64\n", bad, l.n+1)
		l.unshown++
		l.wrong, err = bad, nil
	}
	if lag, ok := errors.AsType[topic.ErrLagged](err); ok {
		l.lagged(lag.N)
		return nil
	}
	if err != nil {
		return err
	}
	l.n++
	l.add()
	if len(l.buf) > bufTarget {
		return l.flush()
	}
	return nil
}

// try receives a message that is there.
func (l *listener) try(from source) (err error) {
	if l.json {
		l.msg, l.env, err = from.TryReceiveWith(l.msg[:0])
	} else {
		l.msg, err = from.TryReceive(l.msg[:0])
	}
	return err
}

// wait receives a message that is waited for, after all before are written.
func (l *listener) wait(ctx context.Context, from source) (err error) {
	if err := l.flush(); err != nil {
		return err
	}
	ctx, cancel := l.context(ctx)
	defer cancel()
	if l.json {
		l.msg, l.env, err = from.ReceiveWith(ctx, l.msg[:0])
	} else {
		l.msg, err = from.Receive(ctx, l.msg[:0])
	}
	return err
}

// add appends the message to what is to be written.
func (l *listener) add() {
	form := l.appendText
	if l.json {
		form = l.appendObject
	}
	buf, err := form(l.buf, l.msg)
	if err == nil && l.json {
		buf, err = appendEnvelope(buf, l.env, l.wrong)
	}
	if err != nil {
		fmt.Fprintf(l.err, "shiplap: %s: message %d, of %d bytes, is none of the type %s: %v\n", l.name, l.n, len(l.msg), l.desc.Text, err)
		l.unshown++
		return
	}
	if l.buf = buf; !l.raw {
		l.buf = append(l.buf, '\n')
	}
}

// lagged tells of messages that were overwritten before they were received.
func (l *listener) lagged(n uint64) {
	l.missed += n
	if l.json {
		l.buf = fmt.Appendf(l.buf, "{\"missed\":%d}\n", n)
	}
	fmt.Fprintf(l.err, "shiplap: %s: too slow: %s missed, %s in all\n", l.name, counted(int(n), "message"), grouped(l.missed))
}

func (l *listener) flush() error {
	if len(l.buf) == 0 {
		return nil
	}
	_, err := l.w.Write(l.buf)
	l.buf = l.buf[:0]
	return err
}

// ended turns what ended it into what the user hears.
func (l *listener) ended(ctx context.Context, err error) error {
	of := ""
	if l.count > 1 {
		of = fmt.Sprintf(" after %s of %s messages", grouped(l.n), grouped(l.count))
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case isAny(err, shiplap.ErrClosed, io.EOF) && l.count == 0:
		return nil
	case isAny(err, shiplap.ErrClosed, io.EOF):
		return exitError{error: fmt.Errorf("%s: %w%s", l.name, shiplap.ErrClosed, of), code: exitEnded}
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w: no message within %v%s", l.name, shiplap.ErrEmpty, l.timeout, of)
	}
	return err
}
