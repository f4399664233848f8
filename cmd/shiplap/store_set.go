package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/store"
)

func newStoreSetCmd(at *place) *cobra.Command {
	c := &setter{}
	cmd := &cobra.Command{
		Use:   "set NAME KEY [VALUE]",
		Short: "Give a key a value",
		Long: `Give a key a value: VALUE, or a file with --file, or standard input. A file is taken as it is; of standard input a newline at its end
is dropped, unless --raw. With --json the value has to be JSON, and programs are told that it is.

Without --ttl or --keep-ttl the value does not expire, also if the one before did. With --if-absent only a key that has no value gets
one, with --rev only one whose last change has that revision; otherwise the exit code is 1 and nothing is changed.

What set has reported (exit code 0) is in the store, whoever dies. A VALUE that begins with a minus stands behind --.`,
		Example: `  shiplap store set config color green
  shiplap store set sessions 7f3a alice --ttl 30m
  shiplap store set images logo.png --file logo.png
  date | shiplap store set config started
  shiplap store set jobs leader "$HOSTNAME.$$" --if-absent --ttl 10s && echo "I lead"
  shiplap store set config limits '{"cpu": 2}' --json --rev 41
  shiplap store set config offset -- -5`,
		Args:              cobra.RangeArgs(2, 3),
		ValidArgsFunction: at.storeAndKey,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.check(cmd, args[1:]); err != nil {
				return err
			}
			return at.withStore(args[0], func(s *store.Store) error {
				value, err := c.value(cmd, args[2:])
				if err != nil {
					return err
				}
				rev, err := c.set(cmd, s, args[1], value)
				if err == nil && c.show {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), rev)
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&c.file, "file", "f", "", "take the value from this `file`; - is standard input")
	f.BoolVar(&c.raw, "raw", false, "take standard input exactly as it is")
	f.BoolVar(&c.json, "json", false, "the value is JSON")
	f.DurationVar(&c.ttl, "ttl", 0, "let it expire after this `time`, as in 500ms, 30s or 24h")
	f.BoolVar(&c.keep, "keep-ttl", false, "let it expire when the old value would have")
	f.BoolVar(&c.absent, "if-absent", false, "only if the key has no value")
	f.Uint64Var(&c.rev, "rev", 0, "only if the last change of the key has this `revision`")
	f.BoolVar(&c.show, "show-rev", false, "write the revision of the change")
	c.writerFlag(cmd)
	cmd.MarkFlagsMutuallyExclusive("ttl", "keep-ttl")
	cmd.MarkFlagsMutuallyExclusive("if-absent", "rev")
	cmd.SetFlagErrorFunc(minusFirst("NAME KEY -- -5"))
	return cmd
}

type setter struct {
	patience
	file                          string
	raw, json, keep, absent, show bool
	ttl                           time.Duration
	rev                           uint64
}

func (c *setter) check(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) > 1 && (c.file != "" || c.raw):
		return usagef("VALUE, --file and --raw: a value comes from one place")
	case c.raw && c.file != "" && c.file != "-":
		return usagef("--raw is about standard input; a file is taken as it is anyway")
	case cmd.Flag("ttl").Changed && c.ttl <= 0:
		return usagef("--ttl %v: more than nothing; shiplap store del takes a key away", c.ttl)
	case cmd.Flag("rev").Changed && c.rev == 0:
		return usagef("--rev 0: revisions begin with 1; --if-absent is for keys that have no value")
	}
	return checkKey(args[0])
}

func checkKey(key string) error {
	if len(key) > store.MaxKey {
		return usagef("a key of %s bytes: at most %s are possible", grouped(len(key)), grouped(store.MaxKey))
	}
	return nil
}

// value is what shall be stored.
func (c *setter) value(cmd *cobra.Command, args []string) ([]byte, error) {
	b := []byte(nil)
	if len(args) > 0 {
		b = []byte(args[0])
	} else {
		name := c.file
		if name == "" {
			name = "-"
		}
		err := input(cmd.InOrStdin(), name, func(name string, r io.Reader) (err error) {
			b, err = readAll(cmd.Context(), name, r, store.MaxValue, "keep it in a file, and the file's name in the store")
			return err
		})
		if err != nil {
			return nil, err
		}
		if name == "-" && !c.raw {
			b = bytes.TrimSuffix(b, []byte{'\n'})
		}
	}
	if c.json {
		var v json.RawMessage
		if err := json.Unmarshal(b, &v); err != nil {
			return nil, usagef("%.60q is no JSON: %w", b, err)
		}
		b = bytes.TrimSpace(b)
	}
	return b, nil
}

// readAll reads all input of at most so many bytes; next is the hint for more.
func readAll(ctx context.Context, name string, r io.Reader, most int, next string) ([]byte, error) {
	var all []byte
	for in := newFeed(ctx, r, 256<<10); ; {
		b, err := in.next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if all = append(all, b...); len(all) > most {
			return nil, exitError{fmt.Errorf("%s: %w: it has more than the %s bytes that are possible", name, shiplap.ErrTooLarge, grouped(most)), exitFailure, next}
		}
	}
}

