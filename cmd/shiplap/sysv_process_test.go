package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/sysv"
)

// meeting is a place for a writer and a reader of the test's own. Nothing may be left there when it ends.
type meeting struct {
	*tool
	key       sysv.Key
	dir, fifo string
}

func newMeeting(t *testing.T) *meeting {
	t.Helper()
	m := &meeting{tool: newTool(t), dir: t.TempDir()}
	m.fifo = filepath.Join(m.dir, "bell")
	var err error
	if m.key, err = sysv.Ftok(m.dir, 'M'); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if info, err := sysv.Find(m.key); err == nil {
			t.Errorf("left behind: %v", info)
			info.ID.Remove()
		}
		if _, err := os.Stat(m.fifo); err == nil {
			t.Error("left behind: the FIFO")
		}
	})
	return m
}

func (m *meeting) args(verb string, more ...string) []string {
	return append([]string{"sysv", verb, "--path", m.dir, "--id", fmt.Sprint('M'), "--fifo", m.fifo}, more...)
}

// made waits until a writer made the segment and the FIFO.
func (m *meeting) made() *sysv.Info {
	m.t.Helper()
	for end := time.Now().Add(hangBound); time.Now().Before(end); {
		info, err := sysv.Find(m.key)
		if err == nil {
			if _, err := os.Stat(m.fifo); err == nil {
				return info
			}
		}
	}
	m.t.Fatal("no segment, or no FIFO")
	return nil
}

// side is one of two programs that talk, with pipes.
type side struct {
	p   *proc
	in  io.WriteCloser
	out *bufio.Reader
}

func (m *meeting) shiplap(verb string, more ...string) *side {
	m.t.Helper()
	return m.side(exec.Command("shiplap", m.args(verb, more...)...))
}

