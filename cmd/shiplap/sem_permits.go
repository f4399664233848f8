package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
)

func newSemAcquireCmd(at *place) *cobra.Command {
	p := &permits{at: at}
	cmd := &cobra.Command{
		Use:   "acquire NAME",
		Short: "Take permits of an unowned semaphore for good",
		Long: `Take permits, waiting for them, and end. Only a semaphore made with --unowned has permits that stay taken then,
until somebody gives them back with shiplap sem release; for others there is shiplap sem run.`,
		Example: `  shiplap sem create seats --permits 100 --unowned
  shiplap sem acquire seats --permits 4 --timeout 10s
  shiplap sem release seats --permits 4`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(at.names("semaphore")),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.unowned(args[0], func() error { return p.acquire(cmd.Context(), cmd) })
		},
	}
	permitsFlag(cmd, &p.n)
	p.flags(cmd, "for permits")
	p.conflict.flag(cmd)
	return cmd
}

func newSemReleaseCmd(at *place) *cobra.Command {
	p := &permits{at: at}
	cmd := &cobra.Command{
		Use:   "release NAME",
		Short: "Give permits of an unowned semaphore back",
		Long: `Give permits back that somebody took with shiplap sem acquire, or was killed with. There cannot be more than the semaphore
was made with.`,
		Example:           `  shiplap sem release seats --permits 4`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(at.names("semaphore")),
		RunE: func(_ *cobra.Command, args []string) error {
			return p.unowned(args[0], func() error { return p.sem.Release(p.n) })
		},
	}
	permitsFlag(cmd, &p.n)
	return cmd
}

// unowned runs f with an open semaphore whose permits belong to nobody.
func (p *permits) unowned(name string, f func() error) error {
	p.name = name
	if err := p.check(); err != nil {
		return err
	}
	defer p.close()
	if err := p.open(); err != nil {
		return err
	}
	st, err := p.sem.Stats()
	if err != nil {
		return err
	}
	if !st.Unowned {
		return exitError{fmt.Errorf("semaphore %q: %w: its permits belong to processes, and come back when this one ends", name, shiplap.ErrUnsupported),
			exitFailure, "shiplap sem run, or make a semaphore with shiplap sem create --unowned"}
	}
	return f()
}
