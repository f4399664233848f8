package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes of a command that could not be started, as shells have them.
const (
	exitNotRunnable = 126
	exitNoCommand   = 127
)

// holding is what a command runs under.
type holding interface {
	// take gets it, and says what the command shall find in its environment besides.
	take(ctx context.Context, cmd *cobra.Command) (env []string, err error)
	// give gives it back after the command ended.
	give(code int, signalled bool) error
	close()
}

// runUnder takes h, runs a command, and gives h back. If the command ended with another code than 0, so do we.
func runUnder(cmd *cobra.Command, argv []string, noKill bool, h holding) error {
	code, err := underHolding(cmd, argv, noKill, h)
	if stop, ok := errors.AsType[interrupted](err); ok {
		return quietExit(stop.code())
	}
	if e, ok := errors.AsType[exitError](err); ok && e.code == exitOK {
		return nil // --conflict-exit-code 0: a conflict is no matter
	}
	if code == exitOK {
		return err
	}
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "shiplap: "+err.Error())
	}
	return quietExit(code)
}

func underHolding(cmd *cobra.Command, argv []string, noKill bool, h holding) (code int, err error) {
	path, err := lookPath(argv[0])
	if err != nil {
		return 0, err
	}
	ctx, r := newRelay(cmd.Context())
	defer r.stop()
	defer h.close()
	env, err := h.take(ctx, cmd)
	if err != nil {
		return 0, err
	}
	c := &exec.Cmd{Path: path, Args: argv, Env: append(os.Environ(), env...), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	status, err := execute(ctx, c, r, noKill)
	if err != nil {
		return 0, errors.Join(err, h.give(exitFailure, false))
	}
	code = status.ExitStatus()
	if status.Signaled() {
		code = exitSignalled + int(status.Signal())
	}
	return code, h.give(code, status.Signaled())
}

// execute runs the command to its end.
func execute(ctx context.Context, c *exec.Cmd, r *relay, noKill bool) (syscall.WaitStatus, error) {
	if !noKill {
		// The kernel sends it when the thread ends that started the child, not only with the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	if err := r.start(ctx, c); err != nil {
		return 0, err
	}
	err := c.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		return 0, err
	}
	return c.ProcessState.Sys().(syscall.WaitStatus), nil
}

func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	return "", notStarted(err)
}

func notStarted(err error) error {
	code, next := exitNotRunnable, ""
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		code = exitNoCommand
	}
	if errors.Is(err, exec.ErrDot) {
		next = "write ./ before it"
	}
	return exitError{err, code, next}
}

// isAncestor reports whether the process is our parent, or its parent, and so on.
func isAncestor(pid int) bool {
	for p := os.Getppid(); p > 1; p = parentOf(p) {
		if p == pid {
			return true
		}
	}
	return false
}

// parentOf is 0 when it cannot be told.
func parentOf(pid int) (ppid int) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	rest := b[bytes.LastIndexByte(b, ')')+1:] // the name before may contain anything
	var state string
	fmt.Sscan(string(rest), &state, &ppid)
	return ppid
}

// commandArgs accepts NAME -- CMD ARG….
func commandArgs(cmd *cobra.Command, args []string) error {
	dash := cmd.ArgsLenAtDash()
	as := fmt.Sprintf("as in: %s jobs -- make -j4", cmd.CommandPath())
	switch {
	case len(args) == 0 || dash == 0:
		return usagef("which one? Its name comes first, then -- and the command, %s", as)
	case dash < 0 && len(args) == 1:
		return usagef("nothing to run: the command stands behind --, %s", as)
	case dash < 0:
		return usagef("write -- between the name and the command, %s", as)
	case dash > 1:
		return usagef("%q stands before --: only the name and flags do, %s", args[1], as)
	case len(args) == 1:
		return usagef("no command behind --, %s", as)
	}
	return nil
}

// flagsBeforeCommand is for those who leave out the -- before a command with flags.
func flagsBeforeCommand(cmd *cobra.Command, err error) error {
	return usagef("%w; flags of the command itself stand behind --, as in: %s jobs -- make -j4", err, cmd.CommandPath())
}

// conflictCode is the exit code where something was not to be had in time.
type conflictCode uint8

func (c *conflictCode) flag(cmd *cobra.Command) {
	*c = exitTimeout
	cmd.Flags().Uint8VarP((*uint8)(c), "conflict-exit-code", "E", exitTimeout, "exit `code` when --timeout ran out or --no-wait found it taken; 0 also says nothing")
}
