package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

func newQueuePutCmd(at *place) *cobra.Command {
	p := &putter{}
	var raw bool
	var chunk size
	var messages []string
	cmd := &cobra.Command{
		Use:   "put NAME [FILE…]",
		Short: "Put lines, or files, into a queue",
		Long: `Put each line of the files, or of standard input, as one message, without its newline. Lines are put as
they come. While the queue is full, put waits.

With --raw, each file, or all of standard input, is one message; with --chunk it is cut into messages
of that size (the last one may be shorter). Nothing is added that tells where they were cut.

` + envelopeHelp + `

What put has reported (exit code 0) is in the queue, whoever dies.`,
		Example: `  seq 1000000 | shiplap queue put numbers
  shiplap queue put jobs -m "resize 1.png" -m "resize 2.png"
  shiplap queue put jobs -m "resize 3.png" --envelope traceparent=00-4bf9-00f0-01
  shiplap queue put images --raw *.png
  shiplap queue put blocks --raw --chunk 64K < disk.img`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: first(at.names("queue")),
		RunE: func(cmd *cobra.Command, args []string) error {
			if chunk > 0 && !raw {
				return usagef("--chunk cuts what --raw reads; lines are cut at newlines")
			}
			if len(messages) > 0 && (raw || len(args) > 1) {
				return usagef("--message puts its text and reads no input")
			}
			return at.withQueue(args[0], raw, func(q *queue.Raw) error {
				p.q, p.name = q, args[0]
				err := p.run(cmd, args[1:], messages, raw, int(chunk))
				if err != nil && p.n > 0 {
					err = fmt.Errorf("%w (%s messages were put before that)", err, grouped(p.n))
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "each input is one message, as it is")
	cmd.Flags().Var(&chunk, "chunk", "with --raw: `size` of the messages to cut the input into")
	cmd.Flags().StringArrayVarP(&messages, "message", "m", nil, "put this `text` instead of input; may be repeated")
	p.envelope.bind(cmd)
	p.flags(cmd, "for room")
	return cmd
}

type putter struct {
	patience
	q        *queue.Raw
	name     string
	envelope envelopeFlag
	n        int64 // messages put
}

func (p *putter) run(cmd *cobra.Command, files, messages []string, raw bool, chunk int) error {
	ctx := cmd.Context()
	if len(messages) > 0 {
		var msgs [][]byte
		for _, m := range messages {
			msgs = append(msgs, []byte(m))
		}
		return p.put(ctx, msgs)
	}
	return inputs(cmd.InOrStdin(), files, func(name string, r io.Reader) error {
		in := newFeed(ctx, r, 256<<10)
		if raw {
			return p.chunks(ctx, name, in, chunk)
		}
		return p.lines(ctx, name, in)
	})
}

func (p *putter) lines(ctx context.Context, name string, in *feed) error {
	var carry []byte // the beginning of a line
	var msgs [][]byte
	line, most := int64(0), p.q.MaxMessage()
	tooLong := func(n int) error {
		return exitError{fmt.Errorf("%s: line %d: %w: it has %d bytes or more, the queue takes messages of up to %d",
			name, line, shiplap.ErrTooLarge, n, most), exitFailure, "a queue with more --capacity"}
	}
	for {
		b, err := in.next()
		if err == io.EOF {
			if len(carry) > 0 {
				return p.put(ctx, [][]byte{carry})
			}
			return nil
		}
		if err != nil {
			return err
		}
		msgs = msgs[:0]
		for {
			text, rest, found := bytes.Cut(b, []byte{'\n'})
			if n := len(carry) + len(text); n > most {
				line++
				return errors.Join(p.put(ctx, msgs), tooLong(n))
			}
			if !found {
				break
			}
			if len(carry) > 0 {
				text, carry = append(carry, text...), nil
			}
			msgs, b = append(msgs, text), rest
			line++
		}
		if err := p.put(ctx, msgs); err != nil {
			return err
		}
		carry = append(carry, b...)
	}
}

func (p *putter) chunks(ctx context.Context, name string, in *feed, chunk int) error {
	most := p.q.MaxMessage()
	if chunk > most {
		return exitError{fmt.Errorf("--chunk: %w: %d bytes, the queue takes messages of up to %d", shiplap.ErrTooLarge, chunk, most),
			exitFailure, "a smaller --chunk, or a queue with more --capacity"}
	}
	var msg []byte
	for any := false; ; any = true {
		b, err := in.next()
		if err == io.EOF {
			if len(msg) > 0 || !any && chunk == 0 {
				return p.put(ctx, [][]byte{msg})
			}
			return nil
		}
		if err != nil {
			return err
		}
		for chunk > 0 && len(msg)+len(b) >= chunk {
			k := chunk - len(msg)
			if err := p.put(ctx, [][]byte{append(msg, b[:k]...)}); err != nil {
				return err
			}
			msg, b = msg[:0], b[k:]
		}
		msg = append(msg, b...)
		if len(msg) > most {
			return exitError{fmt.Errorf("%s: %w: it has more than the %d bytes that a message of this queue can have", name, shiplap.ErrTooLarge, most),
				exitFailure, "cut it with --chunk, or make a queue with more --capacity"}
		}
	}
}

func (p *putter) put(ctx context.Context, msgs [][]byte) error {
	if p.envelope.env != nil {
		return p.putEnveloped(ctx, msgs)
	}
	if p.noWait {
		return p.putNow(ctx, msgs)
	}
	for len(msgs) > 0 {
		wait, cancel := p.context(ctx)
		n, err := p.q.PutMany(wait, msgs)
		cancel()
		p.n += int64(n)
		msgs = msgs[n:]
		switch {
		case err == nil:
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			if n == 0 {
				return fmt.Errorf("queue %q: %w: no room within %v", p.name, shiplap.ErrFull, p.timeout)
			}
		default:
			return err
		}
	}
	return nil
}

func (p *putter) putEnveloped(ctx context.Context, msgs [][]byte) error {
	for _, m := range msgs {
		err := p.either(ctx, func() error { return p.q.TryPutWith(m, p.envelope.env) },
			func(wait context.Context) error { return p.q.PutWith(wait, m, p.envelope.env) })
		switch {
		case err == nil:
		case p.noWait && isAny(err, shiplap.ErrFull, shiplap.ErrBusy):
			return fmt.Errorf("queue %q: %w", p.name, err)
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			return fmt.Errorf("queue %q: %w: no room within %v", p.name, shiplap.ErrFull, p.timeout)
		case errors.Is(err, shiplap.ErrTooLarge):
			return exitError{err, exitFailure, "a smaller envelope, or a queue with more --capacity"}
		default:
			return err
		}
		p.n++
	}
	return nil
}

func (p *putter) putNow(ctx context.Context, msgs [][]byte) error {
	for _, m := range msgs {
		if err := now(ctx, func() error { return p.q.TryPut(m) }); err != nil {
			if isAny(err, shiplap.ErrFull, shiplap.ErrBusy) {
				err = fmt.Errorf("queue %q: %w", p.name, err)
			}
			return err
		}
		p.n++
	}
	return nil
}
