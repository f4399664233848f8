package proc_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/shiplap-ipc/shiplap/proc"
)

// gate is a writer that takes nothing before it is opened.
type gate struct {
	open chan struct{}
	mu   sync.Mutex
	buf  bytes.Buffer
}

func (g *gate) Write(b []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.buf.Write(b)
}

// A flood of output does not hold up the process, and what is too much for a slow reader is dropped and counted.
func TestFlood(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	b := manage(t, nil)
	const n = 300000
	b.add(proc.Spec{Name: "flood", Command: sh(fmt.Sprintf("seq %d >&2; echo end", n)), Output: g},
		proc.Spec{Name: "other", Command: sh("echo not held up")})
	ok(t, b.StartAll(bg))
	b.hear("other | not held up")
	b.see("flood", proc.EventExited, 1) // although nobody reads
	ok(t, b.Wait(limit(t)))
	if s := b.state("flood"); s.Phase != proc.Done || s.Dropped == 0 {
		t.Errorf("%v, %d dropped", s, s.Dropped)
	}
	close(g.open)
	var lines []string
	if !eventually(func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		lines = strings.Split(strings.TrimSuffix(g.buf.String(), "\n"), "\n")
		return b.state("flood").Lines == n+1 && (slices.Contains(lines, "flood | end") || strings.HasSuffix(lines[len(lines)-1], "lines dropped]"))
	}) {
		t.Errorf("of %d lines, the last is %q", b.state("flood").Lines, lines[len(lines)-1])
	}
	var dropped, kept, last int
	for _, line := range lines {
		var i int
		switch {
		case line == "flood | end":
			kept++
		case strings.HasSuffix(line, "lines dropped]"):
			_, err := fmt.Sscanf(line, "flood | [%d lines dropped]", &i)
			ok(t, err)
			dropped += i
		default:
			_, err := fmt.Sscanf(line, "flood | %d", &i)
			ok(t, err)
			if i <= last {
				t.Fatalf("%d behind %d", i, last)
			}
			last = i
			kept++
		}
	}
	if s := b.state("flood"); uint64(dropped) != s.Dropped || uint64(kept+dropped) != s.Lines {
		t.Errorf("%d kept, %d dropped; the state says %d of %d dropped", kept, dropped, s.Dropped, s.Lines)
	}
	if kept > 20000 {
		t.Errorf("%d lines were kept", kept)
	}
}

// Nothing is lost of a flood that somebody reads.
func TestFloodRead(t *testing.T) {
	const n = 300000
	lines := 0
	b := manage(t, nil)
	b.add(proc.Spec{Name: "flood", Command: sh(fmt.Sprintf("seq %d", n)), Output: proc.Lines(func(l proc.Line) {
		if l.Dropped == 0 {
			lines++
		}
	})})
	ok(t, b.StartAll(bg))
	ok(t, b.Wait(limit(t)))
	s := b.state("flood")
	if s.Dropped > n/100 { // none, unless this machine stood still for a while
		t.Errorf("%v, %d of %d dropped", s, s.Dropped, s.Lines)
	}
	if uint64(lines)+s.Dropped != n {
		t.Errorf("%d lines came, %d were dropped", lines, s.Dropped)
	}
}

func TestLines(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "x", Command: sh(`printf 'one\n\nthree\r\npart'; printf ial; printf 'no end' >&2`)},
		proc.Spec{Name: "long", Command: sh(fmt.Sprintf(`head -c %d /dev/zero | tr '\0' a; echo; echo short; head -c %d /dev/zero | tr '\0' b`, proc.MaxLine+1, 10*proc.MaxLine))},
		proc.Spec{Name: "exact", Command: sh(fmt.Sprintf(`head -c %d /dev/zero | tr '\0' a; echo`, proc.MaxLine))})
	ok(t, b.StartAll(bg))
	ok(t, b.Wait(limit(t)))
	got := b.heard("x")
	slices.Sort(got)
	if !slices.Equal(got, []string{"", "no end", "one", "partial", "three\r"}) {
		t.Errorf("%q", got)
	}
	as, bs := strings.Repeat("a", proc.MaxLine), strings.Repeat("b", proc.MaxLine)
	if got := b.heard("long"); !slices.Equal(got, []string{as + " [cut]", "short", bs + " [cut]"}) {
		t.Errorf("%.100q", got)
	}
	if got := b.heard("exact"); !slices.Equal(got, []string{as}) {
		t.Errorf("%.100q", got)
	}
}

func TestOutputs(t *testing.T) {
	var log bytes.Buffer
	b := manage(t, nil)
	text := sh("echo out; echo err >&2")
	var plain bytes.Buffer
	b.add(proc.Spec{Name: "discarded", Command: text, Output: io.Discard},
		proc.Spec{Name: "logged", Command: text, Output: proc.Slog(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}})))},
		proc.Spec{Name: "plain", Command: text, Output: &plain},
		proc.Spec{Name: "through", Command: text, Output: proc.PassThrough})
	ok(t, b.Start(bg, "discarded")) // and the guardian, which shares our standard error
	r, w, err := os.Pipe()
	ok(t, err)
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = w, w
	err = b.StartAll(bg)
	os.Stdout, os.Stderr = stdout, stderr
	ok(t, err)
	ok(t, b.Wait(limit(t)))
	w.Close()
	through, err := io.ReadAll(r)
	r.Close()
	ok(t, err)
	if string(through) != "out\nerr\n" {
		t.Errorf("passed through: %q", through)
	}
	for what, is := range map[*bytes.Buffer][]string{
		&log:   {"level=INFO msg=out process=logged", "level=WARN msg=err process=logged"},
		&plain: {"plain | err", "plain | out"},
	} {
		lines := strings.Split(strings.TrimSpace(what.String()), "\n")
		slices.Sort(lines)
		if !slices.Equal(lines, is) {
			t.Errorf("%q", lines)
		}
	}
	if len(b.said) != 0 {
		t.Errorf("%q", b.said)
	}
}

// Who left the group and keeps the output open does not hold up the end of the process.
func TestOutputKeptOpen(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "x", Command: sh("setsid sleep 1000 & echo bye")})
	ok(t, b.StartAll(bg))
	ok(t, b.Wait(limit(t)))
	if got := b.heard("x"); !slices.Equal(got, []string{"bye"}) {
		t.Errorf("%q", got)
	}
}
