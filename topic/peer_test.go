package topic_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/topic"
)

// A peer is this test binary, executed again as another process of the domain. It reports by lines on stdout.
const (
	envPeer = "SHIPLAP_TOPIC_PEER"
	envBase = "SHIPLAP_TOPIC_BASE"
	envArg  = "SHIPLAP_TOPIC_ARG"
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
func start(t testing.TB, role string, d *shiplap.Domain, arg int) *peer {
	t.Helper()
	p := &peer{t: t, cmd: exec.Command("/proc/self/exe"), done: make(chan struct{})}
	p.more = sync.NewCond(&p.mu)
	p.cmd.Env = append(os.Environ(), envPeer+"="+role, envBase+"="+baseOf(d), envArg+"="+strconv.Itoa(arg))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	ok(t, err)
	p.in, err = p.cmd.StdinPipe()
	ok(t, err)
	ok(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.add(s.Text())
		}
		p.add("EOF")
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *peer) add(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
	p.more.Broadcast()
}

// says waits for line n, counted from 0.
func (p *peer) says(n int, want string) {
	p.t.Helper()
	if got := p.line(n); got != want {
		p.t.Fatalf("the peer says %q as line %d; %q is wanted", got, n, want)
	}
}

func (p *peer) line(n int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.lines) <= n && (len(p.lines) == 0 || p.lines[len(p.lines)-1] != "EOF") {
		p.more.Wait()
	}
	return p.lines[min(n, len(p.lines)-1)]
}

// numbers are the lines so far; stop it first.
func (p *peer) numbers() (all []int) {
	<-p.done
	for _, l := range p.lines {
		if n, err := strconv.Atoi(l); err == nil {
			all = append(all, n)
		}
	}
	return all
}

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

// roles of peers. An error ends one with status 1.
var roles = map[string]func(d *shiplap.Domain, r *topic.Raw, arg int) error{
	"publish": publishForever, "receive": receiveForever, "subscribe": subscribeOnly, "hold": holdPublisher, "scribble": scribble,
	"come and go": comeAndGo, "bench publish": benchPublish, "bench receive": benchReceive,
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
		r, err := topic.OpenRaw(d, "t", nil)
		if err != nil {
			return err
		}
		defer r.Close()
		return roles[role](d, r, arg)
	}()
	if err != nil {
		fmt.Fprintf(os.Stderr, "peer %q: %v\n", role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// say writes a line with one system call, so that a death leaves whole lines.
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

// publishForever publishes arg·1e6, arg·1e6+1, … and says so when it is done, until stdin ends.
func publishForever(_ *shiplap.Domain, r *topic.Raw, arg int) error {
	stop := stdinEnds()
	for i := arg * 1_000_000; ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := r.Publish(bg, message(i, 16+i%200)); errors.Is(err, shiplap.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		say(i)
	}
}

// receiveForever says what it receives until the topic is closed; of a topic with Overwrite, also how many it missed.
func receiveForever(_ *shiplap.Domain, r *topic.Raw, _ int) error {
	s, err := r.Subscribe(nil)
	if err != nil {
		return err
	}
	defer s.Close()
	say("here")
	missed, got := uint64(0), uint64(0)
	for b, err := range s.All(bg) {
		var e topic.ErrLagged
		if errors.As(err, &e) {
			missed += e.N
			continue
		}
		if err != nil {
			return err
		}
		i, err := number(b)
		if err != nil {
			return err
		}
		got++
		if r.Policy() == topic.Block {
			say(i)
		}
	}
	if r.Policy() == topic.Overwrite {
		say(missed + got)
	}
	return nil
}

// subscribeOnly receives arg messages and then nothing until stdin ends; then the rest, until the topic is closed.
func subscribeOnly(_ *shiplap.Domain, r *topic.Raw, arg int) error {
	s, err := r.Subscribe(nil)
	if err != nil {
		return err
	}
	defer s.Close()
	say("here")
	for range arg {
		if _, err := s.Receive(bg, nil); err != nil {
			return err
		}
	}
	say("received")
	<-stdinEnds()
	for b, err := range s.All(bg) {
		if err != nil {
			return err
		}
		i, err := number(b)
		if err != nil {
			return err
		}
		say(i)
	}
	return nil
}

func holdPublisher(_ *shiplap.Domain, r *topic.Raw, _ int) error {
	p, err := r.Publisher(bg)
	if err != nil {
		return err
	}
	if err := p.Publish(bg, message(1, 100)); err != nil {
		return err
	}
	say("holding")
	<-stdinEnds()
	return p.Close()
}

// comeAndGo subscribes, receives a little, and leaves, again and again, until stdin ends.
func comeAndGo(_ *shiplap.Domain, r *topic.Raw, arg int) error {
	stop := stdinEnds()
	say("here")
	for i := arg; ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		s, err := r.Subscribe(&topic.SubOptions{Last: i % 3 * 10})
		if errors.Is(err, shiplap.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		for range i % 30 {
			b, err := s.TryReceive(nil)
			if err == shiplap.ErrEmpty || errors.As(err, new(topic.ErrLagged)) {
				continue
			}
			if errors.Is(err, shiplap.ErrClosed) {
				break
			}
			if err == nil {
				_, err = number(b)
			}
			if err != nil {
				return err
			}
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
}

// scribble writes random words at random places of the file, control words more often, for arg milliseconds.
func scribble(d *shiplap.Domain, _ *topic.Raw, arg int) error {
	f, err := os.OpenFile(filepath.Join(d.Dir(), "t"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	say("going")
	r := rand.New(rand.NewPCG(uint64(arg), 7))
	for end := time.Now().Add(time.Duration(arg) * time.Millisecond); time.Now().Before(end); {
		at := r.Int64N(st.Size()/8) * 8
		switch r.IntN(3) {
		case 0:
			at = 4096 + r.Int64N(96)*8
		case 1:
			at = 8192 + r.Int64N(64)*8
		}
		v := r.Uint64()
		switch r.IntN(4) {
		case 0:
			v %= 4096
		case 1:
			v = 0
		}
		if _, err := f.WriteAt(binary.LittleEndian.AppendUint64(nil, v), at); err != nil {
			return err
		}
		if r.IntN(50) == 0 {
			time.Sleep(time.Duration(r.IntN(300)) * time.Microsecond)
		}
	}
	return nil
}
