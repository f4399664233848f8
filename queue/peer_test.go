package queue_test

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
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

// A peer is this test binary, executed again as another process of the domain. It reports by lines on stdout.
const (
	envPeer = "SHIPLAP_QUEUE_PEER"
	envBase = "SHIPLAP_QUEUE_BASE"
	envArg  = "SHIPLAP_QUEUE_ARG"
)

type peerProcess struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	mu    sync.Mutex
	lines []string
	more  *sync.Cond
	done  chan struct{} // stdout is at its end
}

// start starts a peer and collects what it says.
func start(t *testing.T, role, base string, arg int) *peerProcess {
	t.Helper()
	p := &peerProcess{t: t, cmd: exec.Command("/proc/self/exe"), done: make(chan struct{})}
	p.more = sync.NewCond(&p.mu)
	p.cmd.Env = append(os.Environ(), envPeer+"="+role, envBase+"="+base, envArg+"="+strconv.Itoa(arg))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	ok(t, err)
	p.in, err = p.cmd.StdinPipe()
	ok(t, err)
	ok(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, s.Text())
			p.more.Broadcast()
			p.mu.Unlock()
		}
		p.mu.Lock()
		p.lines = append(p.lines, "EOF")
		p.more.Broadcast()
		p.mu.Unlock()
	}()
	t.Cleanup(p.kill)
	return p
}

// says waits for line n, counted from 0.
func (p *peerProcess) says(n int, want string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.lines) <= n && (len(p.lines) == 0 || p.lines[len(p.lines)-1] != "EOF") {
		p.more.Wait()
	}
	if len(p.lines) <= n || p.lines[n] != want {
		p.t.Fatalf("the peer says %q; %q is wanted as line %d", p.lines, want, n)
	}
}

// numbers are the lines so far; stop it first.
func (p *peerProcess) numbers() (all []int) {
	<-p.done
	for _, l := range p.lines {
		if n, err := strconv.Atoi(l); err == nil {
			all = append(all, n)
		}
	}
	return all
}

func (p *peerProcess) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		p.wait()
	}
}

func (p *peerProcess) wait() error {
	<-p.done
	return p.cmd.Wait()
}

func (p *peerProcess) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// roles of peers. An error ends one with status 1.
var roles = map[string]func(d *shiplap.Domain, q *queue.Raw, arg int) error{
	"put":           putForever,
	"get":           getForever,
	"receive":       receiveForever,
	"hold Reserve":  holdReserve,
	"hold Producer": holdProducer,
	"hold Peek":     holdPeek,
	"hold Consumer": holdConsumer,
	"hold delivery": holdDelivery,
	"shared put":    putForeverQuietly,
	"shared get":    getForeverQuietly,
	"scribble":      scribble,
	"coming and going": func(d *shiplap.Domain, _ *queue.Raw, arg int) error {
		return comeAndGo(d, arg)
	},
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
		q, err := queue.OpenRaw(d, "q", nil)
		if err != nil && role != "coming and going" {
			return err
		}
		if q != nil {
			defer q.Close()
		}
		return roles[role](d, q, arg)
	}()
	if err != nil {
		fmt.Fprintf(os.Stderr, "peer %q: %v\n", role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// say writes a line with one system call, so that a death leaves whole lines.
func say(a ...any) { os.Stdout.WriteString(fmt.Sprintln(a...)) }

// putForever puts arg·1e6, arg·1e6+1, … and says so when it is done, until stdin ends.
func putForever(_ *shiplap.Domain, q *queue.Raw, arg int) error {
	stop := stdinEnds()
	for i := arg * 1_000_000; ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := q.Put(bg, message(i, 16+i%200)); errors.Is(err, shiplap.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		say(i)
	}
}

func stdinEnds() <-chan struct{} {
	stop := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	return stop
}

func getForever(_ *shiplap.Domain, q *queue.Raw, _ int) error {
	for b, err := range q.All(bg) {
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

func receiveForever(_ *shiplap.Domain, q *queue.Raw, _ int) error {
	for d, err := range q.Deliveries(bg) {
		if err != nil {
			return err
		}
		i, err := number(d.Body)
		if err != nil {
			return err
		}
		say(i)
		if err := d.Ack(); err != nil {
			return err
		}
	}
	return nil
}

// forever keeps a peer alive until it is killed.
func forever() error {
	time.Sleep(time.Hour)
	return nil
}

func holdProducer(_ *shiplap.Domain, q *queue.Raw, _ int) error {
	p, err := q.Producer(bg)
	if err != nil {
		return err
	}
	say("holding")
	<-stdinEnds()
	if err := p.Put(bg, message(1, 100)); err != nil {
		return err
	}
	if err := p.Close(); err != nil {
		return err
	}
	say("done")
	return forever()
}

func holdReserve(_ *shiplap.Domain, q *queue.Raw, _ int) error {
	p, err := q.Producer(bg)
	if err != nil {
		return err
	}
	b, err := p.Reserve(bg, 100)
	if err != nil {
		return err
	}
	copy(b, message(1, 100))
	say("holding")
	<-stdinEnds()
	if err := errors.Join(p.Commit(100), p.Close()); err != nil {
		return err
	}
	say("done")
	return forever()
}

func holdConsumer(_ *shiplap.Domain, q *queue.Raw, _ int) error {
	c, err := q.Consumer(bg)
	if err != nil {
		return err
	}
	say("holding")
	<-stdinEnds()
	if _, err := c.Get(bg, nil); err != nil {
		return err
	}
	if err := c.Close(); err != nil {
		return err
	}
	say("done")
	return forever()
}

func holdPeek(_ *shiplap.Domain, q *queue.Raw, _ int) error {
	c, err := q.Consumer(bg)
	if err != nil {
		return err
	}
	if _, err := c.Peek(bg); err != nil {
		return err
	}
	say("holding")
	<-stdinEnds()
	if err := errors.Join(c.Release(), c.Close()); err != nil {
		return err
	}
	say("done")
	return forever()
}

func holdDelivery(_ *shiplap.Domain, q *queue.Raw, _ int) error {
	d, err := q.Receive(bg)
	if err != nil {
		return err
	}
	say("holding")
	<-stdinEnds()
	if err := d.Ack(); err != nil {
		return err
	}
	say("done")
	return forever()
}

func putForeverQuietly(_ *shiplap.Domain, q *queue.Raw, _ int) error {
	say("going")
	for i := 0; ; i++ {
		if err := q.Put(bg, message(i, 1000)); err != nil {
			return err
		}
	}
}

func getForeverQuietly(_ *shiplap.Domain, q *queue.Raw, _ int) error {
	say("going")
	for {
		b, err := q.Get(bg, nil)
		if err == nil {
			_, err = number(b)
		}
		if err != nil {
			return err
		}
	}
}

// scribble writes random words at random places of the file, control words more often, for arg milliseconds.
func scribble(d *shiplap.Domain, _ *queue.Raw, arg int) error {
	f, err := os.OpenFile(filepath.Join(d.Dir(), "q"), os.O_RDWR, 0)
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
		if r.IntN(2) == 0 {
			at = 4096 + r.Int64N(96)*8
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
