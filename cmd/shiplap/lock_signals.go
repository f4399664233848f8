package main

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// relay decides what becomes of signals while a command is to run under something: as long as we wait they end
// the wait; once the command runs they are for it, and we end when it does.
type relay struct {
	c      chan os.Signal
	done   chan struct{}
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	child *os.Process
}

// newRelay takes signals over from main, those excepted that we were started to ignore (nohup).
func newRelay(ctx context.Context) (context.Context, *relay) {
	r := &relay{c: make(chan os.Signal, 16), done: make(chan struct{})}
	ctx, r.cancel = context.WithCancelCause(ctx)
	relayed := []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2}
	signal.Reset(relayed...)
	ignored := ignoredSignals()
	for _, s := range relayed {
		if ignored&(1<<(s.(syscall.Signal)-1)) == 0 {
			signal.Notify(r.c, s)
		}
	}
	go func() {
		defer close(r.done)
		for s := range r.c {
			r.handle(s.(syscall.Signal))
		}
	}()
	return ctx, r
}

func (r *relay) handle(s syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.child == nil {
		r.cancel(interrupted{s})
		return
	}
	if (s == unix.SIGINT || s == unix.SIGQUIT) && inForeground() {
		return // the terminal sent it to the command as well
	}
	_ = r.child.Signal(s) // if it has ended meanwhile, so do we
}

// start starts the command, unless a signal came first.
func (r *relay) start(ctx context.Context, c *exec.Cmd) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := c.Start(); err != nil {
		return notStarted(err)
	}
	r.child = c.Process
	return nil
}

func (r *relay) stop() {
	signal.Stop(r.c)
	close(r.c)
	<-r.done
	r.cancel(nil)
}

// inForeground reports whether keys like Ctrl-C send signals to our process group.
func inForeground() bool {
	tty, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer unix.Close(tty)
	group, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// ignoredSignals is the set that this process ignores; bit 0 is signal 1.
func ignoredSignals() uint64 {
	b, _ := os.ReadFile("/proc/thread-self/status")
	for line := range strings.Lines(string(b)) {
		if hex, ok := strings.CutPrefix(line, "SigIgn:"); ok {
			set, _ := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return set
		}
	}
	return 0
}
