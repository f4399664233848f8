package channel_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
)

// A peer is this test binary, executed again as another process of the domain. It reports by lines on stdout, and ends
// when its stdin does.
const (
	envPeer = "SHIPLAP_CHANNEL_PEER"
	envBase = "SHIPLAP_CHANNEL_BASE"
	envArg  = "SHIPLAP_CHANNEL_ARG"
)

type peer struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	once sync.Once
}

func start(t *testing.T, d *shiplap.Domain, role, arg string) *peer {
	t.Helper()
	p := &peer{t: t, cmd: exec.Command("/proc/self/exe")}
	p.cmd.Env = append(os.Environ(), envPeer+"="+role, envBase+"="+baseOf(d), envArg+"="+arg)
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	ok(t, err)
	p.out = bufio.NewReader(out)
	p.in, err = p.cmd.StdinPipe()
	ok(t, err, p.cmd.Start())
	t.Cleanup(p.kill)
	return p
}

// line waits for the next line.
func (p *peer) line() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("the peer ends with %q (%v)", line, err)
	}
	return line[:len(line)-1]
}

func (p *peer) says(want string) {
	p.t.Helper()
	if line := p.line(); line != want {
		p.t.Fatalf("the peer says %q; %q is wanted", line, want)
	}
}

func (p *peer) kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
}

// ends lets the peer end and waits for it.
func (p *peer) ends() {
	p.t.Helper()
	p.once.Do(func() {
		p.in.Close()
		_, _ = io.Copy(io.Discard, p.out)
		if err := p.cmd.Wait(); err != nil {
			p.t.Errorf("a peer: %v", err)
		}
	})
}

func say(a ...any) { os.Stdout.WriteString(fmt.Sprintln(a...)) }

func untilStdinEnds() { _, _ = io.Copy(io.Discard, os.Stdin) }

// roles of peers. An error ends one with status 1.
var roles = map[string]func(d *shiplap.Domain, arg string) error{
	"hold": hold, "own": own, "receive": receiver, "send": sender, "forward": forward, "reply": replier, "lend": lender, "block": block,
}

// runPeer returns at once unless this process is a peer.
func runPeer() {
	role := os.Getenv(envPeer)
	if role == "" {
		return
	}
	err := func() error {
		d, err := shiplap.Join("", &shiplap.Options{Dir: os.Getenv(envBase), NoSweep: true})
		if err != nil {
			return err
		}
		defer d.Close()
		return roles[role](d, os.Getenv(envArg))
	}()
	if err != nil {
		fmt.Fprintf(os.Stderr, "peer %q: %v\n", role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// hold has side B open until it ends, and does nothing with it.
func hold(d *shiplap.Domain, name string) error {
	c, err := channel.Get[int](d, name, nil)
	if err != nil {
		return err
	}
	say("has it")
	untilStdinEnds()
	return c.Close()
}

// own is hold on side A.
func own(d *shiplap.Domain, name string) error {
	c, err := channel.GetOwn[int](d, name, nil)
	if err != nil {
		return err
	}
	say("has it")
	untilStdinEnds()
	return c.Close()
}

// receiver says what it receives, and how that ends.
func receiver(d *shiplap.Domain, name string) error {
	c, err := channel.Get[int](d, name, nil)
	if err != nil {
		return err
	}
	say("has it")
	ctx, cancel := context.WithCancel(bg)
	go func() {
		untilStdinEnds()
		cancel()
	}()
	for {
		v, err := c.Receive(ctx)
		switch {
		case err == io.EOF:
			say("end")
			return c.Close()
		case errors.Is(err, shiplap.ErrPeerGone):
			say("death")
			return c.Close()
		case errors.Is(err, context.Canceled):
			return c.Close()
		case err != nil:
			return err
		}
		say(v)
	}
}

// sender sends 0, 1 … until it is killed or the other side is gone.
func sender(d *shiplap.Domain, name string) error {
	c, err := channel.Get[int](d, name, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	for i := 0; ; i++ {
		if err := c.Send(bg, i); err != nil {
			say(err)
			return nil
		}
		if i == 0 {
			say("going")
		}
	}
}

// block has a handler that never returns.
func block(d *shiplap.Domain, name string) error {
	c, err := channel.Get[int](d, name, nil)
	if err != nil {
		return err
	}
	if _, err = c.OnReceive(func(context.Context, int) { say("blocked"); select {} }); err != nil {
		return err
	}
	say("has it")
	untilStdinEnds()
	return c.Close()
}

// parcel is a message that carries channels.
type parcel struct {
	Text  string
	Reply channel.Ref[string]
}

// forward takes parcels from the channel arg and passes them on, over the channel arg+1.
func forward(d *shiplap.Domain, name string) error {
	n, _ := strconv.Atoi(name)
	from, err := channel.Get[parcel](d, name, nil)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := channel.GetOwn[parcel](d, strconv.Itoa(n+1), nil)
	if err != nil {
		return err
	}
	defer to.Close()
	say("has it")
	for p, err := range from.All(bg) {
		if err != nil {
			return err
		}
		p.Text += "," + name
		if err := to.Send(bg, p); err != nil {
			return err
		}
	}
	return nil
}

// replier answers each parcel over the channel that it carries.
func replier(d *shiplap.Domain, name string) error {
	from, err := channel.Get[parcel](d, name, nil)
	if err != nil {
		return err
	}
	defer from.Close()
	say("has it")
	for p, err := range from.All(bg) {
		if err != nil {
			return err
		}
		reply, err := p.Reply.Open(d, nil)
		if errors.Is(err, shiplap.ErrNotExist) {
			say("gone")
			continue
		}
		if err != nil {
			return err
		}
		if err := reply.Send(bg, "re: "+p.Text); err != nil {
			return err
		}
		back, err := reply.Receive(bg)
		if err != nil {
			return err
		}
		say(back)
		if err := reply.Close(); err != nil {
			return err
		}
	}
	return nil
}

// lender sends a parcel and stays.
func lender(d *shiplap.Domain, name string) error {
	to, err := channel.GetOwn[parcel](d, name, nil)
	if err != nil {
		return err
	}
	c, err := channel.Anonymous[string](d, nil)
	if err != nil {
		return err
	}
	ref, err := c.Ref(channel.SideB)
	if err != nil {
		return err
	}
	if err := to.Send(bg, parcel{"x", ref}); err != nil {
		return err
	}
	say(c.Name())
	untilStdinEnds()
	return nil
}
