package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/shared"
)

func newValueGetCmd(at *place) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get NAME",
		Short: "Write a value",
		Long: `Write a value to standard output: a number as it is, a record as JSON on one line. With --json a number is JSON as well.

It takes no lock and needs nobody alive.`,
		Example: `  shiplap value get visitors
  shiplap value get origin | jq .X`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(at.names("value")),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return at.withValue(args[0], func(v *shared.RawValue, l *schema.Layout) error {
			b, err := v.Load(nil)
			if err != nil {
				return err
			}
			return printValue(cmd, l, b, *asJSON)
		})
	}
	return cmd
}

func printValue(cmd *cobra.Command, l *schema.Layout, b []byte, asJSON bool) error {
	form := appendText
	if asJSON {
		form = appendJSON
	}
	_, err := cmd.OutOrStdout().Write(append(form(nil, l, b), '\n'))
	return err
}

const flagsFirst = "Flags stand before NAME: what follows it is taken as it is, so that a value may begin with a minus."

func newValueSetCmd(at *place) *cobra.Command {
	var p valuePatience
	var old string
	cmd := &cobra.Command{
		Use:   "set NAME VALUE",
		Short: "Write a new value",
		Long: `Write a new value. With --if it is only written if the value is the one given, in one step; otherwise the exit code is 1.

` + flagsFirst,
		Example: `  shiplap value set limit 0.5
  shiplap value set --if 0 leader 42 && echo "I am"
  shiplap value set origin '{"X": 0, "Y": 0}'`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: first(at.names("value")),
		RunE: func(cmd *cobra.Command, args []string) error {
			return at.withValue(args[0], func(v *shared.RawValue, l *schema.Layout) error {
				b, err := parseLiteral(l, args[1])
				if err != nil {
					return err
				}
				ctx, cancel := p.context(cmd.Context())
				defer cancel()
				if !cmd.Flag("if").Changed {
					return p.explain(ctx, v, v.Store(ctx, b))
				}
				was, err := parseLiteral(l, old)
				if err != nil {
					return err
				}
				done, err := v.CompareAndSwap(ctx, was, b)
				if err != nil || done {
					return p.explain(ctx, v, err)
				}
				now, err := v.Load(nil)
				if err != nil {
					return err
				}
				return exitError{fmt.Errorf("value %q: %w: it is %s, not %s", args[0], shiplap.ErrConflict, describeValue(l, now), describeValue(l, was)), exitFailure, ""}
			})
		},
	}
	cmd.Flags().StringVar(&old, "if", "", "only if it is this `value`")
	p.flags(cmd)
	return cmd
}

func newValueAddCmd(at *place) *cobra.Command {
	var p valuePatience
	cmd := &cobra.Command{
		Use:   "add NAME NUMBER",
		Short: "Add to a number, and write the sum",
		Long: `Add a number to the value, in one step, and write the sum to standard output. A sum that the type cannot hold is an error, and
changes nothing.

` + flagsFirst,
		Example: `  shiplap value add visitors 1
  shiplap value add visitors -3`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: first(at.names("value")),
		RunE: func(cmd *cobra.Command, args []string) error {
			return at.withValue(args[0], func(v *shared.RawValue, l *schema.Layout) error {
				ctx, cancel := p.context(cmd.Context())
				defer cancel()
				sum, err := v.Update(ctx, func(b []byte) error { return addLiteral(l, b, args[1]) })
				if err != nil {
					return p.explain(ctx, v, err)
				}
				return printValue(cmd, l, sum, false)
			})
		},
	}
	p.flags(cmd)
	return cmd
}

func newValueSwapCmd(at *place) *cobra.Command {
	var p valuePatience
	cmd := &cobra.Command{
		Use:   "swap NAME VALUE",
		Short: "Write a new value, and show the old one",
		Long: `Write a new value and write the one before to standard output, in one step.

` + flagsFirst,
		Example:           `  shiplap value swap next 0`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: first(at.names("value")),
		RunE: func(cmd *cobra.Command, args []string) error {
			return at.withValue(args[0], func(v *shared.RawValue, l *schema.Layout) error {
				b, err := parseLiteral(l, args[1])
				if err != nil {
					return err
				}
				ctx, cancel := p.context(cmd.Context())
				defer cancel()
				old, err := v.Swap(ctx, b)
				if err != nil {
					return p.explain(ctx, v, err)
				}
				return printValue(cmd, l, old, false)
			})
		},
	}
	p.flags(cmd)
	return cmd
}

// valuePatience bounds the wait for another writer of a record.
type valuePatience struct{ timeout time.Duration }

func (p *valuePatience) flags(cmd *cobra.Command) {
	cmd.Flags().DurationVarP(&p.timeout, "timeout", "t", 0, "longest wait for another writer, as in 500ms or 10s (default: for ever)")
	cmd.Flags().SetInterspersed(false) // values may begin with a minus
}

func (p *valuePatience) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, p.timeout)
}

func (p *valuePatience) explain(ctx context.Context, v *shared.RawValue, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return fmt.Errorf("value %q: %w: another process has been writing it for %v", v.Name(), shiplap.ErrBusy, p.timeout)
	}
	return err
}

func newValueWatchCmd(at *place) *cobra.Command {
	var p patience
	var count int
	cmd := &cobra.Command{
		Use:   "watch NAME",
		Short: "Write a value whenever it changes",
		Long: `Write the value, and then each new one, a line each, until the value is removed or --count lines are written. A value that
only passes by may be missed.`,
		Example: `  shiplap value watch visitors
  shiplap value watch progress --count 2 --timeout 1m`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(at.names("value")),
	}
	cmd.Flags().IntVarP(&count, "count", "c", 0, "end after `N` lines (default: never)")
	cmd.Flags().DurationVarP(&p.timeout, "timeout", "t", 0, "longest wait for the next change (default: for ever)")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if count < 0 {
			return usagef("--count %d: at least 0", count)
		}
		return at.withValue(args[0], func(v *shared.RawValue, l *schema.Layout) error {
			var last []byte
			for n := 0; count == 0 || n < count; n++ {
				ctx, cancel := p.context(cmd.Context())
				b, err := v.WaitUntil(ctx, func(b []byte) bool { return !bytes.Equal(b, last) })
				cancel()
				if errors.Is(err, context.DeadlineExceeded) && cmd.Context().Err() == nil {
					return fmt.Errorf("value %q: %w: no change within %v", args[0], shiplap.ErrEmpty, p.timeout)
				}
				if err != nil {
					return err
				}
				if err := printValue(cmd, l, b, *asJSON); err != nil {
					return err
				}
				last = b
			}
			return nil
		})
	}
	return cmd
}
