package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap"
)

// count says how often each line of the files occurs. The last line of a file whose writer was
// killed may be torn: it does not count.
func count(t *testing.T, files []string) map[string]int {
	t.Helper()
	n := map[string]int{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all := strings.SplitAfter(string(b), "\n")
		for _, l := range all[:len(all)-1] {
			n[l]++
		}
	}
	return n
}

func (s *tool) getInto(file string, args ...string) *proc {
	s.t.Helper()
	f, err := os.Create(file)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	return s.start(nil, f, args...)
}

// Many lines through a small queue to three consumers: every line once.
func TestManyLines(t *testing.T) {
	const n = 100_000
	s := newTool(t)
	s.run("queue", "create", "words", "--capacity", "64K")
	var files []string
	var gets []*proc
	for i := range 3 {
		f := filepath.Join(t.TempDir(), strconv.Itoa(i))
		files = append(files, f)
		gets = append(gets, s.getInto(f, "queue", "get", "words", "--follow"))
	}
	s.start(bytes.NewReader(lines(n)), nil, "queue", "put", "words").ends(exitOK)
	s.run("queue", "close", "words")
	for _, p := range gets {
		p.ends(exitOK)
	}
	got := count(t, files)
	for l, k := range got {
		if k != 1 {
			t.Fatalf("%q came %d times", l, k)
		}
	}
	if len(got) != n {
		t.Errorf("%d different lines came, want %d", len(got), n)
	}
	s.left("words")
}

// The same with acknowledgement, while consumers are killed again and again: every line at least
// once, and of what a killed consumer held at most one batch twice.
func TestConsumersKilled(t *testing.T) {
	const kills, block = 20, 200
	s := newTool(t)
	s.run("queue", "create", "words", "--capacity", "64K", "--ack")
	dir := t.TempDir()
	var files []string
	get := func() *proc {
		f := filepath.Join(dir, strconv.Itoa(len(files)))
		files = append(files, f)
		return s.getInto(f, "queue", "get", "words", "--follow", "--ack")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	put := s.start(r, nil, "queue", "put", "words")
	r.Close()
	n := 0
	more := func() {
		var b []byte
		for range block {
			b = fmt.Appendf(b, "line %d of a list of words\n", n)
			n++
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	steady := get()
	for range kills {
		p := get()
		f := files[len(files)-1]
		s.until("a consumer writes", func(*shiplap.Domain) bool {
			more()
			st, err := os.Stat(f)
			return err == nil && st.Size() > 0
		})
		p.Process.Kill()
		p.ends(-1)
	}
	last := get()
	more()
	w.Close()
	put.ends(exitOK)
	s.run("queue", "close", "words")
	steady.ends(exitOK)
	last.ends(exitOK)
	got := count(t, files)
	twice := 0
	for _, k := range got {
		twice += k - 1
	}
	if len(got) != n {
		t.Errorf("%d different lines came, want %d", len(got), n)
	}
	if twice > kills*ackBatch {
		t.Errorf("%d lines came twice after %d kills, at most %d a kill are due", twice, kills, ackBatch)
	}
	t.Logf("%d lines, %d kills, %d twice", n, kills, twice)
	s.run("sweep")
	s.left("words")
}

// A reader that goes away takes only what it was given from a queue with acknowledgement.
func TestOutputCloses(t *testing.T) {
	s := newTool(t)
	s.run("queue", "create", "jobs", "--ack")
	s.run("queue", "put", "jobs", "-m", "a", "-m", "b")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	p := s.start(nil, w, "queue", "get", "jobs")
	w.Close()
	p.ends(exitFailure)
	if got := s.run("queue", "get", "jobs", "--all"); got != "a\nb\n" {
		t.Errorf("left in the queue: %q", got)
	}
}
