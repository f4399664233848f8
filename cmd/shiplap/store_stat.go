package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/store"
)

// storeStats is a store as seen from outside.
type storeStats struct {
	store.Stats
	alive living
}

func storeStatsOf(d *shiplap.Domain, name string) (*storeStats, error) {
	st, err := statsOf(d, name, func(d *shiplap.Domain, name string) (*store.Store, error) { return store.Open(d, name, nil) })
	if err != nil {
		return nil, err
	}
	return &storeStats{Stats: *st, alive: livingOf(d)}, nil
}

func newStoreStatCmd(at *place) *cobra.Command {
	return newKindStatCmd(at, "store", `Show how many keys a store has, its memory and how much of that is in pieces between entries, by their size; what was changed, expired and evicted; who
changes it at this moment; and which keys are locked. It takes no lock and needs nobody alive.

Fragmentation is the part of the free memory that is not in one piece. Programs tell of
their reads a thousand at a time, so the last ones may be missing.`,
		func(d *shiplap.Domain, name string) (any, func(table), error) {
			s, err := storeStatsOf(d, name)
			return s, func(t table) {
				t.row("name", s.Name)
				s.print(t)
				s.printMemory(t)
			}, err
		})
}

// newKindStatCmd makes the stat of objects of one kind; look returns what --json writes, and how to print it.
func newKindStatCmd(at *place, kind, long string, look func(*shiplap.Domain, string) (any, func(table), error)) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stat NAME…",
		Short: "Show a " + kind + " in detail",
		Long:  long,
		Example: fmt.Sprintf(`  shiplap %[1]s stat NAME
  shiplap %[1]s stat NAME --json | jq '.[0]'
  watch -n1 shiplap %[1]s stat NAME`, kind),
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: at.names(kind),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		d, err := at.look()
		if err != nil {
			return err
		}
		defer d.Close()
		var all []any
		var prints []func(table)
		for _, name := range args {
			s, print, err := look(d, name)
			if err != nil {
				return err
			}
			all, prints = append(all, s), append(prints, print)
		}
		if *asJSON {
			return writeJSON(cmd, all)
		}
		for i, print := range prints {
			if i > 0 {
				fmt.Fprintln(cmd.OutOrStdout())
			}
			t := newTable(cmd.OutOrStdout())
			print(t)
			if err := t.Flush(); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

func (s *storeStats) print(t table) {
	keys := grouped(s.Keys)
	if s.Expiring > 0 {
		keys += fmt.Sprintf(", %s of them expire", grouped(s.Expiring))
	}
	if s.Cleared > 0 {
		keys += fmt.Sprintf("; %s cleared ones whose memory did not come back yet", grouped(s.Cleared))
	}
	t.row("keys", keys)
	t.row("changes", fmt.Sprintf("revision %s; %s sets, %s deletes, %s expired, %s evicted",
		grouped(s.Revision), grouped(s.Sets), grouped(s.Deletes), grouped(s.Expired), grouped(s.Evicted)))
	t.row("reads", fmt.Sprintf("%s found something, %s nothing", grouped(s.Hits), grouped(s.Misses)))
	full := "a change fails"
	if s.Evict {
		full = "what was not read lately goes"
	}
	t.row("when full", full)
	t.row("memory", fmt.Sprintf("%s at most, %s set aside; entries %s, overhead %s, free %s",
		formatSize(s.MaxBytes), formatSize(s.Reserved), formatSize(s.Used), formatSize(s.Overhead), formatSize(s.Free)))
	t.row("fragmented", fmt.Sprintf("%.1f%% of what is free; the largest piece has %s", 100*s.Fragmentation, formatSize(s.Largest)))
	s.printWriters(t)
	for i := range s.Locks {
		s.printLock(t, "locked", &s.Locks[i])
	}
}

// printWriters shows who changes something at this moment, each a part of the keys.
func (s *storeStats) printWriters(t table) {
	what, recoveries := "changed by", uint32(0)
	for i := range s.Writers {
		l := s.Writers[i]
		recoveries += l.Recoveries
		if l.Recoveries = 0; l.Holder != 0 {
			s.printLock(t, what, &l)
			what = ""
		}
	}
	text := fmt.Sprintf("up to %d at a time", len(s.Writers))
	if what != "" {
		text = "nobody; " + text
	}
	if recoveries > 0 {
		text += fmt.Sprintf("; taken over %d times from the dead", recoveries)
	}
	t.row(what, text)
}

func (s *storeStats) printLock(t table, what string, l *store.LockStats) {
	text := "nobody"
	if l.Holder != 0 {
		text = s.alive.pid(l.Holder)
	}
	if l.Key != "" {
		text = cell(l.Key) + " by " + text
	}
	if len(l.Waiters) > 0 {
		text += "; waiting: " + users(l.Waiters)
	}
	if l.Recoveries > 0 {
		text += fmt.Sprintf("; taken over %d times from the dead", l.Recoveries)
	}
	if l.Damaged && l.Key != "" {
		text += "; what it protects may be half changed"
	}
	t.row(what, text)
}

// printMemory is for those who want to know exactly.
func (s *storeStats) printMemory(t table) {
	t.row("buckets", fmt.Sprintf("%s, and %s overflow buckets", grouped(s.Buckets), grouped(s.Overflows)))
	what := "free pieces"
	for _, l := range s.FreeLists {
		if l.Pieces > 0 {
			t.row(what, fmt.Sprintf("%s of %s bytes or more", grouped(l.Pieces), strconv.FormatInt(l.Least, 10)))
			what = ""
		}
	}
	if what != "" {
		t.row(what, "none between entries")
	}
	t.row("watchers", fmt.Sprintf("slept %s times", grouped(s.Sleeps)))
}
