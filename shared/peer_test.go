package shared_test

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
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/shared"
)

// A peer is this test binary, executed again as another process of the domain. It reports by lines on stdout.
const (
	envPeer = "SHIPLAP_SHARED_PEER"
	envBase = "SHIPLAP_SHARED_BASE"
	envArg  = "SHIPLAP_SHARED_ARG"
)

type peer struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(t *testing.T, role string, d *shiplap.Domain, arg int) *peer {
	t.Helper()
	p := &peer{t: t, cmd: exec.Command("/proc/self/exe")}
	p.cmd.Env = append(os.Environ(), envPeer+"="+role, envBase+"="+baseOf(d), envArg+"="+strconv.Itoa(arg))
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
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

// until calls f again and again until stdin ends.
func until(stop <-chan struct{}, f func(i int) error) error {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := f(i); err != nil {
			return err
		}
	}
}

// roles of peers. An error ends one with status 1.
var roles = map[string]func(d *shiplap.Domain, arg int) error{
	"add": adder, "write": writer, "publish": publisher, "hold": holder, "scribble": scribbler, "stopped writer": stoppedWriter,
	"stopped publisher": stoppedPublisher, "change": changer, "replace": replacer,
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

// adder adds 1 to all counters, and after each to its own tally.
func adder(d *shiplap.Domain, arg int) error {
	word, e1 := shared.OpenValue[int64](d, "word")
	float, e2 := shared.OpenValue[float64](d, "float")
	blocks, e3 := shared.OpenValue[block](d, "block")
	tally, e4 := shared.OpenArray[int64](d, "tally")
	if err := errors.Join(e1, e2, e3, e4); err != nil {
		return err
	}
	mine, release, err := tally.Slice()
	if err != nil {
		return err
	}
	defer release()
	mine = mine[3*arg:]
	stop := stdinEnds()
	say("going")
	return until(stop, func(int) error {
		_, e1 := shared.Add(word, 1)
		mine[0]++
		_, e2 := shared.Add(float, 1)
		mine[1]++
		_, e3 := blocks.Update(bg, func(b *block) error { *b = blockOf(b.n() + 1); return nil })
		mine[2]++
		return errors.Join(e1, e2, e3)
	})
}

// writer writes blocks.
func writer(d *shiplap.Domain, arg int) error {
	v, err := shared.OpenValue[[1000]int](d, "large")
	if err != nil {
		return err
	}
	stop := stdinEnds()
	say("going")
	var x [1000]int
	return until(stop, func(i int) error {
		_ = filled(arg*1_000_000 + i)(x[:])
		return v.Store(bg, x)
	})
}

func publisher(d *shiplap.Domain, arg int) error {
	a, err := shared.OpenArray[int](d, "frames")
	if err != nil {
		return err
	}
	stop := stdinEnds()
	say("going")
	return until(stop, func(i int) error { return second(a.Publish(bg, filled(arg*1_000_000+i))) })
}

// replacer replaces an array under its lock.
func replacer(d *shiplap.Domain, arg int) error {
	a, err := shared.OpenArray[int](d, "plain")
	if err != nil {
		return err
	}
	src := make([]int, a.Len())
	stop := stdinEnds()
	say("going")
	return until(stop, func(i int) error {
		_ = filled(arg*1_000_000 + i)(src)
		return a.Replace(bg, src)
	})
}

// holder takes the lock of "v".
func holder(d *shiplap.Domain, _ int) error {
	v, err := shared.OpenValue[int64](d, "v")
	if err != nil {
		return err
	}
	if err := v.Lock(bg); err != nil {
		return err
	}
	stop := stdinEnds()
	say("holding")
	<-stop
	return v.Unlock()
}

// stoppedWriter is inside of Update until stdin ends.
func stoppedWriter(d *shiplap.Domain, _ int) error {
	v, err := shared.OpenValue[block](d, "block")
	if err != nil {
		return err
	}
	stop := stdinEnds()
	_, err = v.Update(bg, func(b *block) error {
		say("inside")
		<-stop
		*b = blockOf(b.n() + 1)
		return nil
	})
	return err
}

func stoppedPublisher(d *shiplap.Domain, _ int) error {
	a, err := shared.OpenArray[int](d, "frames")
	if err != nil {
		return err
	}
	stop := stdinEnds()
	_, err = a.Publish(bg, func(f []int) error {
		f[0] = -1
		say("inside")
		<-stop
		return filled(2)(f)
	})
	return err
}

// changer opens an array and doubles it in place.
func changer(d *shiplap.Domain, arg int) error {
	a, err := shared.OpenArrayShape[float64](d, "a", []int{arg, 2})
	if err != nil {
		return err
	}
	v, err := a.Pin()
	if err != nil {
		return err
	}
	defer v.Release()
	for _, p := range v.All() {
		*p *= 2
	}
	return nil
}

// scribbler writes random words at random places of all files, control words more often, for arg milliseconds.
func scribbler(d *shiplap.Domain, arg int) error {
	var files []*os.File
	for _, name := range []string{"word", "bool", "large", "frames", "plain"} {
		f, err := os.OpenFile(filepath.Join(d.Dir(), name), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		files = append(files, f)
	}
	say("going")
	r := rand.New(rand.NewPCG(uint64(arg), 7))
	for end := time.Now().Add(time.Duration(arg) * time.Millisecond); time.Now().Before(end); {
		f := files[r.IntN(len(files))]
		st, err := f.Stat()
		if err != nil {
			return err
		}
		at := r.Int64N(st.Size()/8) * 8
		if r.IntN(2) == 0 {
			at = 4096 + r.Int64N(40)*8
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
