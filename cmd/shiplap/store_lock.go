package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/store"
)

func newStoreLockCmd(at *place) *cobra.Command {
	l := &keyLocker{at: at}
	var noKill, noDamage bool
	cmd := &cobra.Command{
		Use:   "lock NAME KEY [flags] -- CMD [ARG]…",
		Short: "Run a command while a key is locked",
		Long: `Run a command while no other has the lock of a key, and end with its exit code (128 + the signal if it died of one).
Programs lock the same with Store.Lock. The lock keeps nobody from reading or changing the key: those who agree on it exclude each other. The
key need not have a value. shiplap store stat shows the locks.

Signals, --no-kill, exit codes and what happens when somebody dies are as with shiplap lock: the next one is told on standard error, and its
command by SHIPLAP_LOCK_DAMAGED=1, that what the lock protects may be half changed, until a command ends with 0. The command finds the
key in SHIPLAP_LOCK.`,
		Example: `  shiplap store lock accounts alice -- ./transfer alice bob 10
  shiplap store lock jobs "$id" --no-wait --conflict-exit-code 0 -- ./work "$id"     # skip what somebody works on`,
		Args:              keyCommandArgs,
		ValidArgsFunction: at.storeAndKey,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkKey(args[1]); err != nil {
				return err
			}
			l.name, l.key = args[0], args[1]
			if noDamage {
				l.opts = append(l.opts, store.NoDamage())
			}
			return runUnder(cmd, args[2:], noKill, l)
		},
	}
	cmd.Flags().BoolVar(&noKill, "no-kill", false, "let CMD go on when shiplap store lock is killed")
	cmd.Flags().BoolVar(&noDamage, "no-damage", false, "nobody is told if it dies: what CMD does is done again from its beginning")
	l.flags(cmd, "for the lock")
	l.conflict.flag(cmd)
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; flags of the command itself stand behind --, as in: %s jobs 17 -- make -j4", err, cmd.CommandPath())
	})
	return cmd
}

// keyCommandArgs accepts NAME KEY -- CMD ARG….
func keyCommandArgs(cmd *cobra.Command, args []string) error {
	as := fmt.Sprintf("as in: %s jobs 17 -- make -j4", cmd.CommandPath())
	switch dash := cmd.ArgsLenAtDash(); {
	case dash < 0:
		return usagef("write a store, a key, -- and the command, %s", as)
	case dash != 2:
		return usagef("before -- stand a store and a key, and not %d words, %s", dash, as)
	case len(args) == 2:
		return usagef("no command behind --, %s", as)
	}
	return nil
}

// keyLocker locks a key for a command.
type keyLocker struct {
	at        *place
	name, key string
	opts      []store.LockOption
	patience
	conflict conflictCode
	d        *shiplap.Domain
	s        *store.Store
	lock     *store.KeyLock
	damaged  bool
}

func (l *keyLocker) take(ctx context.Context, cmd *cobra.Command) (env []string, err error) {
	if l.d, err = l.at.find(); err != nil {
		return nil, err
	}
	if l.s, err = store.Open(l.d, l.name, nil); err != nil {
		return nil, err
	}
	if l.noWait {
		err = now(ctx, func() (err error) {
			l.lock, err = l.s.TryLock(l.key, l.opts...)
			return err
		})
	} else if err = l.nested(); err != nil {
		return nil, err
	} else {
		wait, cancel := l.context(ctx)
		l.lock, err = l.s.Lock(wait, l.key, l.opts...)
		cancel()
	}
	if l.damaged = errors.Is(err, shiplap.ErrOwnerDied) && l.lock != nil; err != nil && !l.damaged {
		return nil, l.refused(ctx, cmd, err)
	}
	env = []string{"SHIPLAP_LOCK=" + l.key}
	if l.damaged {
		fmt.Fprintf(cmd.ErrOrStderr(), "shiplap: store %q: key %s: %v with the lock; what it protects may be half changed\n",
			l.name, inQuotes(l.key), shiplap.ErrOwnerDied)
		env = append(env, "SHIPLAP_LOCK_DAMAGED=1")
	}
	return env, nil
}

// refused says why the lock was not to be had.
func (l *keyLocker) refused(ctx context.Context, cmd *cobra.Command, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, shiplap.ErrFull) {
		return exitError{err, int(l.conflict), "shiplap store locks" + sameDomain(cmd) + " " + l.name + " shows those of dead processes; a store made with more --locks has more"}
	}
	if !isAny(err, context.DeadlineExceeded, shiplap.ErrBusy) {
		return err
	}
	held, within := "", ""
	if h := l.holder(); h != 0 {
		held = fmt.Sprintf("; pid %d has it", h)
	}
	if !l.noWait {
		within = fmt.Sprintf(" for all of %v", l.timeout)
	}
	return exitError{fmt.Errorf("store %q: key %s: %w%s%s", l.name, inQuotes(l.key), shiplap.ErrBusy, within, held),
		int(l.conflict), "shiplap store stat" + sameDomain(cmd) + " " + l.name + " shows who holds it"}
}

// holder is the process that has the lock, 0 if none has.
func (l *keyLocker) holder() int {
	st, _ := l.s.Stats()
	for _, h := range st.Locks {
		if h.Key == l.key[:min(len(l.key), shownKey)] {
			return h.Holder
		}
	}
	return 0
}

// nested refuses to wait for ever for a lock under which we run ourselves.
func (l *keyLocker) nested() error {
	if l.timeout > 0 {
		return nil
	}
	if h := l.holder(); h != 0 && len(l.key) <= shownKey && isAncestor(h) {
		return exitError{fmt.Errorf("store %q: key %s: %w: this runs under its lock, by pid %d, and would wait for ever", l.name, inQuotes(l.key), shiplap.ErrConflict, h),
			exitFailure, "a CMD under a lock does not take it once more"}
	}
	return nil
}

// shownKey is how much of a locked key the statistics have.
const shownKey = 48

// give passes the lock on after the command.
func (l *keyLocker) give(code int, signalled bool) error {
	if signalled {
		return nil // it ends with us: the next one is told that its owner died
	}
	var err error
	if l.damaged && code == 0 {
		err = l.lock.Repaired()
	}
	return errors.Join(err, l.lock.Unlock())
}

func (l *keyLocker) close() {
	if l.s != nil {
		l.s.Close()
	}
	if l.d != nil {
		l.d.Close()
	}
}
