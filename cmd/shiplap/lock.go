package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
)

func newLockCmd(at *place) *cobra.Command {
	l := &locker{at: at}
	cmd := &cobra.Command{
		Use:   "lock NAME [flags] -- CMD [ARG]…",
		Short: "Run a command under a lock",
		Long: `Run a command while no other has the lock of that name, and end with its exit code (128 + the signal if it died of
one). The lock is made if it does not exist. It is a mutex, or with --rw or --shared a readers-writer lock,
under which any number of commands run at a time with --shared, and one without. Programs lock the same
one with package lock; shiplap locks NAME shows who holds it.

The command has our input, output and place in the terminal. SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 are passed on to it;
SIGINT and SIGQUIT too, unless it has them from the terminal already. It finds the lock's name in SHIPLAP_LOCK.

When shiplap lock itself is killed, others get the lock, and the kernel kills the command at that moment too, so that it
does not go on unprotected: the command itself, not what it has started, and no set-user-id program. With --no-kill
it goes on.

When the last one who had the lock was killed, or its command died of a signal, what they protect may be half
changed. The next one is told so on standard error, its command by SHIPLAP_LOCK_DAMAGED=1, and so is everybody
after it until a command that is not --shared ends with 0: that counts as the repair. With --if-damaged
fail it does not run at all then.

Our own exit codes are those of shiplap, 126 when the command cannot be run and 127 when it cannot be found. CMD may
use the same: --conflict-exit-code sets another for a lock that was not to be had in time.`,
		Example: `  shiplap lock deploy -- ./deploy.sh
  shiplap lock deploy --timeout 10s -- sh -c 'read -r n <count; echo $((n + 1)) >count'
  shiplap lock nightly --no-wait --conflict-exit-code 0 -- ./nightly     # in cron: skip it while one still runs
  shiplap lock index --shared -- ./search                                # many of these
  shiplap lock index --rw -- ./rebuild                                   # or one of these`,
		Args:              commandArgs,
		ValidArgsFunction: first(at.locksByName),
	}
	f := cmd.Flags()
	f.BoolVarP(&l.shared, "shared", "s", false, "share it with others that do so; makes a readers-writer lock")
	f.BoolVar(&l.rw, "rw", false, "make a readers-writer lock, and refuse a mutex")
	f.BoolVar(&l.create, "create", true, "make the lock if it does not exist")
	f.StringVar(&l.ifDamaged, "if-damaged", damagedRun, "what to do when what it protects may be half changed: `run|fail`")
	f.BoolVar(&l.noKill, "no-kill", false, "let CMD go on when shiplap lock is killed")
	l.flags(cmd, "for the lock")
	l.conflict.flag(cmd)
	cmd.RegisterFlagCompletionFunc("if-damaged", cobra.FixedCompletions([]string{damagedRun, damagedFail}, cobra.ShellCompDirectiveNoFileComp))
	cmd.SetFlagErrorFunc(flagsBeforeCommand)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if l.ifDamaged != damagedRun && l.ifDamaged != damagedFail {
			return usagef("--if-damaged %q: possible are %s and %s", l.ifDamaged, damagedRun, damagedFail)
		}
		l.name = args[0]
		return runUnder(cmd, args[1:], l.noKill, l)
	}
	return cmd
}

const (
	damagedRun  = "run"
	damagedFail = "fail"
)

// locker takes a lock for a command.
type locker struct {
	at   *place
	name string
	patience
	conflict           conflictCode
	rw, shared, create bool
	ifDamaged          string
	noKill             bool
	damaged            bool
	d                  *shiplap.Domain
	lock               commandLock
}

// commandLock is a mutex, or one side of a readers-writer lock.
type commandLock interface {
	Lock(context.Context) error
	TryLock() error
	Unlock() error
	Repaired() error
	MarkSince() error
	Close() error
}

type readLock struct{ *lock.RWMutex }

func (r readLock) Lock(ctx context.Context) error { return r.RLock(ctx) }
func (r readLock) TryLock() error                 { return r.TryRLock() }
func (r readLock) Unlock() error                  { return r.RUnlock() }
func (r readLock) Repaired() error                { return nil } // a reader repairs nothing
func (r readLock) MarkSince() error               { return nil } // nor is it the lock's only holder

func (l *locker) take(ctx context.Context, cmd *cobra.Command) (env []string, err error) {
	enter := l.at.find
	if l.create {
		enter = l.at.join
	}
	if l.d, err = enter(); err != nil {
		return nil, err
	}
	if l.lock, err = l.open(); err != nil {
		return nil, err
	}
	if l.noWait {
		err = now(ctx, l.lock.TryLock)
	} else if err = l.nested(); err != nil {
		return nil, err
	} else {
		wait, cancel := l.context(ctx)
		err = l.lock.Lock(wait)
		cancel()
	}
	if l.damaged = errors.Is(err, shiplap.ErrOwnerDied); err != nil && !l.damaged {
		return nil, l.refused(ctx, cmd, err)
	}
	if err := l.lock.MarkSince(); err != nil {
		return nil, errors.Join(err, l.lock.Unlock())
	}
	env = []string{"SHIPLAP_LOCK=" + l.name}
	if l.damaged {
		if l.ifDamaged == damagedFail {
			return nil, errors.Join(l.unrepaired(cmd), l.lock.Unlock())
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "shiplap: lock %q: %v holding it; what it protects may be half changed\n", l.name, shiplap.ErrOwnerDied)
		env = append(env, "SHIPLAP_LOCK_DAMAGED=1")
	}
	return env, nil
}

