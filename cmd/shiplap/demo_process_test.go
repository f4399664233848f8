package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/shiplap-ipc/shiplap"
)

func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	s := newTool(t)
	out := s.run("demo")
	if !strings.Contains(out, "checks held") || strings.Contains(out, "FAILED") {
		t.Errorf("it said %s", out)
	}
	s.noDomains()
}

func TestDemoInterrupted(t *testing.T) {
	s := newTool(t)
	r, w := io.Pipe()
	p := s.start(nil, w, "demo")
	for scan := bufio.NewScanner(r); scan.Scan(); {
		if strings.HasPrefix(scan.Text(), "3.") { // children are at work
			break
		}
	}
	go io.Copy(io.Discard, r)
	p.Process.Signal(syscall.SIGINT)
	p.ends(130)
	s.noDomains()
}

func (s *tool) noDomains() {
	s.t.Helper()
	names, err := shiplap.Domains(s.dir)
	if err != nil || len(names) > 0 {
		s.t.Errorf("domains left behind: %q, %v", names, err)
	}
}

// locks tells of a holder that is stopped, and then dead, with nobody else alive.
func TestLocksOfTheDead(t *testing.T) {
	s := newTool(t)
	s.run("queue", "create", "jobs")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	holder := s.start(nil, w, "demo-child", "hold", "jobs", "1")
	w.Close()
	if line, err := bufio.NewReader(r).ReadString('\n'); line != "holding\n" {
		t.Fatal(line, err)
	}
	if out := s.run("locks"); !strings.Contains(out, "producer  pid") || strings.Contains(out, "dead") {
		t.Errorf("while it is alive: %s", out)
	}
	holder.Process.Kill()
	holder.ends(-1)
	out := s.run("locks", "jobs")
	if !strings.Contains(out, "(dead)") || !strings.Contains(out, "demo-child hold") {
		t.Errorf("when it is dead: %s", out)
	}
	if out := s.run("sweep", "--dry-run"); !strings.Contains(out, "member") {
		t.Errorf("sweep would not find it: %s", out)
	}
	if out := s.run("doctor"); !strings.Contains(out, "1 dead members") {
		t.Errorf("doctor did not find it: %s", out)
	}
	s.run("sweep")
	if out := s.run("locks"); !strings.Contains(out, "dead") {
		t.Errorf("when it is swept: %s", out)
	}
	s.start(bytes.NewReader(nil), nil, "queue", "put", "jobs", "-m", "next").ends(exitOK) // it does not wait for ever
}