func (m *meeting) side(cmd *exec.Cmd) *side {
	m.t.Helper()
	s := &side{p: &proc{Cmd: cmd, t: m.t}}
	cmd.Stderr = &s.p.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	for _, err := range []error{err1, err2, cmd.Start()} {
		if err != nil {
			m.t.Fatal(err)
		}
	}
	s.in, s.out = in, bufio.NewReader(out)
	m.t.Cleanup(func() {
		if !s.p.waited {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return s
}

func (s *side) says(text string) {
	s.p.t.Helper()
	line, err := s.out.ReadString('\n')
	if line = strings.TrimSuffix(line, "\n"); err != nil || !strings.HasSuffix(line, text) {
		s.p.t.Fatalf("it says %q, %v; want %q; and %s", line, err, text, s.p.stderr.String())
	}
}

func (s *side) kill() {
	s.p.Process.Kill()
	s.p.Wait()
	s.p.waited = true
}

func cppSide(t *testing.T, m *meeting, role string) *side {
	t.Helper()
	compiler, err := exec.LookPath("g++")
	if err != nil {
		t.Skip("no C++ compiler: ", err)
	}
	bin := filepath.Join(t.TempDir(), role)
	if out, err := exec.Command(compiler, "-o", bin, "../../examples/sysvfifo/cpp/"+role+".cpp").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return m.side(exec.Command(bin, m.dir, fmt.Sprint('M'), m.fifo))
}

// The writer and the reader, each with the other side in C++.
func TestSysvCpp(t *testing.T) {
	for _, tt := range []struct {
		name   string
		writer func(*testing.T, *meeting) *side
		reader func(*testing.T, *meeting) *side
	}{
		{"C++ reads", func(_ *testing.T, m *meeting) *side { return m.shiplap("writer") }, func(t *testing.T, m *meeting) *side { return cppSide(t, m, "b") }},
		{"C++ writes", func(t *testing.T, m *meeting) *side { return cppSide(t, m, "a") }, func(_ *testing.T, m *meeting) *side { return m.shiplap("reader") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMeeting(t)
			w := tt.writer(t, m)
			info := m.made()
			if info.Size != 4096 || info.Mode != 0o600 {
				t.Error(info)
			}
			r := tt.reader(t, m)
			for _, text := range []string{"hello", "", strings.Repeat("x", 1000), "bye"} {
				io.WriteString(w.in, text+"\n")
				r.says(": " + text)
			}
			w.in.Close()
			w.p.ends(exitOK)
			if tt.name == "C++ reads" {
				r.says("B stops")
			}
			r.p.ends(exitOK)
		})
	}
}

// However fast the lines come, none is missed.
func TestSysvFast(t *testing.T) {
	m := newMeeting(t)
	const n = 5000
	var all bytes.Buffer
	w := m.start(bytes.NewReader(lines(n)), nil, m.args("writer")...)
	m.made()
	m.start(nil, &all, "sysv", "reader", "--key", m.key.String(), "--fifo", m.fifo).ends(exitOK)
	w.ends(exitOK)
	var got bytes.Buffer
	for line := range strings.Lines(all.String()) {
		_, text, _ := strings.Cut(line, "]: ")
		got.WriteString(text)
	}
	if !bytes.Equal(got.Bytes(), lines(n)) {
		t.Errorf("%d lines arrived: %.200q…", strings.Count(got.String(), "\n"), got.String())
	}
}

// A killed writer: the reader hears of it, the next writer explains what was left, and rm takes it away.
func TestSysvKilledWriter(t *testing.T) {
	m := newMeeting(t)
	w := m.shiplap("writer")
	info := m.made()
	r := m.shiplap("reader")
	io.WriteString(w.in, "hello\n")
	r.says(": hello")
	w.kill()
	r.p.ends(exitEnded)
	if s := r.p.stderr.String(); !strings.Contains(s, "without a stop") {
		t.Errorf("the reader says %s", s)
	}
	next := m.start(nil, nil, m.args("writer")...)
	next.ends(exitFailure)
	for _, want := range []string{"left by a writer that died", m.key.String(), "4096 bytes", fmt.Sprintf("pid %d (dead)", w.p.Process.Pid), "attached 0 times",
		fmt.Sprintf("next: shiplap sysv rm %d\n", int(info.ID))} {
		if !strings.Contains(next.stderr.String(), want) {
			t.Errorf("%s does not say %q", next.stderr.String(), want)
		}
	}
	late := m.start(nil, nil, m.args("reader")...)
	late.ends(exitEnded)
	if s := late.stderr.String(); !strings.Contains(s, fmt.Sprintf("was left by pid %d, which died", w.p.Process.Pid)) {
		t.Errorf("a late reader says %s", s)
	}
	var listed []struct {
		ID           int
		Key          string
		Mode         string
		CreatorAlive bool `json:"creator_alive"`
		LeftOver     bool `json:"left_over"`
	}
	if err := json.Unmarshal([]byte(m.run("sysv", "ls", "--json")), &listed); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, l := range listed {
		if l.Key == m.key.String() {
			found = l.ID == int(info.ID) && l.Mode == "0600" && !l.CreatorAlive && l.LeftOver
		}
	}
	if !found {
		t.Errorf("%+v", listed)
	}
	if out := m.run("sysv", "ls"); !strings.Contains(out, "(dead)") || !strings.Contains(out, "left over") {
		t.Error(out)
	}
	if out := m.run("sysv", "rm", "--orphans", "--dry-run"); !strings.Contains(out, fmt.Sprintf("would remove segment %d ", int(info.ID))) {
		t.Error(out)
	}
	m.run("sysv", "rm", "--key", m.key.String())
	m.start(nil, nil, "sysv", "rm", fmt.Sprint(int(info.ID))).ends(exitNotFound)

	// The FIFO that was left serves again.
	w = m.shiplap("writer")
	m.made()
	r = m.shiplap("reader")
	io.WriteString(w.in, "again\n")
	r.says(": again")
	w.in.Close()
	w.p.ends(exitOK)
	r.p.ends(exitOK)
}

// A reader that is gone ends the writer at once, also while it waits for a line.
func TestSysvKilledReader(t *testing.T) {
	m := newMeeting(t)
	w := m.shiplap("writer")
	m.made()
	r := m.shiplap("reader")
	io.WriteString(w.in, "hello\n")
	r.says(": hello")
	r.kill()
	w.p.ends(exitEnded)
	if s := w.p.stderr.String(); !strings.Contains(s, "peer is gone") || !strings.Contains(s, "next: shiplap sysv reader") {
		t.Errorf("the writer says %s", s)
	}
}

// Ctrl-C takes everything away, before a reader came and after.
func TestSysvInterrupt(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		m := newMeeting(t)
		w := m.shiplap("writer")
		m.made()
		w.p.Process.Signal(sig)
		w.p.ends(128 + int(sig))
		w = m.shiplap("writer")
		m.made()
		r := m.shiplap("reader")
		io.WriteString(w.in, "hello\n")
		r.says(": hello")
		w.p.Process.Signal(sig)
		w.p.ends(128 + int(sig))
		r.p.ends(exitOK)
	}
	m := newMeeting(t)
	w := m.shiplap("writer")
	m.made()
	r := m.shiplap("reader")
	io.WriteString(w.in, "hello\n")
	r.says(": hello")
	r.p.Process.Signal(syscall.SIGINT)
	r.p.ends(130)
	w.p.ends(exitEnded)
}

// A second writer leaves the first one alone.
func TestSysvSecondWriter(t *testing.T) {
	m := newMeeting(t)
	w := m.shiplap("writer")
	m.made()
	second := m.start(nil, nil, m.args("writer")...)
	second.ends(exitFailure)
	if s := second.stderr.String(); !strings.Contains(s, fmt.Sprintf("made by pid %d, attached 1 times", w.p.Process.Pid)) || strings.Contains(s, "died") {
		t.Error(s)
	}
	r := m.shiplap("reader")
	for _, code := range []string{"a", "q", "\n"} { // from somewhere else
		f, err := os.OpenFile(m.fifo, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, code)
		f.Close()
	}
	r.says(": ")
	r.says("neither a nor x code=q")
	io.WriteString(w.in, "still here\n")
	r.says(": still here")
	w.in.Close()
	w.p.ends(exitOK)
	r.p.ends(exitOK)
}

func TestLineFeed(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""}, {"a", "a|"}, {"a\n", "a|"}, {"\n", "|"}, {"\n\n", "||"}, {"abc\nd", "abc|d|"}, {"abcd\n", "abcd|"}, {"abcd\n\n", "abcd||"},
		{"abcde\n", "abcd|e|"}, {"abcdefgh\n", "abcd|efgh|"}, {"abcdefgh\n\n", "abcd|efgh||"}, {"abcdefghi", "abcd|efgh|i|"}, {"abcd", "abcd|"}, {"abcd\nefgh", "abcd|efgh|"},
	} {
		for chunk := 1; chunk < 6; chunk++ {
			l := &lineFeed{feed: newFeed(t.Context(), strings.NewReader(tt.in), chunk), max: 4}
			got := ""
			for {
				b, err := l.next()
				if err != nil {
					break
				}
				got += b + "|"
			}
			if got != tt.want {
				t.Errorf("%q in pieces of %d: %q, want %q", tt.in, chunk, got, tt.want)
			}
		}
	}
}
