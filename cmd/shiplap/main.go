// Shiplap moves data between processes through shared memory, and shows what lies in it.
//
// Each verb has a file of its own. What they share: a command gets its context from main, which
// cancels it on a signal, and returns an error, which exit.go turns into an exit code and a hint.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	procs "github.com/shiplap-ipc/shiplap/proc"
)

func main() {
	procs.Init() // the copies of this program that shiplap run starts
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	sigs := make(chan os.Signal, 2)
	signal.Notify(sigs, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	// Caught, so that a write to a closed pipe is an error and deferred work is done.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	out := &output{}
	go func() {
		stop := interrupted{(<-sigs).(syscall.Signal)}
		cancel(stop)
		out.stuck(sigs)
		os.Exit(stop.code())
	}()

	root := newRootCmd()
	root.SetArgs(args)
	root.SetOut(out)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if q, ok := errors.AsType[quietExit](err); ok {
		return int(q)
	}
	if stop, ok := context.Cause(ctx).(interrupted); ok {
		return stop.code()
	}
	fmt.Fprintln(os.Stderr, "shiplap: "+err.Error())
	if h := hint(cmd, err); h != "" {
		fmt.Fprintln(os.Stderr, "next: "+h)
	}
	return codeFor(err, started(cmd))
}
