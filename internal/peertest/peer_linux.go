package peertest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/shiplap-ipc/shiplap"
)

// Peer is another process of the domain, as the test sees it. All methods may be called concurrently, but one goroutine
// takes the lines.
type Peer struct {
	t     testing.TB
	order order
	cmd   *exec.Cmd
	stdin io.WriteCloser
	wait  func() error
	said  chan struct{} // closed after the last line

	mu    sync.Mutex
	lines []string
	more  sync.Cond // a line, or the end of lines
	over  bool      // no line will follow
	taken int       // lines
}

// Start starts a peer in a role. One that lives when the test ends is killed; it dies with this process, too.
func Start(t testing.TB, d *shiplap.Domain, role string, arg any) *Peer {
	t.Helper()
	p := &Peer{t: t, cmd: exec.Command("/proc/self/exe"), said: make(chan struct{})}
	p.more.L = &p.mu
	p.order = order{Role: role, Base: Base(d), Domain: d.Name()}
	var err error
	if p.order.Arg, err = json.Marshal(arg); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(p.order)
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Env = append(os.Environ(), envOrder+"="+string(text),
		"GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0") // or each end takes a second under the race detector
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stderr = os.Stderr // at once: the test may hang
	p.wait = sync.OnceValue(func() error {
		<-p.said
		return p.cmd.Wait()
	})
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.collect(out)
	t.Cleanup(p.Kill)
	return p
}

// collect takes what the peer says off its hands, so that it never waits for the test.
func (p *Peer) collect(out io.Reader) {
	defer close(p.said)
	for in := bufio.NewReader(out); ; {
		line, err := in.ReadString('\n')
		p.mu.Lock()
		if p.over = err != nil; !p.over {
			p.lines = append(p.lines, line[:len(line)-1])
		}
		p.more.Broadcast()
		p.mu.Unlock()
		if err != nil { // what has no newline was not said
			return
		}
	}
}

// next takes a line; it is false if there are no more.
func (p *Peer) next() (line string, there bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.lines) == p.taken && !p.over {
		p.more.Wait()
	}
	if there = p.taken < len(p.lines); there {
		line = p.lines[p.taken]
		p.taken++
	}
	return line, there
}

// wants ends the test if the line is not what it waits for.
func (p *Peer) wants(what, line string, there, good bool) {
	p.t.Helper()
	switch {
	case !there:
		p.t.Fatalf("%v has ended (%v); %s is wanted; it said %q", p.order, p.wait(), what, p.Said())
	case !good:
		p.t.Fatalf("%v says %q; %s is wanted; it said %q", p.order, line, what, p.Said())
	}
}

// Line waits for the peer's next line.
func (p *Peer) Line() string {
	p.t.Helper()
	line, there := p.next()
	p.wants("another line", line, there, true)
	return line
}

// Says waits for the peer's next line, which must be that.
func (p *Peer) Says(want string) {
	p.t.Helper()
	line, there := p.next()
	p.wants(strconv.Quote(want), line, there, line == want)
}

// Reports waits for the peer's next line, which must begin with that word, and returns the rest.
func (p *Peer) Reports(word string) string {
	p.t.Helper()
	line, there := p.next()
	rest, good := strings.CutPrefix(line, word+" ")
	p.wants(strconv.Quote(word+" …"), line, there, good)
	return rest
}

// Said is what the peer said so far.
func (p *Peer) Said() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines[:len(p.lines):len(p.lines)]
}

// Lines waits until the peer says no more, and returns all that it said.
func (p *Peer) Lines() []string {
	<-p.said
	return p.Said()
}

// Numbers are those of Lines that are numbers.
func (p *Peer) Numbers() (all []int) {
	for _, l := range p.Lines() {
		if n, err := strconv.Atoi(l); err == nil {
			all = append(all, n)
		}
	}
	return all
}

// Tell gives the peer a line. A dead one does not mind.
func (p *Peer) Tell(line string) { _, _ = io.WriteString(p.stdin, line+"\n") }

// CloseStdin is how most peers are told to end.
func (p *Peer) CloseStdin() { _ = p.stdin.Close() }

// Wait waits for the peer's end, which it must come to by itself. The error says how it ended if not with status 0.
func (p *Peer) Wait() error {
	if err := p.wait(); err != nil {
		return fmt.Errorf("%v: %w", p.order, err)
	}
	return nil
}

// Ends tells the peer to end and waits until it has, with status 0.
func (p *Peer) Ends() {
	p.t.Helper()
	p.CloseStdin()
	if err := p.Wait(); err != nil {
		p.t.Error(err)
	}
}

// Kill kills the peer and waits until it is gone.
func (p *Peer) Kill() {
	p.Signal(syscall.SIGKILL)
	_ = p.wait()
}

// Signal sends a signal and does not wait for what it does. A dead peer does not mind.
func (p *Peer) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// Stop stops the peer and waits until each of its threads has stopped. SIGCONT lets it go on.
func (p *Peer) Stop() {
	p.t.Helper()
	p.Signal(syscall.SIGSTOP)
	// The kernel reports a stop when the last thread has. It is to report it again, to who stops what is stopped.
	const pid = 1 // P_PID
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pid, uintptr(p.Pid()), 0, syscall.WSTOPPED|syscall.WNOWAIT, 0, 0)
		switch errno {
		case 0:
			return
		case syscall.EINTR:
		default:
			p.t.Fatalf("%v does not stop: %v", p.order, errno)
		}
	}
}

// Pid is the peer's process id.
func (p *Peer) Pid() int { return p.cmd.Process.Pid }
