package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap/store"
)

func newStoreDumpCmd(at *place) *cobra.Command {
	var prefix, file string
	cmd := &cobra.Command{
		Use:   "dump NAME",
		Short: "Write all keys as lines of JSON",
		Long: `Write all keys with their values, as of one moment and sorted, an object of JSON a line: "key" and "value", or "key_base64" and "value_base64" for what is no
text; "format" if it is JSON or CBOR; "revision"; "expires". shiplap store load reads it. A file appears when it is complete.`,
		Example: `  shiplap store dump config -o config.jsonl
  shiplap store dump config | shiplap --domain test store load config
  shiplap store dump sessions --prefix user: | jq -r .key`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(at.names("store")),
		RunE: func(cmd *cobra.Command, args []string) error {
			return at.withStore(args[0], func(s *store.Store) error {
				if file == "" || file == "-" {
					_, err := s.Dump(cmd.Context(), cmd.OutOrStdout(), prefix)
					return err
				}
				st, err := s.Stats()
				if err != nil {
					return err
				}
				var n int
				err = writeWhole(file, func(w io.Writer) (err error) {
					m := startMeter(cmd.ErrOrStderr(), st.Used < metered, 0, "writing")
					n, err = s.Dump(cmd.Context(), meteredWriter{w, m}, prefix)
					m.stop(err == nil)
					return err
				})
				if err == nil {
					fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s\n", counted(n, "key"))
				}
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "write to this `file`")
	cmd.Flags().StringVarP(&prefix, "prefix", "p", "", "only the keys that begin with this `text`")
	return cmd
}

func newStoreLoadCmd(at *place) *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "load NAME [FILE…]",
		Short: "Set what a dump has",
		Long: `Set the keys of a dump, of standard input if no file is named, one after the other. Keys that are not in it stay as they are (clear the store before, if they
shall not); what has expired since is left out; revisions are new ones.

A line that is none of a dump ends it; the message says which one, and how many keys were set before. Progress is shown if standard error
is a terminal.`,
		Example: `  shiplap store load config config.jsonl
  zcat config.jsonl.gz | shiplap store load config`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: first(at.names("store")),
		RunE: func(cmd *cobra.Command, args []string) error {
			return at.withStore(args[0], func(s *store.Store) error {
				ctx := cmd.Context()
				m := startMeter(cmd.ErrOrStderr(), quiet, 0, "reading")
				total := 0
				err := inputs(cmd.InOrStdin(), args[1:], func(name string, r io.Reader) error {
					n, err := s.Load(ctx, &feedReader{feed: newFeed(ctx, r, 256<<10), m: m})
					total += n
					if err != nil && ctx.Err() == nil {
						k := keyed{cmd: cmd, store: s}
						err = k.explain(ctx, fmt.Errorf("%s: %w (%s set before that)", name, err, counted(total, "key")))
					}
					return err
				})
				m.stop(err == nil)
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err == nil && !quiet {
					fmt.Fprintf(cmd.ErrOrStderr(), "set %s\n", counted(total, "key"))
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "show no progress and no count")
	return cmd
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return grouped(n) + " " + what
}

// feedReader is a feed as a reader, with a meter.
type feedReader struct {
	*feed
	m    *meter
	rest []byte
}

func (f *feedReader) Read(p []byte) (int, error) {
	if len(f.rest) == 0 {
		var err error
		if f.rest, err = f.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	f.m.add(n)
	return n, nil
}
