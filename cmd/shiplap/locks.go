package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
)

func newLocksCmd(at *place) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "locks [NAME]",
		Short: "Show who holds and who waits",
		Long: `Show the locks of one object, or all that somebody holds or waits for: the holder, since when if it holds
the lock for long, and the first six processes that wait.

A dead holder is nothing to repair: the next process that wants the lock takes it over. One that is
stopped keeps it; continue or kill it. Damaged is a lock whose holder died, until somebody who holds
it marks what it protects repaired. Shared shows who reads, and who holds permits of a semaphore.`,
		Example:           `  shiplap locks`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: at.names(""),
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "also locks that are free")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := ""
		if len(args) == 1 {
			name, all = args[0], true
		}
		locks, err := at.locks(name)
		if err != nil && (name != "" || !at.empty(err)) {
			return err
		}
		shown := []shiplap.Lock{}
		for _, l := range locks {
			if all || l.Holder != nil || len(l.Waiters) > 0 || len(l.Shared) > 0 || l.Damaged {
				shown = append(shown, l)
			}
		}
		if *asJSON {
			return writeJSON(cmd, shown)
		}
		if len(shown) == 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "nobody holds any of the %d locks\n", len(locks))
			return nil
		}
		return printLocks(cmd, shown)
	}
	return cmd
}

func (p *place) locks(name string) ([]shiplap.Lock, error) {
	d, err := p.look()
	if err != nil {
		return nil, err
	}
	defer d.Close()
	locks, err := d.Locks(name)
	if err != nil {
		return nil, fmt.Errorf("locks of %q: %w", name, err)
	}
	return locks, nil
}

func printLocks(cmd *cobra.Command, locks []shiplap.Lock) error {
	t := newTable(cmd.OutOrStdout(), "OBJECT", "LOCK", "HOLDER", "SINCE", "WAITING", "SLEEPS", "TAKEN OVER", "COMMAND")
	for _, l := range locks {
		holder, command := "free", ""
		if l.Holder != nil {
			holder, command = describe(l.Holder), l.Holder.Command
		}
		var waiting, shared []string
		for _, p := range l.Shared {
			shared = append(shared, fmt.Sprintf("%d × %s", p.Number, describe(&p.Process)))
		}
		if l.Damaged {
			holder += ", damaged"
		}
		if len(shared) > 0 {
			holder += "; shared: " + strings.Join(shared, ", ")
		}
		for _, w := range l.Waiters {
			waiting = append(waiting, fmt.Sprintf("pid %d for %s", w.Pid, ago(w.Since)))
		}
		t.row(l.Object, l.Lock, holder, ago(l.Since), dash(strings.Join(waiting, ", ")), grouped(l.Sleeps), fmt.Sprint(l.Recoveries), command)
	}
	return t.Flush()
}
