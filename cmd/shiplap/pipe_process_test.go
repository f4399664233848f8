package main

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/pipe"
)

// moved waits until some bytes went from the first end to the second.
func (s *tool) moved(name string) {
	s.t.Helper()
	s.until("bytes move", func(d *shiplap.Domain) bool {
		st, err := pipe.StatsOf(d, name)
		return err == nil && st.AtoB.Received+st.BtoA.Received > 0
	})
}

func TestPipeMovesEverything(t *testing.T) {
	const size = 50 << 20
	for _, receiverFirst := range []bool{false, true} {
		s := newTool(t)
		in, out := sha256.New(), sha256.New()
		src := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), size), in)
		start := []func() *proc{
			func() *proc { return s.start(src, nil, "pipe", "send", "p") },
			func() *proc { return s.start(nil, out, "pipe", "recv", "p") },
		}
		if receiverFirst {
			start[0], start[1] = start[1], start[0]
		}
		a := start[0]()
		s.until("the pipe is there", func(d *shiplap.Domain) bool {
			_, err := d.Stat("p")
			return err == nil
		})
		b := start[1]()
		a.ends(exitOK)
		b.ends(exitOK)
		if !bytes.Equal(in.Sum(nil), out.Sum(nil)) {
			t.Errorf("receiver first %t: what came is not what went", receiverFirst)
		}
		s.left()
	}
}

// endless never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestPipePeerDies(t *testing.T) {
	for _, killSender := range []bool{true, false} {
		s := newTool(t)
		send := s.start(endless{}, nil, "pipe", "send", "p")
		recv := s.start(nil, io.Discard, "pipe", "recv", "p")
		s.moved("p")
		victim, other := send, recv
		if !killSender {
			victim, other = recv, send
		}
		victim.Process.Kill()
		other.ends(exitEnded)
		if !strings.Contains(other.stderr.String(), "died after") {
			t.Errorf("it said %q", other.stderr.String())
		}
		victim.waitKilled()
		s.run("sweep")
		s.left()
	}
}

// waitKilled waits for a killed process. Its input may still be copied to it, in vain.
func (p *proc) waitKilled() {
	p.t.Helper()
	p.waited = true
	if err := p.Wait(); err == nil {
		p.t.Error("it was not killed")
	}
}
