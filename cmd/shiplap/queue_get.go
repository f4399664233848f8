package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

func newQueueGetCmd(at *place) *cobra.Command {
	g := &getter{}
	var all, follow, ack bool
	cmd := &cobra.Command{
		Use:   "get NAME",
		Short: "Take messages from a queue and write them",
		Long: `Take one message, waiting for it, and write it to standard output with a newline; with --raw, exactly
as it is; with --json, in the form that the type of the queue says, as {"message": …}, or {"message_base64": "…"}
where it is no text, or none of the type, and with "envelope": {…} if something stands in front of it, "envelope_base64"
for what of that is no text. --count takes more, --all what is there now, --follow everything until the queue is closed.

From a queue that was made with --ack, a message is acknowledged only after it was written: if get dies
before, the next consumer gets it. --ack insists on that and refuses other queues, where a message that
was taken is lost if its consumer dies before it is written.`,
		Example: `  shiplap queue get jobs                         one
  shiplap queue get jobs --count 10 --timeout 5s
  shiplap queue get jobs --all | wc -l
  shiplap queue get jobs --follow --ack | while read -r job; do …; done`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(at.names("queue")),
		RunE: func(cmd *cobra.Command, args []string) error {
			if g.count < 0 {
				return usagef("--count %d: at least 0", g.count)
			}
			g.name, g.follow, g.left = args[0], follow, g.count
			if all || follow {
				g.left = math.MaxInt64
			}
			if all {
				g.noWait, g.drain = true, true
			}
			return at.withQueue(args[0], g.raw || g.json, func(q *queue.Raw) (err error) {
				if g.wording, err = wordingOf(q.Type(), g.raw); err != nil {
					return err
				}
				if ack && !q.Ack() {
					return exitError{fmt.Errorf("queue %q: %w: it was made without --ack", g.name, shiplap.ErrUnsupported), exitFailure,
						"get without --ack, or make a queue with shiplap queue create --ack"}
				}
				g.q, g.w = q, cmd.OutOrStdout()
				return g.run(cmd.Context())
			})
		},
	}
	f := cmd.Flags()
	f.Int64VarP(&g.count, "count", "c", 1, "take `N` messages")
	f.BoolVarP(&all, "all", "a", false, "take what is there, do not wait for more")
	f.BoolVarP(&follow, "follow", "f", false, "go on until the queue is closed")
	f.BoolVar(&ack, "ack", false, "refuse a queue without acknowledgement")
	f.BoolVar(&g.raw, "raw", false, "add no newlines")
	f.BoolVar(&g.json, "json", false, "write an object of JSON a line, with the message's envelope")
	g.flags(cmd, "for each next message")
	cmd.MarkFlagsMutuallyExclusive("count", "all", "follow")
	cmd.MarkFlagsMutuallyExclusive("raw", "json")
	cmd.MarkFlagsMutuallyExclusive("all", "timeout")
	return cmd
}

type getter struct {
	patience
	wording       *wording
	q             *queue.Raw
	w             io.Writer
	name          string
	raw, json     bool
	follow, drain bool
	count, left   int64
	n             int64 // taken
	buf           []byte
	wrong         error // the first envelope that cannot be decoded
}

const (
	getBatch  = 4096
	ackBatch  = 64 // what at most is written twice when a consumer dies
	bufTarget = 1 << 20
)

var errBatch = errors.New("batch is full")

