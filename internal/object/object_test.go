package object

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

var bg = context.Background()

func enter(t *testing.T, base string) *Space {
	t.Helper()
	s, err := Enter(base, "domain", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Release(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// child is another process of the domain.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	token uint32
}

func start(t *testing.T, base string) *child {
	t.Helper()
	c := starting(t, base)
	t.Cleanup(c.kill)
	return c
}

func starting(t testing.TB, base string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), peerEnv+"="+base)
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanln(c.out, &c.token); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *child) kill() {
	if c.cmd.ProcessState == nil {
		c.cmd.Process.Kill()
		c.cmd.Wait()
	}
}

func (c *child) say(line string) string {
	fmt.Fprintln(c.in, line)
	s, err := c.out.ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(s)
}

func (c *child) do(t *testing.T, line string) {
	t.Helper()
	if s := c.say(line); s != "ok" {
		t.Fatalf("%s: %s", line, s)
	}
}

func TestCreateOpenRemove(t *testing.T) {
	s := enter(t, t.TempDir())
	sp := spec(0)
	sp.Params[3] = 7
	sp.Desc = schema.Descriptor{Text: "bytes", Hash: 9}
	o, err := s.Create("a", sp)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create("a", spec(0)); !errors.Is(err, errs.ErrExist) {
		t.Errorf("a second one: %v", err)
	}
	p, err := s.Open("a", Queue, parts)
	if err != nil {
		t.Fatal(err)
	}
	if p.Params[3] != 7 || p.Desc != "bytes" || p.DescHash != 9 || p.Label != "test" || p.Pid != os.Getpid() || len(p.Locks) != 1 || p.Locks[0].Name != "lock" {
		t.Errorf("%+v", p.Header)
	}
	if p.Ctl.U64(HeaderSize+512).Load() != 42 {
		t.Error("not initialised")
	}
	o.Ctl.U64(HeaderSize).Store(5)
	if p.Ctl.U64(HeaderSize).Load() != 5 {
		t.Error("not the same memory")
	}
	if _, err := s.Open("a", Pipe, parts); !errors.Is(err, errs.ErrIncompatible) || !strings.Contains(err.Error(), "pipe") || !strings.Contains(err.Error(), "queue") {
		t.Errorf("wrong kind: %v", err)
	}
	other := func(*Header) ([]mem.Part, error) { return []mem.Part{{Len: HeaderSize}}, nil }
	if _, err := s.Open("a", Queue, other); !errors.Is(err, errs.ErrCorrupt) {
		t.Errorf("other size: %v", err)
	}
	in, err := s.Stat("a")
	if err != nil || in.Err != nil || len(in.Users) != 0 && in.Users[0] != s.Table.Self() {
		t.Errorf("%+v, %v", in, err)
	}
	if l, err := s.Locks("a"); err != nil || len(l) != 1 || l[0].Lock != "lock" || l[0].Owner != 5 {
		t.Errorf("%+v, %v", l, err)
	}
	if err := s.Remove(bg, "a"); err != nil {
		t.Fatal(err)
	}
	if err := p.Err(); !errors.Is(err, errs.ErrRemoved) {
		t.Errorf("after removal: %v", err)
	}
	if _, err := s.Open("a", Queue, parts); !errors.Is(err, errs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if err := s.Remove(bg, "a"); !errors.Is(err, errs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	n, err := s.Create("a", spec(0)) // the name is free
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(o.Close(), p.Close(), n.Close(), s.Remove(bg, "a")); err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	s := enter(t, t.TempDir())
	long := spec(0)
	long.Label = strings.Repeat("x", maxLabel+1)
	if _, err := s.Create("a", long); !errors.Is(err, errs.ErrTooLarge) {
		t.Errorf("%v", err)
	}
	if _, err := s.Create("a/b", spec(0)); !errors.Is(err, errs.ErrName) {
		t.Errorf("%v", err)
	}
	path := s.Dir.Path() + "/bad"
	if err := os.WriteFile(path, make([]byte, testSize), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open("bad", 0, parts); !errors.Is(err, errs.ErrCorrupt) {
		t.Errorf("%v", err)
	}
	if all, err := s.List(); err != nil || len(all) != 1 || !errors.Is(all[0].Err, errs.ErrCorrupt) {
		t.Errorf("%+v, %v", all, err)
	}
	if sw, err := s.Sweep(bg, false); err != nil || len(sw) != 0 {
		t.Errorf("swept what cannot be proved: %+v, %v", sw, err)
	}
	if err := s.Remove(bg, "bad"); err != nil {
		t.Errorf("a damaged one can be removed: %v", err)
	}
}

func TestTruncated(t *testing.T) {
	s := enter(t, t.TempDir())
	o, err := s.Create("a", spec(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.Dir.Path()+"/a", HeaderSize); err != nil {
		t.Fatal(err)
	}
	if err := o.Explain(fmt.Errorf("%w: x", errs.ErrCorrupt)); !strings.Contains(err.Error(), "truncated from 8192 to 4096") {
		t.Errorf("%v", err)
	}
	if _, err := s.Open("a", Queue, parts); !errors.Is(err, errs.ErrCorrupt) {
		t.Errorf("%v", err)
	}
	if err := errors.Join(s.Remove(bg, "a"), o.Close()); err != nil {
		t.Error(err)
	}
}

func TestEphemeral(t *testing.T) {
	base := t.TempDir()
	s := enter(t, base)
	c := start(t, base)
	c.do(t, "ephemeral e")
	o, err := s.Open("e", Queue, parts)
	if err != nil {
		t.Fatal(err)
	}
	c.do(t, "close e")
	if in, err := s.Stat("e"); err != nil {
		t.Errorf("gone although we use it: %+v, %v", in, err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Stat("e"); !errors.Is(err, errs.ErrNotExist) {
		t.Errorf("still there after its last user: %v", err)
	}
}

func what(sw []Swept) string {
	var all []string
	for _, s := range sw {
		if s.What != "member" {
			all = append(all, s.What+" "+s.Name)
		}
	}
	return strings.Join(all, ", ")
}

// What a killed process leaves is swept, each kind of it, and nothing of the living.
func TestSweep(t *testing.T) {
	base := t.TempDir()
	s := enter(t, base)
	c, living := start(t, base), start(t, base)
	c.do(t, "ephemeral e")
	c.do(t, "create kept")
	c.do(t, "create half")
	c.do(t, "mark half")
	c.do(t, "temporary")
	living.do(t, "ephemeral theirs")
	living.do(t, "temporary")
	if sw, err := s.Sweep(bg, true); err != nil || what(sw) != "half-removed half" {
		t.Errorf("while it lives: %q, %v", what(sw), err)
	}
	c.kill()
	for end := time.Now().Add(20 * time.Second); !s.Table.AnyDead() && time.Now().Before(end); {
		time.Sleep(100 * time.Microsecond)
	}
	dry, err := s.Sweep(bg, true)
	if err != nil {
		t.Error(err)
	}
	sw, err := s.Sweep(bg, false)
	if err != nil || len(sw) != 4 || len(dry) != 4 {
		t.Errorf("swept %q (of %q), %v", what(sw), what(dry), err)
	}
	if sw, err := s.Sweep(bg, false); err != nil || len(sw) != 0 {
		t.Errorf("a second sweep: %+v, %v", sw, err)
	}
	files, _ := s.Dir.Files()
	if len(files) != 4 { // kept, theirs, their temporary, the members
		t.Errorf("left: %q", files)
	}
	living.kill()
	for end := time.Now().Add(20 * time.Second); !s.Table.AnyDead() && time.Now().Before(end); {
		time.Sleep(100 * time.Microsecond)
	}
	if _, err := s.Sweep(bg, false); err != nil {
		t.Error(err)
	}
	if err := s.Remove(bg, "kept"); err != nil {
		t.Error(err)
	}
}

func TestNoLeaks(t *testing.T) {
	s := enter(t, t.TempDir())
	o, err := s.Create("a", spec(Ephemeral))
	if err != nil {
		t.Fatal(err)
	}
	fds, maps := len(leaktest.Descriptors()), len(leaktest.Mappings("/"))
	for i := range 2000 {
		p, err := s.Open("a", Queue, parts)
		if err != nil {
			t.Fatal(err)
		}
		if i%7 == 0 {
			_, _ = s.Open("a", Pipe, parts)
			_, _ = s.Open("none", Queue, parts)
			_, _ = s.Create("a", spec(0))
		}
		p.Flags = 0 // this one does not take the object with it
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if f, m := len(leaktest.Descriptors()), len(leaktest.Mappings("/")); f > fds || m > maps {
		t.Errorf("%d descriptors and %d mappings before, %d and %d after", fds, maps, f, m)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}

func TestGate(t *testing.T) {
	for range 300 {
		var inside, outs atomic.Int32
		var freed atomic.Bool
		g := &Gate{}
		g.out = func() { outs.Add(1); freed.Store(true) }
		var closers atomic.Int32
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for g.Enter() {
					inside.Add(1)
					if freed.Load() {
						t.Error("inside after the end")
					}
					inside.Add(-1)
					g.Leave()
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				if g.Close() {
					closers.Add(1)
				}
			})
		}
		wg.Wait()
		if outs.Load() != 1 || closers.Load() != 1 || g.Enter() {
			t.Fatalf("out ran %d times, %d closed", outs.Load(), closers.Load())
		}
	}
}

func TestPin(t *testing.T) {
	for round := range 100 {
		var freed atomic.Bool
		var outs atomic.Int32
		var p Pin
		p.Init(func() { outs.Add(1); freed.Store(true) })
		var wg sync.WaitGroup
		entered := make(chan bool)
		wg.Go(func() {
			for i := 0; p.Enter(); i++ {
				if i == 0 {
					close(entered)
				}
				if freed.Load() {
					t.Error("inside after the end")
				}
				if (i+round)%3 == 0 {
					p.Lend()
					if freed.Load() || !p.Lent() {
						t.Error("a lent view of what is gone")
					}
					p.Return()
					continue
				}
				p.Leave()
			}
		})
		<-entered
		var closers atomic.Int32
		for range 2 {
			wg.Go(func() {
				if p.Close() {
					closers.Add(1)
				}
			})
		}
		wg.Wait()
		if outs.Load() != 1 || closers.Load() != 1 || !p.IsClosed() {
			t.Fatalf("out ran %d times, %d closed", outs.Load(), closers.Load())
		}
	}
}

// The one who holds a view ends it.
func TestPinLentAtClose(t *testing.T) {
	var outs int
	var p Pin
	p.Init(func() { outs++ })
	if !p.Enter() {
		t.Fatal("closed")
	}
	p.Lend()
	if !p.Close() || outs != 0 {
		t.Fatal("it waits for the view")
	}
	p.Return()
	if outs != 1 || p.Enter() {
		t.Error("not over")
	}
}

// Close races with calls that are inside (D11).
func TestCloseRace(t *testing.T) {
	s := enter(t, t.TempDir())
	for range 50 {
		o, err := s.Create("a", spec(Ephemeral))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for o.Gate.Enter() {
					o.Ctl.U64(HeaderSize + 600).Add(1)
					o.Gate.Leave()
				}
			})
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}

func FuzzParseHeader(f *testing.F) {
	h := &Header{Kind: Queue, Size: 1 << 20, Flags: Ephemeral, Label: "label", Desc: "bytes", Token: 5, Pid: 6, Created: time.Unix(1, 2),
		Locks: []LockAt{{"lock", 4096}, {"other", 4224}}, Events: []int{4352, 8192}}
	sp := mem.NewHeap(mem.Part{Len: HeaderSize}).Span(0)
	h.write(sp)
	good := sp.Bytes(0, HeaderSize)
	if back, err := ParseHeader(good, h.Size); err != nil || back.Label != "label" || len(back.Locks) != 2 || back.Locks[1].Name != "other" || len(back.Events) != 2 {
		f.Fatalf("%+v, %v", back, err)
	}
	f.Add(good, h.Size)
	f.Add(good[:100], h.Size)
	f.Add(good, int64(5000))
	f.Add(make([]byte, HeaderSize), int64(0))
	f.Fuzz(func(t *testing.T, page []byte, size int64) {
		h, err := ParseHeader(page, size)
		if err != nil {
			if !errors.Is(err, errs.ErrCorrupt) && !errors.Is(err, errs.ErrIncompatible) {
				t.Errorf("%v", err)
			}
			return
		}
		for _, l := range h.Locks {
			if l.Off < HeaderSize || int64(l.Off)+128 > size || l.Off%128 != 0 {
				t.Errorf("%+v of %d", l, size)
			}
		}
		for _, e := range h.Events {
			if e < HeaderSize || int64(e)+4 > size || e%4 != 0 {
				t.Errorf("event %d of %d", e, size)
			}
		}
		if h.Size != size || len(h.Label) > maxLabel || len(h.Desc) > maxDesc {
			t.Errorf("%+v", h)
		}
	})
}
