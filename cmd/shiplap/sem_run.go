package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
)

func newSemRunCmd(at *place) *cobra.Command {
	s := &permits{at: at}
	var noKill bool
	cmd := &cobra.Command{
		Use:   "run NAME [flags] -- CMD [ARG]…",
		Short: "Run a command with a permit",
		Long: `Run a command while it has a permit of the semaphore, or several, and end with its exit code (128 + the signal if it
died of one). The permits come back when it ends, also when shiplap sem run is killed: the command is killed
then too, unless --no-kill says otherwise. Signals and exit codes are as with shiplap lock.`,
		Example: `  shiplap sem create gpu --permits 2
  ls *.wav | xargs -P 8 -I{} shiplap sem run gpu -- ./transcribe {}
  shiplap sem run gpu --permits 2 -- ./benchmark               # alone
  shiplap sem run gpu --timeout 1m --conflict-exit-code 75 -- ./transcribe a.wav`,
		Args:              commandArgs,
		ValidArgsFunction: first(at.names("semaphore")),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.name = args[0]
			if err := s.check(); err != nil {
				return err
			}
			return runUnder(cmd, args[1:], noKill, s)
		},
	}
	permitsFlag(cmd, &s.n)
	cmd.Flags().BoolVar(&noKill, "no-kill", false, "let CMD go on when shiplap sem run is killed")
	s.flags(cmd, "for permits")
	s.conflict.flag(cmd)
	cmd.SetFlagErrorFunc(flagsBeforeCommand)
	return cmd
}

// permits are some of a semaphore, for a command or for good.
type permits struct {
	at   *place
	name string
	n    int
	patience
	conflict conflictCode
	d        *shiplap.Domain
	sem      *lock.Semaphore
}

func (p *permits) check() error {
	if p.n < 1 {
		return usagef("--permits %d: at least 1", p.n)
	}
	return nil
}

func (p *permits) open() (err error) {
	if p.d, err = p.at.find(); err == nil {
		p.sem, err = lock.OpenSemaphore(p.d, p.name)
	}
	if errors.Is(err, shiplap.ErrNotExist) {
		err = exitError{err, exitNotFound, "shiplap sem create " + p.name + " --permits N"}
	}
	return err
}

func (p *permits) take(ctx context.Context, cmd *cobra.Command) (env []string, err error) {
	if err := p.open(); err != nil {
		return nil, err
	}
	return []string{"SHIPLAP_SEM=" + p.name}, p.acquire(ctx, cmd)
}

func (p *permits) acquire(ctx context.Context, cmd *cobra.Command) error {
	var err error
	if p.noWait {
		err = now(ctx, func() error { return p.sem.TryAcquire(p.n) })
	} else {
		wait, cancel := p.context(ctx)
		err = p.sem.Acquire(wait, p.n)
		cancel()
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if isAny(err, context.DeadlineExceeded, shiplap.ErrBusy) {
		return p.refused(cmd)
	}
	return err
}

// refused says who has the permits.
func (p *permits) refused(cmd *cobra.Command) error {
	st, err := p.sem.Stats()
	if err != nil {
		return err
	}
	within := ""
	if !p.noWait {
		within = fmt.Sprintf(" within %v", p.timeout)
	}
	return exitError{fmt.Errorf("semaphore %q: %w: %d of its %d permits were not to be had%s; held: %s", p.name, shiplap.ErrBusy, p.n, st.Permits, within,
		livingOf(p.d).holders(st.Holders)),
		int(p.conflict), "shiplap sem stat" + sameDomain(cmd) + " " + p.name}
}

func (p *permits) give(int, bool) error { return p.sem.Release(p.n) }

func (p *permits) close() {
	if p.sem != nil {
		p.sem.Close()
	}
	if p.d != nil {
		p.d.Close()
	}
}