func (c *setter) set(cmd *cobra.Command, s *store.Store, key string, value []byte) (rev uint64, err error) {
	var opts []store.SetOption
	if c.json {
		opts = append(opts, store.Encoded(store.FormatJSON))
	}
	switch {
	case c.keep:
		opts = append(opts, store.KeepTTL())
	case c.ttl > 0:
		opts = append(opts, store.TTL(c.ttl))
	}
	ctx, cancel := c.context(cmd.Context())
	defer cancel()
	k := keyed{cmd: cmd, store: s, key: key, patience: c.patience}
	switch {
	case c.absent:
		rev, err = s.Create(ctx, key, value, opts...)
	case c.rev > 0:
		rev, err = s.Update(ctx, key, value, c.rev, opts...)
		if isAny(err, shiplap.ErrConflict, shiplap.ErrNotExist) {
			return 0, k.conflict(c.rev)
		}
	default:
		rev, err = s.Set(ctx, key, value, opts...)
	}
	return rev, k.explain(cmd.Context(), err)
}

func newStoreDelCmd(at *place) *cobra.Command {
	var p patience
	var rev uint64
	var force bool
	cmd := &cobra.Command{
		Use:     "del NAME KEY…",
		Aliases: []string{"delete"},
		Short:   "Take keys away",
		Long: `Take keys away, with their values. Of several, all that are there go, and one that is not is exit code 3 at the end; --force makes that no
error. With --rev the key goes only if its last change has that revision; otherwise the exit code is 1.`,
		Example: `  shiplap store del config color
  shiplap store del config color --rev 41
  shiplap store ls sessions 'tmp:*' --keys | xargs -d '\n' shiplap store del sessions`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: at.keysOf,
		RunE: func(cmd *cobra.Command, args []string) error {
			byRev := cmd.Flag("rev").Changed
			if byRev && (rev == 0 || len(args) > 2) {
				return usagef("--rev %d with %d keys: a revision, from 1 on, is that of one key", rev, len(args)-1)
			}
			return at.withStore(args[0], func(s *store.Store) error {
				ctx, cancel := p.context(cmd.Context())
				defer cancel()
				var missing error
				for _, key := range args[1:] {
					k := keyed{cmd: cmd, store: s, key: key, patience: p}
					var err error
					if byRev {
						err = s.DeleteRev(ctx, key, rev)
					} else {
						err = s.Delete(ctx, key)
					}
					switch {
					case err == nil || force && errors.Is(err, shiplap.ErrNotExist):
					case errors.Is(err, shiplap.ErrConflict):
						return k.conflict(rev)
					case errors.Is(err, shiplap.ErrNotExist):
						if missing == nil {
							missing = k.explain(cmd.Context(), err)
						}
					default:
						return k.explain(cmd.Context(), err)
					}
				}
				return missing
			})
		},
	}
	cmd.Flags().Uint64Var(&rev, "rev", 0, "only if the last change of the key has this `revision`")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "fine if there is no such key")
	p.writerFlag(cmd)
	return cmd
}

func newStoreAddCmd(at *place) *cobra.Command {
	var p patience
	cmd := &cobra.Command{
		Use:   "add NAME KEY [NUMBER]",
		Short: "Count: add to a number, and write the sum",
		Long: `Add a whole number, 1 if none is given, to the value of a key in one step, and write the sum to standard output. A key without a value counts as
0. The number stands in the store as decimal text, so that get and set work with it. When it expires does not change.

` + flagsFirst,
		Example: `  shiplap store add stats visitors
  shiplap store add stats stock -3`,
		Args:              cobra.RangeArgs(2, 3),
		ValidArgsFunction: at.storeAndKey,
		RunE: func(cmd *cobra.Command, args []string) error {
			delta := int64(1)
			if len(args) > 2 {
				var err error
				if delta, err = strconv.ParseInt(args[2], 0, 64); err != nil {
					return usagef("%.60q is no whole number of 64 bits", args[2])
				}
			}
			return at.withStore(args[0], func(s *store.Store) error {
				ctx, cancel := p.context(cmd.Context())
				defer cancel()
				sum, err := s.Add(ctx, args[1], delta)
				if err != nil {
					k := keyed{cmd: cmd, store: s, key: args[1], patience: p}
					if errors.Is(err, shiplap.ErrTooLarge) {
						return exitError{err, exitFailure, "start again from a smaller number: " + k.command("set", quoted(k.key)+" 0")}
					}
					return k.explain(cmd.Context(), err)
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), sum)
				return err
			})
		},
	}
	p.writerFlag(cmd)
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func newStoreClearCmd(at *place) *cobra.Command {
	var p patience
	cmd := &cobra.Command{
		Use:   "clear NAME",
		Short: "Take all keys away",
		Long: `Take all keys away, as one change. Their memory comes back little by little, with later changes. The store itself stays; shiplap rm
takes it away.`,
		Example:           `  shiplap store clear cache`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(at.names("store")),
		RunE: func(cmd *cobra.Command, args []string) error {
			return at.withStore(args[0], func(s *store.Store) error {
				ctx, cancel := p.context(cmd.Context())
				defer cancel()
				k := keyed{cmd: cmd, store: s, patience: p}
				return k.explain(cmd.Context(), s.Clear(ctx))
			})
		},
	}
	p.writerFlag(cmd)
	return cmd
}
