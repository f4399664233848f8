package shm

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

const roleKey = "SHIPLAP_SHM_TEST_ROLE"

// TestMain is a test run, or a child in one of the roles.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleKey); role != "" {
		if err := roles[role](); err != nil {
			fmt.Fprintln(os.Stderr, role+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0") // children end at once
	leaktest.Main(m)
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v; %v is wanted", what, err, want)
	}
}

func says(t testing.TB, err error, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("%v; it should say %q", err, p)
		}
	}
}

// closing closes a segment at the test's end, if the test did not.
func closing(t testing.TB, s *Segment, err error) *Segment {
	t.Helper()
	ok(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

func created(t testing.TB, name string, size int64, opt *Options) *Segment {
	t.Helper()
	s, err := Create(name, size, opt)
	return closing(t, s, err)
}

func attached(t testing.TB, name string, opt *Options) *Segment {
	t.Helper()
	s, err := Attach(name, opt)
	return closing(t, s, err)
}

// in is a directory of its own on a tmpfs.
func in(t testing.TB) *Options { return &Options{Dir: t.TempDir()} }

func names(t testing.TB, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	ok(t, err)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// child is another process: this program in a role, or a Python.
type child struct {
	*exec.Cmd
	t      testing.TB
	in     io.WriteCloser
	out    *bufio.Reader
	stderr bytes.Buffer
	done   bool
}

func start(t testing.TB, cmd *exec.Cmd) *child {
	t.Helper()
	c := &child{Cmd: cmd, t: t}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = &c.stderr
	in, err := cmd.StdinPipe()
	ok(t, err)
	out, err := cmd.StdoutPipe()
	ok(t, err)
	c.in, c.out = in, bufio.NewReader(out)
	ok(t, cmd.Start())
	t.Cleanup(func() { c.kill() })
	return c
}

// inRole starts this program again.
func inRole(t testing.TB, role string, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	ok(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), roleKey+"="+role), env...)
	return cmd
}

const patience = 30 * time.Second

func (c *child) line() string {
	c.t.Helper()
	stuck := time.AfterFunc(patience, func() { c.Process.Kill() })
	defer stuck.Stop()
	s, err := c.out.ReadString('\n')
	if err != nil {
		c.wait()
		c.t.Fatalf("%v ended: %s", c.Args[:1], c.stderr.String())
	}
	return strings.TrimSuffix(s, "\n")
}

func (c *child) say(format string, a ...any) {
	c.t.Helper()
	_, err := fmt.Fprintf(c.in, format+"\n", a...)
	ok(c.t, err)
}

// wait closes its input and waits for its end.
func (c *child) wait() error {
	if c.done {
		return nil
	}
	c.done = true
	c.in.Close()
	stuck := time.AfterFunc(patience, func() { c.Process.Kill() })
	defer stuck.Stop()
	return c.Wait()
}

func (c *child) kill() {
	if !c.done {
		c.Process.Kill()
		c.wait()
	}
}
