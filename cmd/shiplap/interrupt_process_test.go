package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/pipe"
	"github.com/shiplap-ipc/shiplap/queue"
)

// Ctrl-C in every command that waits: it ends at once, with 130, and leaves nothing.
func TestInterrupt(t *testing.T) {
	stats := func(d *shiplap.Domain, name string) queue.Stats {
		q, err := queue.OpenRaw(d, name, nil)
		if err != nil {
			return queue.Stats{}
		}
		defer q.Close()
		s, _ := q.Stats()
		return s
	}
	getWaits := func(d *shiplap.Domain) bool { return stats(d, "empty").GetWaits > 0 }
	for _, tt := range []struct {
		args  string
		input io.Reader // nil: a pipe on which nothing comes
		waits func(*shiplap.Domain) bool
	}{
		{"queue get empty", nil, getWaits},
		{"queue get empty --follow", nil, getWaits},
		{"queue get empty --count 5 --timeout 1h", nil, getWaits},
		{"queue get acked --follow --ack", nil, func(d *shiplap.Domain) bool { return stats(d, "acked").GetWaits > 0 }},
		{"queue put full -m more", nil, func(d *shiplap.Domain) bool { return stats(d, "full").PutWaits > 0 }},
		{"queue put empty", nil, nil}, // for input
		{"queue put empty --raw", nil, nil},
		{"pipe recv p", nil, func(d *shiplap.Domain) bool { _, err := pipe.StatsOf(d, "p"); return err == nil }},
		{"pipe send p", nil, func(d *shiplap.Domain) bool { _, err := pipe.StatsOf(d, "p"); return err == nil }},
		{"pipe send p", endless{}, func(d *shiplap.Domain) bool { s, _ := pipe.StatsOf(d, "p"); return s.AtoB.SendWaits > 0 }},
		{"pipe send p", bytes.NewReader([]byte("x")), func(d *shiplap.Domain) bool { s, _ := pipe.StatsOf(d, "p"); return s.AtoB.Closed }},
	} {
		t.Run(tt.args, func(t *testing.T) {
			s := newTool(t)
			for _, args := range [][]string{{"empty"}, {"acked", "--ack"}, {"full", "--capacity", "4K"}} {
				s.run(append([]string{"queue", "create"}, args...)...)
			}
			s.run("queue", "put", "full", "-m", strings.Repeat("x", 4080))
			in := tt.input
			if in == nil {
				r, w, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				defer w.Close()
				in = r
			}
			p := s.start(in, nil, strings.Fields(tt.args)...)
			p.WaitDelay = time.Second // endless input is still being copied
			s.joined(p)
			if tt.waits != nil {
				s.until("it waits", tt.waits)
			}
			p.Process.Signal(syscall.SIGINT)
			p.endsInterrupted()
			s.left("acked", "empty", "full")
		})
	}
}

// endsInterrupted is ends(130), where the input may not have been read.
func (p *proc) endsInterrupted() {
	p.t.Helper()
	p.waited = true
	stuck := time.AfterFunc(hangBound, func() { p.Process.Signal(syscall.SIGQUIT) })
	p.Wait()
	stuck.Stop()
	if code := p.ProcessState.ExitCode(); code != 130 {
		p.t.Errorf("exit code %d (%v), want 130; it said %s", code, p.ProcessState, p.stderr.String())
	}
}

// An interrupted end of a pipe must not look to the other like a proper one.
func TestInterruptedPipe(t *testing.T) {
	s := newTool(t)
	send := s.start(endless{}, nil, "pipe", "send", "p")
	recv := s.start(nil, io.Discard, "pipe", "recv", "p")
	s.moved("p")
	send.WaitDelay = time.Second
	send.Process.Signal(syscall.SIGINT)
	send.endsInterrupted()
	recv.ends(exitEnded)
	s.left()
}

// A reader that does not read keeps nobody from ending.
func TestInterruptBlockedOutput(t *testing.T) {
	s := newTool(t)
	s.run("queue", "create", "q", "--capacity", "4M")
	s.start(bytes.NewReader(lines(20_000)), nil, "queue", "put", "q").ends(exitOK)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := s.start(nil, w, "queue", "get", "q", "--follow")
	w.Close()
	s.until("it takes messages", func(d *shiplap.Domain) bool {
		q, err := queue.OpenRaw(d, "q", nil)
		if err != nil {
			return false
		}
		defer q.Close()
		st, err := q.Stats()
		return err == nil && st.Gets > 0
	})
	p.Process.Signal(syscall.SIGINT)
	p.endsInterrupted()
}
