package store

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/shiplap-ipc/shiplap"
)

var bg = context.Background()

// A peer is this test binary, executed again as another process of the domain. It reports by lines on stdout.
const (
	envPeer   = "SHIPLAP_STORE_PEER"
	envDomain = "SHIPLAP_STORE_DOMAIN"
	envArg    = "SHIPLAP_STORE_ARG"
)

type peer struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    io.WriteCloser
	mu    sync.Mutex
	lines []string
	more  *sync.Cond
	done  chan struct{} // stdout is at its end
}

// start starts a peer and collects what it says.
func start(t testing.TB, d *shiplap.Domain, role string, arg int) *peer {
	t.Helper()
	p := &peer{t: t, cmd: exec.Command("/proc/self/exe"), done: make(chan struct{})}
	p.more = sync.NewCond(&p.mu)
	p.cmd.Env = append(os.Environ(), envPeer+"="+role, envDomain+"="+filepath.Base(d.Dir()), envArg+"="+strconv.Itoa(arg))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	ok(t, err)
	p.in, err = p.cmd.StdinPipe()
	ok(t, err, p.cmd.Start())
	go func() {
		defer close(p.done)
		say := func(line string) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.lines = append(p.lines, line)
			p.more.Broadcast()
		}
		in := bufio.NewScanner(out)
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			say(in.Text())
		}
		say("EOF")
	}()
	t.Cleanup(p.kill)
	return p
}

// says waits for line n, counted from 0, and returns what comes behind the word that it begins with.
func (p *peer) says(n int, want string) string {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.lines) <= n && (len(p.lines) == 0 || p.lines[len(p.lines)-1] != "EOF") {
		p.more.Wait()
	}
	if len(p.lines) <= n || !strings.HasPrefix(p.lines[n], want) {
		p.t.Fatalf("the peer says %q; %q is wanted as line %d", p.lines, want, n)
	}
	return strings.TrimSpace(p.lines[n][len(want):])
}

// all are the lines so far; it must be dead.
func (p *peer) all() []string {
	<-p.done
	return p.lines[:len(p.lines)-1]
}

func (p *peer) tell(line string) { _, _ = io.WriteString(p.in, line+"\n") }

func (p *peer) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.wait()
	}
}

func (p *peer) wait() error {
	<-p.done
	return p.cmd.Wait()
}

func (p *peer) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// say writes a line with one system call, so that a death leaves whole lines.
func say(a ...any) { os.Stdout.WriteString(fmt.Sprintln(a...)) }

// hear waits for a line of stdin; at its end it returns "".
var hear = sync.OnceValue(func() func() string {
	in := bufio.NewScanner(os.Stdin)
	return func() string {
		in.Scan()
		return in.Text()
	}
})

// roles of peers. An error ends one with status 1.
var roles = map[string]func(d *shiplap.Domain, arg int) error{}

// runPeer returns at once unless this process is a peer.
func runPeer() {
	role := os.Getenv(envPeer)
	if role == "" {
		return
	}
	arg, _ := strconv.Atoi(os.Getenv(envArg))
	err := func() error {
		d, err := shiplap.Join(os.Getenv(envDomain), &shiplap.Options{NoSweep: true})
		if err != nil {
			return err
		}
		defer d.Close()
		return roles[role](d, arg)
	}()
	if err != nil {
		fmt.Fprintf(os.Stderr, "peer %q %d: %v\n", role, arg, err)
		os.Exit(1)
	}
	os.Exit(0)
}
