package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	procs "github.com/shiplap-ipc/shiplap/proc"
)

// manage keeps a processes running, each with two children that do not listen to polite signals.
func (c *child) manage() error {
	m, err := procs.New(c.d, &procs.Options{Name: c.name, Output: io.Discard})
	if err != nil {
		return err
	}
	for i := range c.a {
		err := m.Add(procs.Spec{Name: fmt.Sprintf("%s.%d", c.name, i),
			Command: []string{"sh", "-c", "trap '' TERM INT HUP; sleep 1000 & sleep 1000"}})
		if err != nil {
			return err
		}
	}
	if err := m.StartAll(c.ctx); err != nil {
		return err
	}
	fmt.Println("managing")
	<-c.ctx.Done()
	m.Kill()
	return m.Close()
}

func (s *demo) actManager() error {
	const managed, all = 3, 9
	s.act("kill -9 a process manager")
	k, err := s.start("manage", "manager", managed)
	if err != nil {
		return err
	}
	if _, err := s.line(k); err != nil {
		return err
	}
	if err := s.until(func() bool { return s.offspring("manager") == all }); err != nil {
		return err
	}
	s.tell("It runs %d processes with two children each, all of which ignore SIGTERM.", managed)
	at := k.kill()
	err = s.until(func() bool { return s.offspring("manager") == 0 || time.Since(at) > 5*time.Second })
	if err != nil {
		return err
	}
	left := s.offspring("manager")
	s.check(left == 0, "%.0f ms later %d of these %d are left", float64(time.Since(at))/1e6, left, all)
	return nil
}

func (s *demo) until(done func() bool) error {
	for !done() {
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// offspring counts the living processes that say in their environment that a manager of our domain started them.
func (s *demo) offspring(manager string) (n int) {
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range all {
		env, err := os.ReadFile(path)
		if err != nil {
			continue // it ended
		}
		env = append([]byte{0}, env...)
		if bytes.Contains(env, []byte("\x00"+procs.EnvDomain+"="+s.at.domain+"\x00")) && bytes.Contains(env, []byte("\x00"+procs.EnvManager+"="+manager+"\x00")) {
			n++
		}
	}
	return n
}
