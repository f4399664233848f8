package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/shiplap-ipc/shiplap"
)

// Exit codes, as the help of the root command documents them.
const (
	exitOK        = 0
	exitFailure   = 1
	exitUsage     = 2
	exitNotFound  = 3
	exitTimeout   = 4
	exitEnded     = 5
	exitSignalled = 128 // + the signal
)

const exitCodes = `Exit codes:
  0    done
  1    it failed, or a check did not hold
  2    wrong usage: flags, arguments, a name that no object can have
  3    no such object, key, service, domain or file
  4    not now: --timeout ran out, or --no-wait found the queue empty or full, or a side or a lock is taken
  5    the other side ended it: the queue is closed, the object was removed, the peer of a pipe died
  130  interrupted by Ctrl-C (143: terminated)`

// interrupted is the cause of the context once a signal came.
type interrupted struct{ sig syscall.Signal }

func (i interrupted) Error() string { return i.sig.String() }
func (i interrupted) code() int     { return exitSignalled + int(i.sig) }

// usageError is a mistake in how the command was called.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func usagef(format string, a ...any) error { return usageError{fmt.Errorf(format, a...)} }

// exitError has a code of its own, and perhaps a hint.
type exitError struct {
	error
	code int
	next string
}

func (e exitError) Unwrap() error { return e.error }

// quietExit is an exit code of which everything has been said.
type quietExit int

func (q quietExit) Error() string { return fmt.Sprintf("exit code %d", int(q)) }

// codeFor finds the exit code. Before a command started, every error is one of usage.
func codeFor(err error, started bool) int {
	if e, ok := errors.AsType[exitError](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[usageError](err); ok || !started || errors.Is(err, shiplap.ErrName) {
		return exitUsage
	}
	switch {
	case errors.Is(err, shiplap.ErrNotExist):
		return exitNotFound
	case isAny(err, shiplap.ErrFull, shiplap.ErrEmpty, shiplap.ErrBusy, context.DeadlineExceeded):
		return exitTimeout
	case isAny(err, shiplap.ErrRemoved, shiplap.ErrPeerGone, shiplap.ErrClosed):
		return exitEnded
	}
	return exitFailure
}

// hint is the next step, where there is one that the error itself does not name.
func hint(cmd *cobra.Command, err error) string {
	if e, ok := errors.AsType[exitError](err); ok {
		return e.next
	}
	if _, ok := errors.AsType[usageError](err); ok || !started(cmd) {
		return cmd.CommandPath() + " --help"
	}
	flags := sameDomain(cmd)
	name := "NAME"
	if a := cmd.Flags().Args(); len(a) > 0 && !strings.ContainsAny(a[0], " '\"") {
		name = a[0]
	}
	if _, ok := errors.AsType[inputError](err); ok || strings.Contains(err.Error(), "\n") {
		return "" // it says itself what to do
	}
	switch {
	case errors.Is(err, errNoDomain) && cmd.Flag("domain").Changed:
		dir := ""
		if f := cmd.Flag("dir"); f.Changed {
			dir = " --dir " + f.Value.String()
		}
		return "shiplap ls --all-domains" + dir
	case errors.Is(err, shiplap.ErrNotExist) && canCreate(cmd.Parent()):
		return cmd.Parent().CommandPath() + " create" + flags + " " + name
	case errors.Is(err, shiplap.ErrNotExist):
		return "shiplap ls" + flags + " shows what there is"
	case errors.Is(err, shiplap.ErrExist):
		return "use it as it is, or shiplap rm" + flags + " " + name
	case errors.Is(err, shiplap.ErrBusy):
		return "shiplap locks" + flags + " " + name + " shows who holds it"
	case errors.Is(err, shiplap.ErrCorrupt) && cmd.Name() != "rm":
		return "shiplap rm" + flags + " " + name + " takes it away, if nobody needs it"
	case errors.Is(err, shiplap.ErrUnsupported):
		return "shiplap doctor"
	}
	return ""
}

// canCreate reports whether a group of commands has one that makes objects.
func canCreate(group *cobra.Command) bool {
	return slices.ContainsFunc(group.Commands(), func(c *cobra.Command) bool { return c.Name() == "create" })
}

// sameDomain repeats the flags that led to the domain.
func sameDomain(cmd *cobra.Command) string {
	var s string
	for _, name := range []string{"dir", "domain"} {
		if f := cmd.Flag(name); f != nil && f.Changed {
			s += " --" + name + " " + f.Value.String()
		}
	}
	return s
}

func isAny(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}
