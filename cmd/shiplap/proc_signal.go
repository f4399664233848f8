package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	procs "github.com/shiplap-ipc/shiplap/proc"
)

func newSignalCmd(at *place) *cobra.Command {
	var sig syscall.Signal
	cmd := newOrderCmd(at, &cobra.Command{
		Use:   "signal SIGNAL NAME…",
		Short: "Send a signal to processes of a running manager",
		Long: `Have a running manager send a signal to processes and their process groups: HUP or SIGHUP or 1. What ends by it
counts as crashed, and is restarted if its policy says so: to stop it, use shiplap stop.`,
		Example: `  shiplap signal HUP web`,
	}, func(ctx context.Context, c *procs.Client, names []string) error {
		if len(names) == 0 { // all: those that run
			states, err := c.States(ctx)
			if err != nil {
				return err
			}
			for _, s := range states {
				if s.Pid != 0 {
					names = append(names, s.Name)
				}
			}
			if len(names) == 0 {
				return nil
			}
		}
		_, err := c.Signal(ctx, sig, names...)
		return err
	})
	args, run := cmd.Args, cmd.RunE
	cmd.Args = func(cmd *cobra.Command, a []string) (err error) {
		if len(a) == 0 {
			return usagef("which signal, and for whom? As in: %s HUP web", cmd.CommandPath())
		}
		if sig, err = parseSignal(a[0]); err != nil {
			return usageError{err}
		}
		return args(cmd, a[1:])
	}
	cmd.RunE = func(cmd *cobra.Command, a []string) error { return run(cmd, a[1:]) }
	return cmd
}

func parseSignal(text string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(text); err == nil {
		if n < 1 || n > 64 {
			return 0, fmt.Errorf("signal %d: 1 to 64 is wanted", n)
		}
		return syscall.Signal(n), nil
	}
	name := strings.ToUpper(text)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if s := unix.SignalNum(name); s != 0 {
		return s, nil
	}
	return 0, fmt.Errorf("%q is no signal: write TERM, HUP, USR1 and the like, or a number", text)
}
