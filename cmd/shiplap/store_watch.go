package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/store"
)

func newStoreWatchCmd(at *place) *cobra.Command {
	var p patience
	var opt store.WatchOptions
	var count int
	cmd := &cobra.Command{
		Use:   "watch NAME [PATTERN]",
		Short: "Write what changes, until Ctrl-C",
		Long: `Write a line for each change of a key, or of all: "set", the key and the value, or "del" and the key, separated by tabs. A key
or value with control characters stands in quotes, with \n and the like. With --json, an object a line. It goes on until it is interrupted, the store is removed,
or --count lines are written.

The last value of every key is told, and its end, also when it expires. Values that were replaced at once may be left out. --initial begins with what is
there already.

` + patternHelp,
		Example: `  shiplap store watch config
  shiplap store watch config color --initial --count 1       # as get, but waits for the key
  shiplap store watch sessions 'user:*' --json | jq -r .key
  shiplap store watch config reload | while read -r line; do systemctl reload app; done`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: at.storeAndKey,
	}
	cmd.Flags().BoolVarP(&opt.Initial, "initial", "i", false, "begin with what is there")
	cmd.Flags().IntVarP(&count, "count", "c", 0, "end after `N` lines (default: never)")
	cmd.Flags().DurationVarP(&p.timeout, "timeout", "t", 0, "longest wait for the next change, as in 500ms or 10s (default: for ever)")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if count < 0 {
			return usagef("--count %d: at least 0", count)
		}
		pattern := "*"
		if len(args) > 1 {
			pattern = args[1]
		}
		return at.withStore(args[0], func(s *store.Store) error {
			return watchStore(cmd, s, pattern, &opt, count, p.timeout, *asJSON)
		})
	}
	return cmd
}

var errNoChange = errors.New("no change")

func watchStore(cmd *cobra.Command, s *store.Store, pattern string, opt *store.WatchOptions, count int, timeout time.Duration, asJSON bool) error {
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	limit := &time.Timer{}
	if timeout > 0 {
		limit = time.AfterFunc(timeout, func() { cancel(errNoChange) })
		defer limit.Stop()
	}
	n := 0
	for e, err := range s.Watch(ctx, pattern, opt) {
		switch {
		case errors.Is(err, errNoChange):
			of := ""
			if count > 1 {
				of = fmt.Sprintf(" after %s of %s", grouped(n), grouped(count))
			}
			return fmt.Errorf("store %q: %w: no change within %v%s", s.Name(), shiplap.ErrEmpty, timeout, of)
		case err != nil:
			return err
		}
		if err := writeEvent(cmd.OutOrStdout(), &e, asJSON); err != nil {
			return err
		}
		if n++; n == count {
			return nil
		}
		if timeout > 0 {
			limit.Reset(timeout)
		}
	}
	return nil
}

func writeEvent(w io.Writer, e *store.Event, asJSON bool) error {
	name := "set"
	if e.Deleted {
		name = "del"
	}
	var b []byte
	if asJSON {
		j := entryOf(&e.Entry, !e.Deleted)
		if e.Deleted {
			j.Size, j.Format = nil, ""
		}
		j.Event = name
		var err error
		if b, err = schema.JSON.Append(nil, j); err != nil {
			return err
		}
	} else {
		b = append(append(append(b, name...), '\t'), cell(e.Key)...)
		if !e.Deleted {
			text, err := textOf(&e.Entry)
			if err != nil {
				text = e.Value
			}
			b = append(append(b, '\t'), cell(string(text))...)
		}
	}
	_, err := w.Write(append(b, '\n'))
	return err
}