func (g *getter) run(ctx context.Context) error {
	step := g.many
	switch {
	case g.q.Ack():
		step = g.acknowledged
	case g.json:
		step = g.enveloped
	case g.noWait:
		step = g.now
	}
	for g.left > 0 {
		err := step(ctx)
		if e := g.flush(); e != nil {
			return e
		}
		if err != nil {
			return g.end(ctx, err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return g.wrong
}

// end turns what ended the loop into what the user hears.
func (g *getter) end(ctx context.Context, err error) error {
	of := ""
	if !g.follow && g.count > 1 {
		of = fmt.Sprintf(" after %s of %s messages", grouped(g.n), grouped(g.count))
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, shiplap.ErrClosed) && (g.follow || g.drain), errors.Is(err, shiplap.ErrEmpty) && g.drain:
		return g.wrong
	case errors.Is(err, shiplap.ErrClosed):
		return exitError{error: fmt.Errorf("queue %q: %w and drained%s", g.name, shiplap.ErrClosed, of), code: exitEnded}
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("queue %q: %w: no message within %v%s", g.name, shiplap.ErrEmpty, g.timeout, of)
	case isAny(err, shiplap.ErrEmpty, shiplap.ErrBusy):
		return fmt.Errorf("queue %q: %w%s", g.name, err, of)
	}
	return err
}

func (g *getter) add(msg []byte) {
	g.buf = append(g.buf, msg...)
	if !g.raw {
		g.buf = append(g.buf, '\n')
	}
	g.n++
	g.left--
}

// addObject adds a message and its envelope as an object of JSON, with the error if the envelope cannot be
// decoded.
func (g *getter) addObject(msg []byte, env shiplap.Envelope, wrong error) error {
	if wrong != nil && g.wrong == nil {
		g.wrong = exitError{fmt.Errorf("message %d: %w", g.n+1, wrong), exitFailure,
			"its envelope is shown as it is, in base64; get without --json leaves envelopes out"}
	}
	b, err := appendEnvelope(g.wording.appendAny(nil, msg), env, wrong)
	if err == nil {
		g.add(b)
	}
	return err
}

// enveloped takes one message with its envelope, and then what is there, until that is enough to be written.
func (g *getter) enveloped(ctx context.Context) error {
	try := func() error { return g.takeObject(g.q.TryGetWith(nil)) }
	take := func(wait context.Context) error { return g.takeObject(g.q.GetWith(wait, nil)) }
	err := g.either(ctx, try, take)
	for n := 1; err == nil && n < getBatch && g.left > 0 && len(g.buf) < bufTarget; n++ {
		err = now(ctx, try)
		if !g.noWait && isAny(err, shiplap.ErrEmpty, shiplap.ErrBusy) {
			return nil // the next one is waited for
		}
	}
	return err
}

func (g *getter) takeObject(msg []byte, env shiplap.Envelope, err error) error {
	if _, ok := errors.AsType[*queue.UndecodableError](err); err != nil && !ok {
		return err
	}
	return g.addObject(msg, env, err)
}

// flush writes what was taken. There is never anything held back while we wait.
func (g *getter) flush() error {
	if len(g.buf) == 0 {
		return nil
	}
	_, err := g.w.Write(g.buf)
	g.buf = g.buf[:0]
	if err != nil && !g.q.Ack() {
		return fmt.Errorf("%w; what was taken last is lost: a queue made with --ack would keep it", err)
	}
	return err
}

func (g *getter) many(ctx context.Context) error {
	wait, cancel := g.context(ctx)
	defer cancel()
	_, err := g.q.GetMany(wait, int(min(g.left, getBatch)), func(msg []byte) error {
		if g.add(msg); len(g.buf) > bufTarget {
			return errBatch
		}
		return nil
	})
	if errors.Is(err, errBatch) {
		return nil
	}
	return err
}

func (g *getter) now(ctx context.Context) error {
	for g.left > 0 && len(g.buf) < bufTarget {
		err := now(ctx, func() (err error) {
			g.buf, err = g.q.TryGet(g.buf)
			return err
		})
		if err != nil {
			return err
		}
		g.add(nil)
	}
	return nil
}

// acknowledged takes some deliveries, writes them, and only then acknowledges them.
func (g *getter) acknowledged(ctx context.Context) error {
	var held []*queue.RawDelivery
	hold := func(d *queue.RawDelivery, err error) error {
		if err != nil {
			return err
		}
		held = append(held, d)
		if g.json {
			env, err := d.Envelope()
			return g.addObject(d.Body, env, err)
		}
		g.add(d.Body)
		return nil
	}
	err := g.first(ctx, hold)
	if err != nil {
		return err
	}
	for err == nil && len(held) < ackBatch && g.left > 0 && len(g.buf) < bufTarget {
		err = hold(g.q.TryReceive())
	}
	if e := g.flush(); e != nil {
		return e // closing the queue gives them back
	}
	for _, d := range held {
		if e := d.Ack(); e != nil {
			return e
		}
	}
	if isAny(err, shiplap.ErrEmpty, shiplap.ErrBusy, shiplap.ErrClosed) {
		return nil // the next receive tells, if it is so still
	}
	return err
}

// first waits for a delivery, as long as it may.
func (g *getter) first(ctx context.Context, hold func(*queue.RawDelivery, error) error) error {
	if g.noWait {
		return now(ctx, func() error { return hold(g.q.TryReceive()) })
	}
	wait, cancel := g.context(ctx)
	defer cancel()
	return hold(g.q.Receive(wait))
}
