package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/internal/segment"
	procs "github.com/shiplap-ipc/shiplap/proc"
)

// noNap keeps children built with the race detector from sleeping a second when they end.
const noNap = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	procs.Init()
	os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" "+noNap))
	testscript.Main(m, map[string]func(){"shiplap": main})
}

// memory makes a directory for domains that goes with the test.
func memory(t testing.TB) string {
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "shiplap-cli-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			dir := memory(env.T().(testing.TB))
			env.Setenv("SHIPLAP_DIR", dir)
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("OBJECTS", filepath.Join(segment.DomainsPath(dir), "default"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// code N command…: the command ends with exit code N.
			"code": func(ts *testscript.TestScript, _ bool, args []string) {
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				err = ts.Exec(args[1], args[2:]...)
				if got := codeOf(err); got != want {
					ts.Fatalf("exit code %d (%v), want %d", got, err, want)
				}
			},
			// until REGEXP command…: again and again, until its output matches.
			"until": func(ts *testscript.TestScript, neg bool, args []string) {
				re, err := regexp.Compile("(?m)" + args[0])
				ts.Check(err)
				for end := time.Now().Add(hangBound); ; time.Sleep(5 * time.Millisecond) {
					_ = ts.Exec(args[1], args[2:]...)
					out := ts.ReadFile("stdout")
					if re.MatchString(out) != neg {
						return
					}
					if time.Now().After(end) {
						ts.Fatalf("never: %s in\n%s", args[0], out)
					}
				}
			},
			// damage FILE: overwrite the beginning of an object.
			"damage": func(ts *testscript.TestScript, _ bool, args []string) {
				f, err := os.OpenFile(args[0], os.O_WRONLY, 0)
				ts.Check(err)
				_, err = f.WriteString("garbage")
				ts.Check(errors.Join(err, f.Close()))
			},
		},
	})
}

func codeOf(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	return -1
}

// tool runs shiplap in a directory of its own.
type tool struct {
	t   *testing.T
	dir string
}

func newTool(t *testing.T) *tool {
	hearHangup()
	return &tool{t, memory(t)}
}

// hearHangup lets a test that was started by nohup start programs that are not: what is handled here, is not ignored
// after an exec.
var hearHangup = sync.OnceFunc(func() {
	if signal.Ignored(syscall.SIGHUP) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
})

// proc is a running shiplap.
type proc struct {
	*exec.Cmd
	t      *testing.T
	stderr bytes.Buffer
	waited bool
}

func (s *tool) start(in io.Reader, out io.Writer, args ...string) *proc {
	s.t.Helper()
	p := s.prepare(args...)
	p.Stdin, p.Stdout = in, out
	if err := p.Start(); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// prepare is for what start does not do.
func (s *tool) prepare(args ...string) *proc {
	p := &proc{Cmd: exec.Command("shiplap", append([]string{"--dir", s.dir}, args...)...), t: s.t}
	p.Stderr = &p.stderr
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.t.Cleanup(func() {
		if !p.waited && p.Process != nil {
			p.Process.Kill()
			p.Wait()
		}
	})
	return p
}

func (s *tool) run(args ...string) string {
	s.t.Helper()
	var out bytes.Buffer
	s.start(nil, &out, args...).ends(exitOK)
	return out.String()
}

// hangBound is when a wait counts as one without an end; under the race detector, the demonstration alone takes half a minute.
const hangBound = 3 * time.Minute

// ends waits for the process and compares its exit code; -1 is a signal.
func (p *proc) ends(code int) {
	p.t.Helper()
	stuck := time.AfterFunc(hangBound, func() { p.Process.Signal(syscall.SIGQUIT) })
	err := p.Wait()
	if !stuck.Stop() { // it may have taken that for a signal to end at
		p.t.Errorf("%s did not end by itself within %v", strings.Join(p.Args, " "), hangBound)
	}
	p.waited = true
	if got := codeOf(err); got != code {
		p.t.Errorf("%s: exit code %d (%v), want %d; it said %s", strings.Join(p.Args, " "), got, err, code, p.stderr.String())
	}
}

func (s *tool) domain() *shiplap.Domain {
	s.t.Helper()
	d, err := shiplap.Join("", &shiplap.Options{Dir: s.dir, NoSweep: true})
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// until looks again and again until something holds.
func (s *tool) until(what string, holds func(*shiplap.Domain) bool) {
	s.t.Helper()
	d := s.domain()
	defer d.Close()
	ctx, cancel := context.WithTimeout(context.Background(), hangBound)
	defer cancel()
	for tick := time.NewTicker(time.Millisecond); ; {
		if holds(d) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.t.Fatalf("never: %s", what)
		}
	}
}

// joined waits until the process is a member: from then on it handles signals.
func (s *tool) joined(p *proc) {
	s.t.Helper()
	s.until("the process joined", func(d *shiplap.Domain) bool {
		all, err := d.Members()
		return err == nil && slices.ContainsFunc(all, func(m shiplap.Process) bool { return m.Pid == p.Process.Pid && m.Alive })
	})
}

// left fails unless exactly the objects named, and no members, temporaries or children are left.
func (s *tool) left(objects ...string) {
	s.t.Helper()
	d := s.domain()
	defer d.Close()
	if names, err := peertest.Files(d); err != nil || !slices.Equal(names, objects) {
		s.t.Errorf("left behind: %q (%v), want %q", names, err, objects)
	}
	all, err := d.Members()
	if err != nil || len(all) != 1 {
		s.t.Errorf("members left behind: %v, %v", all, err)
	}
}

// lines is n different lines.
func lines(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "line %d of a list of words\n", i)
	}
	return b.Bytes()
}
