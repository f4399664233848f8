package logfile_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/logfile"
)

const perChild = 2000

// text is what child id logs as its record number n: short, long, and across several pages.
func text(id string, n int) string {
	length := n * 7 % 300
	if n%50 == 0 {
		length = n * 13 % 20000
	}
	return strings.Repeat(id, length)
}

// child logs, and tells each record that was reported as written.
func child(role []string) error {
	if role[0] == "short" {
		return shortWrite(role[1])
	}
	h, err := logfile.New(&logfile.Options{File: role[0]})
	if err != nil {
		return err
	}
	defer h.Close()
	if len(role) == 3 {
		return untilEnd(h, role[1])
	}
	for n := range perChild {
		r := slog.NewRecord(time.Now(), slog.LevelInfo, text(role[1], n), 0)
		r.Add("id", role[1], "n", n)
		if err := h.Handle(context.Background(), r); err != nil {
			return err
		}
		fmt.Println(n)
	}
	return nil
}

// untilEnd logs until stdin ends.
func untilEnd(h *logfile.Handler, id string) error {
	var end atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		end.Store(true)
	}()
	for n := 0; !end.Load(); n++ {
		r := slog.NewRecord(time.Now(), slog.LevelInfo, strings.Repeat(id, n%100), 0)
		r.Add("id", id, "n", n)
		if err := h.Handle(context.Background(), r); err != nil {
			return err
		}
	}
	return nil
}

var record = regexp.MustCompile(`^\[info\]\[[^\]]+\]: (\w*) id=([a-h]) n=(\d+)$`)

// Three processes write a file that is truncated again and again: every line is a whole record.
func TestTruncated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "all.log")
	ok(t, os.WriteFile(path, nil, 0o600))
	var all sync.WaitGroup
	var stops []io.Closer
	for i := range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "LOGFILE_CHILD="+path+" "+string(rune('a'+i))+" on")
		cmd.Stderr = os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		in, err := cmd.StdinPipe()
		ok(t, err)
		stops = append(stops, in)
		ok(t, cmd.Start())
		all.Go(func() {
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	round := 4 * time.Second
	if testing.Short() {
		round /= 4
	}
	lines, broken, truncations := 0, 0, 0
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	ok(t, err)
	defer f.Close()
	b := make([]byte, 16<<10) // the files are short: it is the first lines that may break
	for end := time.Now().Add(round); time.Now().Before(end); {
		info, err := f.Stat()
		ok(t, err)
		k, err := f.ReadAt(b[:min(len(b), int(info.Size()))], 0)
		ok(t, err)
		ok(t, f.Truncate(0))
		truncations++
		got := b[:k]
		for line := range bytes.Lines(got[:bytes.LastIndexByte(got, '\n')+1]) { // the last one may be being written
			lines++
			if !record.Match(line[:len(line)-1]) {
				if broken++; broken <= 3 {
					t.Logf("%.100q", line)
				}
			}
		}
		time.Sleep(time.Duration(300+rand.IntN(2000)) * time.Microsecond)
	}
	for _, in := range stops {
		in.Close()
	}
	all.Wait()
	t.Logf("%d lines, %d truncations", lines, truncations)
	if broken > 0 || lines == 0 {
		t.Errorf("%d of %d lines are broken after %d truncations", broken, lines, truncations)
	}
}

// Eight processes write one file, half of them are killed. Every record that was reported is one whole line; what else is there is
// at most one line or piece of a line for each that was killed.
func TestProcesses(t *testing.T) {
	const children = 8
	path := filepath.Join(t.TempDir(), "all.log")
	var all sync.WaitGroup
	reported := make([]int, children)
	for i := range children {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "LOGFILE_CHILD="+path+" "+string(rune('a'+i)))
		cmd.Stderr = os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := cmd.StdoutPipe()
		ok(t, err)
		ok(t, cmd.Start())
		all.Go(func() {
			killAt := -1
			if i%2 == 1 {
				killAt = 100 + 237*i
			}
			s := bufio.NewScanner(out)
			for s.Scan() {
				if n, err := strconv.Atoi(s.Text()); err != nil || n != reported[i] {
					t.Errorf("child %d tells %q after %d", i, s.Text(), reported[i])
				}
				reported[i]++
				if reported[i] == killAt {
					cmd.Process.Kill()
				}
			}
			if err := cmd.Wait(); err != nil && killAt < 0 {
				t.Errorf("child %d: %v", i, err)
			}
			if killAt < 0 && reported[i] != perChild {
				t.Errorf("child %d reported %d", i, reported[i])
			}
		})
	}
	all.Wait()

	next := make([]int, children)
	pieces := 0
	for line := range strings.Lines(read(t, path)) {
		m := record.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			pieces++
			t.Logf("a piece of %d bytes: %.60q", len(line), line)
			continue
		}
		i, n := int(m[2][0]-'a'), 0
		fmt.Sscan(m[3], &n)
		if i%2 == 1 && n < next[i] { // a piece that lacks no more than a digit
			pieces++
			continue
		}
		if n != next[i] || m[1] != text(m[2], n) {
			t.Fatalf("record %d of child %d where %d should be, %d bytes of text", n, i, next[i], len(m[1]))
		}
		next[i]++
	}
	killed := 0
	for i, n := range next {
		more := 0
		if i%2 == 1 {
			killed++
			more = 1 // written, and killed before it was told
		}
		if n < reported[i] || n > reported[i]+more {
			t.Errorf("child %d: %d records, it reported %d", i, n, reported[i])
		}
	}
	if pieces > killed {
		t.Errorf("%d pieces of lines, %d processes were killed", pieces, killed)
	}
}

// A write that is cut short, here by a limit on the size of files, is told, and costs no other record.
func TestShortWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LOGFILE_CHILD=short "+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got, want := read(t, path), "[info][t]: first\n[info][t]: xxxxxxxxxxx\n[info][t]: third\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func shortWrite(path string) error {
	h, err := logfile.New(&logfile.Options{File: path, Time: "t", OnError: func(error) {}})
	if err != nil {
		return err
	}
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &lim); err != nil {
		return err
	}
	handle := func(msg string) error {
		return h.Handle(context.Background(), slog.NewRecord(time.Now(), slog.LevelInfo, msg, 0))
	}
	err1 := handle("first")
	err2 := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 40, Max: lim.Max})
	err3 := handle(strings.Repeat("x", 100))
	err4 := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &lim)
	err5 := handle("third")
	if !errors.Is(err3, shiplap.ErrNoSpace) || !strings.Contains(err3.Error(), "23 of 112 bytes were written") {
		return fmt.Errorf("short write: %v", err3)
	}
	return errors.Join(err1, err2, err4, err5, h.Close())
}
