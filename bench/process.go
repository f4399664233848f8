//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// spawn starts a process that lives no longer than this one, nor than ctx. Ctrl-C does not reach it: it is ended in order.
func spawn(ctx context.Context, cpu int, prepare func(*exec.Cmd) error, args ...string) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := prepare(cmd); err != nil {
		return nil, err
	}
	if cpu < 0 {
		return cmd, cmd.Start()
	}
	runtime.LockOSThread() // the process inherits what its parent's thread may use
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, err
	}
	defer func() { _ = unix.SchedSetaffinity(0, &before) }()
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return nil, fmt.Errorf("bind to processor %d: %w", cpu, err)
	}
	return cmd, cmd.Start()
}

// client is a process that carries out the load on one store.
type client struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startClient(ctx context.Context, cpu int, args ...string) (*client, error) {
	c := &client{}
	var err error
	c.cmd, err = spawn(ctx, cpu, func(cmd *exec.Cmd) (err error) {
		if c.in, err = cmd.StdinPipe(); err != nil {
			return err
		}
		out, err := cmd.StdoutPipe()
		c.out = bufio.NewReader(out)
		return err
	}, args...)
	if err != nil {
		return nil, err
	}
	if _, err = c.answer(); err != nil {
		return nil, fmt.Errorf("%w%s", err, ended(c.end()))
	}
	return c, nil
}

func ended(err error) string {
	if err == nil {
		return ""
	}
	return " (" + err.Error() + ")"
}

func (c *client) tell(format string, args ...any) error {
	_, err := fmt.Fprintf(c.in, format+"\n", args...)
	return err
}

// answer returns the numbers of the client's next answer.
func (c *client) answer() ([]int64, error) {
	line, err := c.out.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the client ended: %w", err)
	}
	words := strings.Fields(line)
	if len(words) == 0 || words[0] != "ok" {
		return nil, fmt.Errorf("the client says: %s", strings.TrimSpace(line))
	}
	all := make([]int64, len(words)-1)
	for i, w := range words[1:] {
		if _, err := fmt.Sscan(w, &all[i]); err != nil {
			return nil, fmt.Errorf("the client says %q: %w", line, err)
		}
	}
	return all, nil
}

func (c *client) ask(order string) ([]int64, error) {
	if err := c.tell("%s", order); err != nil {
		return nil, err
	}
	return c.answer()
}

// end lets the client come to its end and waits for it.
func (c *client) end() error {
	c.in.Close()
	return c.cmd.Wait()
}
