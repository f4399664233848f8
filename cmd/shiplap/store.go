package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/store"
)

const patternHelp = `A PATTERN is a key, or the beginning of keys and a "*" behind it; in a shell that wants quotes: 'user:*'.`

func newStoreCmd(at *place) *cobra.Command {
	return group("store", "Keep values under keys: get, set, count, watch",
		`A store is a dictionary that processes share: keys with values, without a server. A process may be killed in the middle of a
change: every key keeps its last value, and the others go on. Readers wait for nobody.

Each change of a key has a revision, a number that only grows (those of different keys say nothing about their order); --rev
changes a key only if nobody else did meanwhile. A value may expire. Programs use the same stores with package store.

`+patternHelp,
		newStoreCreateCmd(at), newStoreGetCmd(at), newStoreSetCmd(at), newStoreDelCmd(at), newStoreAddCmd(at), newStoreLsCmd(at),
		newStoreWatchCmd(at), newStoreDumpCmd(at), newStoreLoadCmd(at), newStoreClearCmd(at), newStoreLockCmd(at),
		newStoreLocksCmd(at), newStoreStatCmd(at))
}

func newStoreCreateCmd(at *place) *cobra.Command {
	var opt store.Options
	capacity, reserve := size(store.DefaultMaxBytes), size(0)
	var existOK bool
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a store",
		Long: `Make a store. It has its largest size from the beginning, --capacity, but takes memory only as it needs it; --reserve takes some now, so
that a full /dev/shm is an error now and not later.

When nothing fits any more, set fails; with --evict, entries that were not read lately make room instead: a cache.`,
		Example: `  shiplap store create config
  shiplap store create sessions --capacity 1G --keys 1000000
  shiplap store create cache --capacity 256M --evict`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if opt.Keys < 0 || opt.Locks < 0 {
				return usagef("--keys %d --locks %d: at least 0", opt.Keys, opt.Locks)
			}
			d, err := at.join()
			if err != nil {
				return err
			}
			defer d.Close()
			opt.MaxBytes, opt.Reserve = int64(capacity), int64(reserve)
			s, err := store.Create(d, args[0], &opt)
			if existOK && errors.Is(err, shiplap.ErrExist) {
				s, err = openStoreAs(d, args[0], opt.Evict)
			}
			if err != nil {
				return err
			}
			return s.Close()
		},
	}
	f := cmd.Flags()
	f.VarP(&capacity, "capacity", "c", "largest `size`")
	f.Var(&reserve, "reserve", "`size` that is set aside now")
	f.IntVar(&opt.Keys, "keys", 0, "how many keys are expected: `N` (default: one for each KiB of the capacity)")
	f.IntVar(&opt.Locks, "locks", 0, "how many keys can be locked at a time: `N` (default 256, or 64 in a store below 4M)")
	f.BoolVar(&opt.Evict, "evict", false, "make room by taking away what was not read lately")
	f.StringVar(&opt.Label, "label", "", "`text` for people, shown by ls and stat")
	f.BoolVar(&existOK, "exist-ok", false, "fine if it is there already, whatever its size")
	return cmd
}

// openStoreAs opens a store that was to be made and is there.
func openStoreAs(d *shiplap.Domain, name string, evict bool) (*store.Store, error) {
	s, err := store.Open(d, name, nil)
	if err != nil {
		return nil, err
	}
	st, err := s.Stats()
	if err == nil && st.Evict != evict {
		err = fmt.Errorf("store %q: %w: it is there with --evict=%t", name, shiplap.ErrExist, st.Evict)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// withStore runs f with an open store and closes it again.
func (p *place) withStore(name string, f func(*store.Store) error) error {
	d, err := p.find()
	if err != nil {
		return err
	}
	defer d.Close()
	s, err := store.Open(d, name, nil)
	if err != nil {
		return err
	}
	return errors.Join(f(s), s.Close())
}

// keyed is a command about one key of a store, for the errors that it may come to.
type keyed struct {
	cmd   *cobra.Command
	store *store.Store
	key   string
	patience
}

// command is a command of the same store and key, for hints.
func (k *keyed) command(verb, rest string) string {
	c := "shiplap store " + verb + sameDomain(k.cmd) + " " + k.store.Name()
	if rest != "" {
		c += " " + rest
	}
	return c
}

// explain turns the error of a change or a read into what the user hears. ctx is the one without the time limit.
func (k *keyed) explain(ctx context.Context, err error) error {
	at := fmt.Sprintf("store %q: key %s", k.store.Name(), inQuotes(k.key))
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("store %q: %w: another process has been changing it for all of %v", k.store.Name(), shiplap.ErrBusy, k.timeout)
	case errors.Is(err, shiplap.ErrNotExist):
		return exitError{fmt.Errorf("%s: there is no such key", at), exitNotFound, k.command("ls", "") + " shows what there is"}
	case errors.Is(err, shiplap.ErrExist):
		return exitError{fmt.Errorf("%s: it has a value already", at), exitFailure, "without --if-absent it gets the new value"}
	case errors.Is(err, shiplap.ErrFull):
		return exitError{err, exitTimeout, k.command("stat", "") + " shows its memory; del makes room, a store made with --evict makes it by itself"}
	case errors.Is(err, shiplap.ErrTooLarge):
		return exitError{err, exitFailure, "a store made with more --capacity"}
	}
	return err
}

// conflict is the error of a change with --rev that came too late.
func (k *keyed) conflict(rev uint64) error {
	now := "no value"
	if e, err := k.store.Entry(k.key); err == nil {
		now = fmt.Sprintf("revision %d", e.Revision)
	}
	return exitError{fmt.Errorf("store %q: %w: key %s has %s now, not revision %d", k.store.Name(), shiplap.ErrConflict, inQuotes(k.key), now, rev), exitFailure,
		"look again: " + k.command("get", quoted(k.key)+" --json")}
}

// writerFlag bounds the wait for others who change something.
func (p *patience) writerFlag(cmd *cobra.Command) {
	cmd.Flags().DurationVarP(&p.timeout, "timeout", "t", 0, "longest wait for another process that is changing the store, as in 500ms or 10s (default: for ever)")
}

// minusFirst is for those who give a value that begins with a minus.
func minusFirst(example string) func(*cobra.Command, error) error {
	return func(cmd *cobra.Command, err error) error {
		if strings.HasPrefix(err.Error(), "unknown") {
			return usagef("%w; what begins with a minus and is no flag stands behind --, as in: %s %s", err, cmd.CommandPath(), example)
		}
		return usagef("%w", err)
	}
}

// keysOf completes a store, and then its keys.
func (p *place) keysOf(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return p.names("store")(cmd, args, begin)
	}
	var keys []string
	_ = p.withStore(args[0], func(s *store.Store) (err error) {
		keys, err = s.Keys(cmd.Context(), begin)
		return err
	})
	return keys, cobra.ShellCompDirectiveNoFileComp
}

// storeAndKey completes a store and one key of it.
func (p *place) storeAndKey(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.keysOf(cmd, args, begin)
}
