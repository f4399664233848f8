package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
)

func newSemCmd(at *place) *cobra.Command {
	c := group("sem", "Let at most N commands run at a time",
		`A semaphore has a number of permits. A process that takes one runs; when none is left the next one waits, behind those
who wait already. Permits that a process holds when it is killed come back, unless the semaphore was made with
--unowned. It stays until it is removed.`,
		newSemCreateCmd(at), newSemRunCmd(at), newSemAcquireCmd(at), newSemReleaseCmd(at), newSemStatCmd(at))
	c.Example = `  shiplap sem create gpu --permits 2
  ls *.wav | xargs -P 8 -I{} shiplap sem run gpu -- ./transcribe {}     # never more than two, here and elsewhere
  shiplap sem stat gpu`
	return c
}

func newSemCreateCmd(at *place) *cobra.Command {
	var opt lock.SemaphoreOptions
	var permits int
	var existOK bool
	cmd := &cobra.Command{
		Use:   "create NAME --permits N",
		Short: "Make a semaphore",
		Long: `Make a semaphore with that many permits, all available.

With --unowned its permits belong to nobody: any process may take some and any other give them back, as with
sem acquire and sem release; what a killed process had taken does not come back by itself.`,
		Example: `  shiplap sem create gpu --permits 2
  shiplap sem create seats --permits 100 --unowned`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if permits < 1 {
				return usagef("--permits %d: at least 1", permits)
			}
			d, err := at.join()
			if err != nil {
				return err
			}
			defer d.Close()
			s, err := lock.CreateSemaphore(d, args[0], permits, &opt)
			if existOK && errors.Is(err, shiplap.ErrExist) {
				return sameSemaphore(d, args[0], permits, opt.Unowned)
			}
			if err != nil {
				return err
			}
			return s.Close()
		},
	}
	f := cmd.Flags()
	f.IntVarP(&permits, "permits", "p", 0, "how many permits it has (`N`)")
	cmd.MarkFlagRequired("permits")
	f.BoolVar(&opt.Unowned, "unowned", false, "permits belong to nobody")
	f.StringVar(&opt.Label, "label", "", "`text` for people, shown by ls and stat")
	f.BoolVar(&existOK, "exist-ok", false, "fine if it is there already, with as many permits")
	return cmd
}

func sameSemaphore(d *shiplap.Domain, name string, permits int, unowned bool) error {
	s, err := lock.OpenSemaphore(d, name)
	if err != nil {
		return err
	}
	defer s.Close()
	st, err := s.Stats()
	if err == nil && (st.Permits != permits || st.Unowned != unowned) {
		err = fmt.Errorf("semaphore %q: %w: it is there with --permits %d --unowned=%t", name, shiplap.ErrExist, st.Permits, st.Unowned)
	}
	return err
}

// permitsFlag is how many permits a command takes or gives.
func permitsFlag(cmd *cobra.Command, n *int) {
	cmd.Flags().IntVarP(n, "permits", "p", 1, "how many permits (`N`)")
}