func (l *locker) unrepaired(cmd *cobra.Command) error {
	return exitError{fmt.Errorf("lock %q: %w holding it, and nothing has repaired what it protects", l.name, shiplap.ErrOwnerDied),
		exitFailure, "shiplap lock" + sameDomain(cmd) + " " + l.name + " -- CMD, with a CMD that repairs it"}
}

// open opens the lock, whichever kind it is, or makes it.
func (l *locker) open() (commandLock, error) {
	for {
		in, err := l.d.Stat(l.name)
		found := err == nil && !in.Removed
		if !found && !l.create {
			return nil, fmt.Errorf("lock %q: %w", l.name, shiplap.ErrNotExist)
		}
		rw := l.rw || l.shared
		if found && in.Kind == "mutex" && rw {
			return nil, exitError{fmt.Errorf("lock %q: %w: it was made as a mutex, which cannot be shared", l.name, shiplap.ErrIncompatible),
				exitFailure, "remove it when nobody uses it, and make it with --rw"}
		}
		m, err := l.openAs(rw || found && in.Kind == "rwmutex")
		if !found && errors.Is(err, shiplap.ErrIncompatible) {
			continue // somebody just made it
		}
		return m, err
	}
}

func (l *locker) openAs(rw bool) (commandLock, error) {
	if !rw {
		if !l.create {
			return lockOrNil(lock.OpenMutex(l.d, l.name))
		}
		return lockOrNil(lock.OpenOrCreateMutex(l.d, l.name, nil))
	}
	open := func() (*lock.RWMutex, error) { return lock.OpenOrCreateRWMutex(l.d, l.name, nil) }
	if !l.create {
		open = func() (*lock.RWMutex, error) { return lock.OpenRWMutex(l.d, l.name) }
	}
	m, err := open()
	if err == nil && l.shared {
		return readLock{m}, nil
	}
	return lockOrNil(m, err)
}

func lockOrNil[L commandLock](m L, err error) (commandLock, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}

// refused says why the lock was not to be had.
func (l *locker) refused(ctx context.Context, cmd *cobra.Command, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !isAny(err, context.DeadlineExceeded, shiplap.ErrBusy) {
		return err
	}
	within := ""
	if !l.noWait {
		within = fmt.Sprintf(" for all of %v", l.timeout)
	}
	return exitError{fmt.Errorf("lock %q: %w%s%s", l.name, shiplap.ErrBusy, within, l.holders()),
		int(l.conflict), "shiplap locks" + sameDomain(cmd) + " " + l.name + " shows who holds it"}
}

// holders names those who hold the lock at this moment.
func (l *locker) holders() string {
	var held []string
	locks, _ := l.d.Locks(l.name)
	for _, h := range locks {
		if h.Holder != nil {
			held = append(held, describe(h.Holder)+": "+h.Holder.Command)
		}
	}
	if len(held) == 0 {
		return ""
	}
	return "; held by " + strings.Join(held, ", ")
}

// nested refuses to wait for ever for a lock under which we run ourselves.
func (l *locker) nested() error {
	if l.timeout > 0 {
		return nil
	}
	held, _ := l.d.Locks(l.name)
	for _, h := range held {
		if h.Holder != nil && h.Holder.Alive && isAncestor(h.Holder.Pid) {
			return exitError{fmt.Errorf("lock %q: %w: this runs under it, by pid %d, and would wait for ever", l.name, shiplap.ErrConflict, h.Holder.Pid),
				exitFailure, "a CMD under a lock does not take it once more"}
		}
	}
	return nil
}

// give passes the lock on after the command.
func (l *locker) give(code int, signalled bool) error {
	if signalled && !l.shared {
		return nil // it ends with us: the next one is told that its owner died
	}
	var err error
	if l.damaged && code == 0 {
		err = l.lock.Repaired()
	}
	return errors.Join(err, l.lock.Unlock())
}

func (l *locker) close() {
	if l.lock != nil {
		l.lock.Close()
	}
	if l.d != nil {
		l.d.Close()
	}
}

// locksByName completes the names of locks.
func (p *place) locksByName(cmd *cobra.Command, args []string, s string) ([]string, cobra.ShellCompDirective) {
	names, _ := p.names("mutex")(cmd, args, s)
	more, d := p.names("rwmutex")(cmd, args, s)
	return append(names, more...), d
}
