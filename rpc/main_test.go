package rpc_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/rpc"
)

// TestMain is victim, peer or test run; the latter must leave nothing behind.
func TestMain(m *testing.M) {
	killtest.RunVictim(scenarios()...)
	runPeer()
	leaktest.Main(m)
}

var bg = context.Background()

// soon bounds what must not take long.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(bg, 30*time.Second)
	t.Cleanup(cancel)
	return ctx
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

// domain is one of its own for the test.
func domain(t testing.TB) *shiplap.Domain {
	t.Helper()
	d, err := shiplap.Join("", &shiplap.Options{Dir: t.TempDir()})
	ok(t, err)
	t.Cleanup(func() { ok(t, d.Close()) })
	return d
}

// baseOf is the directory that the domain was joined below.
func baseOf(d *shiplap.Domain) string { return filepath.Dir(filepath.Dir(filepath.Dir(d.Dir()))) }

type closer interface{ Close() error }

// closing closes at the end of the test what the test may have closed itself.
func closing[T closer](t testing.TB) func(T, error) T {
	return func(c T, err error) T {
		t.Helper()
		ok(t, err)
		t.Cleanup(func() {
			if err := c.Close(); err != nil && !errors.Is(err, shiplap.ErrClosed) {
				t.Error(err)
			}
		})
		return c
	}
}

func dial(t testing.TB, d *shiplap.Domain) *rpc.Client {
	t.Helper()
	return closing[*rpc.Client](t)(rpc.Dial(soon(t), d, "s", nil))
}

func eventually(f func() bool) bool {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Microsecond) {
		if f() {
			return true
		}
	}
	return f()
}

// A peer is this test binary, executed again as another process of the domain. It reports by lines on stdout.
const (
	envPeer = "SHIPLAP_RPC_PEER"
	envBase = "SHIPLAP_RPC_BASE"
	envArg  = "SHIPLAP_RPC_ARG"
)

type peer struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(t testing.TB, role string, d *shiplap.Domain, arg int) *peer {
	t.Helper()
	p := &peer{t: t, cmd: exec.Command("/proc/self/exe")}
	p.cmd.Env = append(os.Environ(), envPeer+"="+role, envBase+"="+baseOf(d), envArg+"="+strconv.Itoa(arg))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	ok(t, err)
	p.out = bufio.NewReader(out)
	p.in, err = p.cmd.StdinPipe()
	ok(t, err)
	ok(t, p.cmd.Start())
	t.Cleanup(p.kill)
	return p
}

// says waits for the next line.
func (p *peer) says(want string) {
	p.t.Helper()
	if line, err := p.out.ReadString('\n'); line != want+"\n" {
		p.t.Fatalf("the peer says %q (%v); %q is wanted", line, err, want)
	}
}

func (p *peer) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// ends tells the peer to end and waits for it.
func (p *peer) ends() {
	p.t.Helper()
	p.in.Close()
	_, _ = io.Copy(io.Discard, p.out)
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("a peer: %v", err)
	}
}

func (p *peer) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// stop stops the peer and waits until all its threads are.
func (p *peer) stop() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	stopped := func() bool {
		stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
		for _, s := range stats {
			if b, err := os.ReadFile(s); err == nil && !strings.Contains(string(b), ") T ") {
				return false
			}
		}
		return len(stats) > 0
	}
	if !eventually(stopped) {
		p.t.Fatal("it does not stop")
	}
}

func say(a ...any) { os.Stdout.WriteString(fmt.Sprintln(a...)) }

// stdinEnds is closed when the test wants the peer to end.
func stdinEnds() <-chan struct{} {
	stop := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	return stop
}

// roles of peers. An error ends one with status 1.
var roles = map[string]func(d *shiplap.Domain, arg int) error{
	"serve": serveUntilEnd, "call": callAndWait, "calls": callMany, "bench queue": benchQueuePeer,
}

// runPeer returns at once unless this process is a peer.
func runPeer() {
	role := os.Getenv(envPeer)
	if role == "" {
		return
	}
	arg, _ := strconv.Atoi(os.Getenv(envArg))
	err := func() error {
		d, err := shiplap.Join("", &shiplap.Options{Dir: os.Getenv(envBase)})
		if err != nil {
			return err
		}
		defer d.Close()
		return roles[role](d, arg)
	}()
	if err != nil {
		fmt.Fprintf(os.Stderr, "peer %q: %v\n", role, err)
		os.Exit(1)
	}
	os.Exit(0)
}
