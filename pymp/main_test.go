package pymp

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/internal/pythontest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var bg = context.Background()

// within is a context that turns a hang into a failure.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(bg, time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// script is a Python that runs beside the test; lines go to and fro.
type script struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	err bytes.Buffer
}

// python starts a script. It must end by itself when its input ends.
func python(t *testing.T, p pythontest.Python, code string, args ...string) *script {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script.py") // a file, not -c: "spawn" reads it again
	ok(t, os.WriteFile(file, []byte(code), 0o600))
	s := &script{t: t, cmd: exec.Command(p.Path, append([]string{"-u", file}, args...)...)}
	s.cmd.Stderr = &s.err
	var err error
	s.in, err = s.cmd.StdinPipe()
	ok(t, err)
	out, err := s.cmd.StdoutPipe()
	ok(t, err)
	s.out = bufio.NewReaderSize(out, 1<<16)
	ok(t, s.cmd.Start())
	timer := time.AfterFunc(2*time.Minute, func() { s.cmd.Process.Kill() })
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			s.cmd.Process.Kill()
			s.cmd.Wait()
		}
		timer.Stop()
	})
	return s
}

func (s *script) say(format string, args ...any) {
	s.t.Helper()
	if _, err := fmt.Fprintf(s.in, format+"\n", args...); err != nil {
		s.t.Fatalf("%v\n%s", err, s.err.String())
	}
}

// hear is the next line; ok is false after the last.
func (s *script) hear() (line string, ok bool) {
	line, err := s.out.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err == nil
}

func (s *script) want(line string) {
	s.t.Helper()
	got, ok := s.hear()
	if got == line && ok {
		return
	}
	if !ok {
		s.cmd.Wait()
	}
	s.t.Fatalf("it says %q, want %q\n%s", got, line, s.err.String())
}

// end waits for the script's end, which must be a good one.
func (s *script) end() {
	s.t.Helper()
	s.in.Close()
	rest, _ := io.ReadAll(s.out)
	if err := s.cmd.Wait(); err != nil || len(rest) > 0 {
		s.t.Fatalf("%v; it says %s\n%s", err, rest, s.err.String())
	}
}

// each runs a test with every Python.
func each(t *testing.T, f func(t *testing.T, p pythontest.Python)) {
	for _, p := range pythontest.All(t) {
		t.Run(p.String(), func(t *testing.T) { f(t, p) })
	}
}
