package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap/store"
)

func newStoreLocksCmd(at *place) *cobra.Command {
	var forget bool
	cmd := &cobra.Command{
		Use:   "locks NAME [PREFIX]",
		Short: "List the key locks that dead processes left, and forget them",
		Long: `List the keys whose lock a process had when it died, and that nobody has repaired since: the next one to lock such a key is told that
what the lock protects may be half changed, and until then the store keeps one of its locks for the key. Of long keys the first 48 bytes are shown.

--forget says that all is in order with the keys that begin with PREFIX, which must be there then ("" stands for all): their locks
are free. Locks of living processes stay as they are; shiplap store stat shows them.`,
		Example: `  shiplap store locks jobs
  shiplap store locks jobs job/ --forget`,
		Args: func(cmd *cobra.Command, args []string) error {
			if forget && len(args) == 1 {
				return usagef(`write with what the keys begin whose locks are to be forgotten, "" for all, as in: %s %s job/ --forget`,
					cmd.CommandPath(), args[0])
			}
			return cobra.RangeArgs(1, 2)(cmd, args)
		},
		ValidArgsFunction: at.names("store"),
	}
	cmd.Flags().BoolVar(&forget, "forget", false, "free the locks of the keys that begin with PREFIX")
	asJSON := jsonFlag(cmd)
	cmd.MarkFlagsMutuallyExclusive("forget", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		prefix := strings.Join(args[1:], "")
		return at.withStore(args[0], func(s *store.Store) error {
			if forget {
				n, err := s.ForgetLocks(prefix)
				if err == nil {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), n)
				}
				return err
			}
			dead, err := s.DeadLocks()
			if err != nil {
				return err
			}
			return printDeadLocks(cmd, s, beginning(dead, prefix), *asJSON)
		})
	}
	return cmd
}

// beginning are the locks whose keys begin with prefix, as far as they are known.
func beginning(locks []store.LockStats, prefix string) []store.LockStats {
	some := []store.LockStats{}
	for _, l := range locks {
		if strings.HasPrefix(l.Key, prefix) {
			some = append(some, l)
		}
	}
	return some
}

func printDeadLocks(cmd *cobra.Command, s *store.Store, dead []store.LockStats, asJSON bool) error {
	if asJSON {
		return writeJSON(cmd, dead)
	}
	if len(dead) == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "no lock of a dead process")
		return nil
	}
	t := newTable(cmd.OutOrStdout())
	t.row("KEY", "BYTES", "PID")
	for _, l := range dead {
		pid := "-"
		if l.Holder != 0 {
			pid = fmt.Sprint(l.Holder)
		}
		t.row(inQuotes(l.Key), fmt.Sprint(l.KeyBytes), pid)
	}
	return t.Flush()
}
