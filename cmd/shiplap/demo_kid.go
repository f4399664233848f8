package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// kid is a child process that does what a role of demo_child.go says.
type kid struct {
	cmd  *exec.Cmd
	out  *bufio.Reader
	done bool
}

func (s *demo) start(role string, args ...any) (*kid, error) {
	c := exec.Command("/proc/self/exe", "demo-child", "--dir", s.at.dir, "--domain", s.at.domain, role)
	c.Args[0] = "shiplap"
	for _, a := range args {
		c.Args = append(c.Args, fmt.Sprint(a))
	}
	// A group of its own: Ctrl-C is for us, and we end the children.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	k := &kid{cmd: c, out: bufio.NewReaderSize(out, 64<<10)}
	s.kids = append(s.kids, k)
	return k, s.ctx.Err()
}

func (k *kid) pid() int { return k.cmd.Process.Pid }

// line reads what the child says next.
func (s *demo) line(k *kid) (string, error) {
	type answer struct {
		text string
		err  error
	}
	c := make(chan answer, 1)
	go func() {
		text, err := k.out.ReadString('\n')
		c <- answer{strings.TrimSpace(text), err}
	}()
	select {
	case a := <-c:
		if a.err != nil {
			return "", fmt.Errorf("child %d ended early: %w", k.pid(), a.err)
		}
		return a.text, nil
	case <-s.ctx.Done():
		return "", s.ctx.Err()
	}
}

// numbers sends the numbers that the child writes, until it ends.
func (k *kid) numbers(to chan<- uint64) {
	var b [8]byte
	for {
		if _, err := io.ReadFull(k.out, b[:]); err != nil {
			return
		}
		to <- binary.LittleEndian.Uint64(b[:])
	}
}

func (k *kid) kill() time.Time {
	at := time.Now()
	_ = k.cmd.Process.Kill()
	return at
}

func (k *kid) signal(sig syscall.Signal) { _ = k.cmd.Process.Signal(sig) }

// wait waits for a child that ends by itself. Its output must have been read.
func (s *demo) wait(k *kid) error {
	c := make(chan error, 1)
	go func() { c <- k.cmd.Wait() }()
	select {
	case err := <-c:
		k.done = true
		return err
	case <-s.ctx.Done():
		k.kill()
		<-c
		k.done = true
		return s.ctx.Err()
	}
}

func (s *demo) endKids() {
	for _, k := range s.kids {
		if !k.done {
			k.kill()
			_ = k.cmd.Wait()
		}
	}
	s.kids = nil
}
