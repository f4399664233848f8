package racetest

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
	"sync"
	"syscall"
	"time"
)

// hire is a worker process as the supervisor sees it.
type hire struct {
	b     *bout
	n     int
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string // what it says, without violations; closed at its end
	err   error       // how it ended, once lines is closed

	mu      sync.Mutex
	stderr  bytes.Buffer
	stopped bool
	quit    bool // it was made to dump its goroutines
	over    bool
}

const keepStderr = 256 << 10

// hire starts a worker in a role of the bout's scene.
func (b *bout) hire(role string) (*hire, error) {
	b.mu.Lock()
	n := len(b.hires)
	b.mu.Unlock()
	if n >= maxHires {
		return nil, fmt.Errorf("more than %d processes", maxHires)
	}
	b.ledger.hired.Store(uint64(n + 1))
	h := &hire{b: b, n: n, cmd: exec.Command("/proc/self/exe"), lines: make(chan string, 64)}
	text, err := json.Marshal(order{Scene: b.scene, Role: role, Base: b.base, Ledger: b.path, Hire: n,
		Seed: b.seed, Weather: b.weather})
	if err != nil {
		return nil, err
	}
	h.cmd.Env = append(os.Environ(), envOrder+"="+string(text), "GOTRACEBACK=all",
		// Or each end takes a second under the race detector.
		"GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	h.cmd.SysProcAttr = dieWithParent()
	h.cmd.Stderr = h
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.hires = append(b.hires, h)
	b.mu.Unlock()
	b.count("processes", 1)
	go h.collect(out)
	return h, nil
}

// Write keeps what the worker writes to stderr: the first of it, where a panic begins.
func (h *hire) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if room := keepStderr - h.stderr.Len(); room > 0 {
		h.stderr.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// collect takes what the worker says off its hands, until it has ended.
func (h *hire) collect(out io.Reader) {
	for in := bufio.NewReader(out); ; {
		line, err := in.ReadString('\n')
		if err != nil { // what has no newline was not said
			break
		}
		line = line[:len(line)-1]
		if v, ok := strings.CutPrefix(line, "V "); ok {
			kind, what, _ := strings.Cut(v, " ")
			h.b.violation(kind, fmt.Sprintf("process %d: %s", h.n, what), "")
			continue
		}
		h.lines <- line
	}
	h.err = h.cmd.Wait()
	h.mu.Lock()
	h.over = true
	text, quit := h.stderr.String(), h.quit
	h.mu.Unlock()
	killed := false
	if s, ok := h.cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
		killed = s.Signaled() && s.Signal() == syscall.SIGKILL
	}
	condemned := h.b.ledger.row(h.n).condemned.Load() != 0
	if h.err != nil && !quit && !(killed && condemned) {
		h.b.violation("crash", fmt.Sprintf("process %d ended: %v", h.n, h.err), firstLines(text, 40))
	}
	close(h.lines)
}

// kill kills the worker and waits until it is gone. Written down first: nobody takes a dead owner
// for a living one.
func (h *hire) kill() {
	h.condemn()
	h.signal(syscall.SIGKILL)
	h.wait()
}

func (h *hire) condemn() { h.b.ledger.row(h.n).condemned.Store(1) }

// wait waits until the worker has ended.
func (h *hire) wait() {
	for range h.lines {
	}
}

// says waits for a line; it is false if the worker has ended or the time is up.
func (h *hire) says(within time.Duration) (string, bool) {
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case line, ok := <-h.lines:
		return line, ok
	case <-t.C:
		return "", false
	}
}

// tell gives the worker a line. A dead one does not mind.
func (h *hire) tell(line string) { _, _ = io.WriteString(h.stdin, line+"\n") }

func (h *hire) signal(s syscall.Signal) { _ = h.cmd.Process.Signal(s) }

// freeze stops the worker for a while.
func (h *hire) freeze(d time.Duration) {
	h.setStopped(true)
	h.signal(syscall.SIGSTOP)
	time.Sleep(d)
	h.signal(syscall.SIGCONT)
	h.setStopped(false)
}

func (h *hire) setStopped(s bool) { h.mu.Lock(); h.stopped = s; h.mu.Unlock() }

// dump makes the worker write the stacks of its goroutines and end, and returns them.
func (h *hire) dump() string {
	h.mu.Lock()
	h.quit = true
	h.mu.Unlock()
	h.condemn()
	h.signal(syscall.SIGCONT)
	h.signal(syscall.SIGQUIT)
	late := time.AfterFunc(10*time.Second, func() { h.signal(syscall.SIGKILL) })
	h.wait()
	late.Stop()
	h.mu.Lock()
	defer h.mu.Unlock()
	return interesting(h.stderr.String())
}

// interesting is what a dump of goroutines says of the code under test: for each of them that is in
// it, where it is.
func interesting(dump string) string {
	var all []string
	for g := range strings.SplitSeq(dump, "\n\n") {
		head, frames, _ := strings.Cut(g, "\n")
		if !strings.HasPrefix(head, "goroutine ") {
			continue
		}
		var where []string
		under := false
		lines := strings.Split(frames, "\n")
		for i, l := range lines {
			_, f, ours := strings.Cut(l, "shiplap-ipc/shiplap")
			if !ours || strings.HasPrefix(l, "created by") || i+1 == len(lines) {
				continue
			}
			f, _, _ = strings.Cut(strings.TrimPrefix(f, "/"), "(0x")
			line, _, _ := strings.Cut(filepath.Base(lines[i+1]), " ")
			under = under || !strings.HasPrefix(f, "internal/racetest.")
			where = append(where, strings.TrimSuffix(f, "(...)")+" "+line)
		}
		under = under && !strings.HasPrefix(where[0], "internal/member.onExit") // waits for another process
		number, _, _ := strings.Cut(head, " gp=")
		_, state, _ := strings.Cut(head, " [")
		if under {
			all = append(all, "    "+number+" ["+state+" "+strings.Join(where, " < "))
		}
	}
	return strings.Join(all, "\n")
}

func (h *hire) living() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.over && !h.quit
}

func firstLines(text string, n int) string {
	lines := strings.SplitAfterN(text, "\n", n+1)
	return strings.Join(lines[:min(n, len(lines))], "")
}
