package member

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

// child is another process in the domain.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	token uint32
}

func start(t *testing.T, base string) *child {
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
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	line, _ := bufio.NewReader(out).ReadString('\n')
	token, err := strconv.ParseUint(strings.TrimSpace(line), 10, 32)
	if err != nil {
		t.Fatalf("the child says %q", line)
	}
	c.token = uint32(token)
	return c
}

// kill is SIGKILL. It returns once the process is reaped.
func (c *child) kill() {
	if c.cmd.ProcessState == nil {
		c.cmd.Process.Kill()
		c.cmd.Wait()
	}
}

func (c *child) leave(t *testing.T) {
	t.Helper()
	c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("leaving: %v", err)
	}
}

func join(t *testing.T, base string) *Table {
	t.Helper()
	d, err := segment.OpenDir(base, "domain", true)
	if err != nil {
		t.Fatal(err)
	}
	tab, err := Join(d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return tab
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen: " + what)
		}
	}
}

func TestJoinTwice(t *testing.T) {
	base := t.TempDir()
	a, b := join(t, base), join(t, base)
	if a != b || len(a.Members()) != 1 {
		t.Errorf("%d members, one table: %v", len(a.Members()), a == b)
	}
	in, ok := a.Lookup(a.Self())
	if !ok || !in.Alive || in.Pid != os.Getpid() || in.UID != os.Geteuid() || time.Since(in.Joined) > time.Hour || in.Start == 0 || in.PidNS == 0 {
		t.Errorf("%+v", in)
	}
	if a.Dead(a.Self()) {
		t.Error("dead myself")
	}
	if err := a.Leave(); err != nil {
		t.Error(err)
	}
	if len(b.Members()) != 1 {
		t.Error("no member any more after the first of two left")
	}
	if err := b.Leave(); err != nil {
		t.Error(err)
	}
	c := join(t, base)
	if c.Self() == a.Self() {
		t.Error("the same token after leaving")
	}
	if err := c.Leave(); err != nil {
		t.Error(err)
	}
}

func TestManyProcesses(t *testing.T) {
	base := t.TempDir()
	tab := join(t, base)
	defer tab.Leave()
	const n = 50
	all := make([]*child, 0, n)
	tokens := map[uint32]bool{tab.Self(): true}
	for range n {
		c := start(t, base)
		if tokens[c.token] {
			t.Fatalf("token %#x twice", c.token)
		}
		tokens[c.token] = true
		all = append(all, c)
	}
	if got := len(tab.Members()); got != n+1 || tab.AnyDead() {
		t.Errorf("%d members, want %d", got, n+1)
	}
	for i, c := range all {
		if tab.Dead(c.token) {
			t.Errorf("%d is called dead while it lives", i)
		}
		if i%2 == 0 {
			c.kill()
			eventually(t, "the death", func() bool { return tab.Dead(c.token) })
		}
	}
	if !tab.AnyDead() {
		t.Error("nobody dead")
	}
	for _, m := range tab.Members() {
		if m.Alive == tab.Dead(m.Token) {
			t.Errorf("%+v", m)
		}
	}
	if k, err := clearDead(tab); k != n/2 || err != nil {
		t.Errorf("cleared %d, %v", k, err)
	}
	if tab.AnyDead() || len(tab.Members()) != n/2+1 {
		t.Error("not cleared")
	}
	// The slots are used again, under other tokens.
	c := start(t, base)
	if tokens[c.token] {
		t.Errorf("token %#x for the second time", c.token)
	}
	slot, gen := splitToken(c.token)
	if gen < 2 || slot > n {
		t.Errorf("slot %d generation %d is not a used one", slot, gen)
	}
	for _, old := range all {
		if s, _ := splitToken(old.token); s == slot && !tab.Dead(old.token) {
			t.Error("the slot's former owner lives again")
		}
	}
	c.leave(t)
	eventually(t, "it left", func() bool { return tab.Dead(c.token) })
	for i, c := range all {
		if i%2 == 1 {
			c.leave(t)
		}
	}
	if got := len(tab.Members()); got != 1 {
		t.Errorf("%d members after all left", got)
	}
}

// Stopped is not dead (P3).
func TestStopped(t *testing.T) {
	base := t.TempDir()
	tab := join(t, base)
	defer tab.Leave()
	c := start(t, base)
	if err := c.cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(c.cmd.Process.Pid, &ws, unix.WUNTRACED, nil); err != nil || !ws.Stopped() {
		t.Fatalf("%v, %v", ws, err)
	}
	for range 1000 {
		if tab.Dead(c.token) {
			t.Fatal("a stopped process is called dead")
		}
	}
	if n, _ := clearDead(tab); n != 0 {
		t.Error("a stopped process lost its slot")
	}
	c.kill()
	eventually(t, "the death", func() bool { return tab.Dead(c.token) })
}

func TestWatch(t *testing.T) {
	base := t.TempDir()
	tab := join(t, base)
	defer tab.Leave()
	c := start(t, base)
	told := make(chan int, 10)
	var stops []func()
	for i := range 3 {
		stops = append(stops, tab.Watch(c.token, func() {
			select {
			case told <- i: // it is told again and again
			default:
			}
		}))
	}
	stops[1]()
	stops[1]()
	select {
	case i := <-told:
		t.Fatalf("%d was told while it lives", i)
	default:
	}
	c.kill()
	got := map[int]bool{}
	for len(got) < 2 {
		select {
		case i := <-told:
			got[i] = true
		case <-time.After(20 * time.Second):
			t.Fatal("not told")
		}
	}
	if !got[0] || !got[2] {
		t.Errorf("told: %v", got)
	}
	stops[0]()
	stops[2]()
}

// Watches come and go without leaving goroutines or descriptors behind.
func TestWatchLeavesNothing(t *testing.T) {
	base := t.TempDir()
	tab := join(t, base)
	defer tab.Leave()
	c := start(t, base)
	before := len(leaktest.Descriptors())
	for range 200 {
		tab.Watch(c.token, func() { t.Error("told") })()
	}
	eventually(t, "descriptors closed", func() bool { return len(leaktest.Descriptors()) <= before })
	tab.Watch(c.token, func() {}) // left to Leave
}

func TestFull(t *testing.T) {
	base := t.TempDir()
	tab := join(t, base)
	// Somebody holds all the other slots.
	d, err := segment.OpenDir(base, "other", true)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := create(d); err != nil {
		t.Fatal(err)
	}
	f, err := d.Open(FileName)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := f.LockExclusive(headerSize, Slots*slotSize); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, err := Join(d); !errors.Is(err, errs.ErrFull) {
		t.Errorf("%v", err)
	}
	f.Close()
	o, err := Join(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(o.Leave(), tab.Leave()); err != nil {
		t.Error(err)
	}
}

// The name lock: one at a time, among goroutines and processes.
func TestLockNames(t *testing.T) {
	base := t.TempDir()
	tab := join(t, base)
	defer tab.Leave()
	n := 0
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for k := 0; k < 100; {
				ok, err := tab.LockNames()
				if err != nil {
					t.Error(err)
					return
				}
				if !ok {
					time.Sleep(10 * time.Microsecond)
					continue
				}
				n++
				k++
				if err := tab.UnlockNames(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n != 400 {
		t.Errorf("%d, want 400", n)
	}
}

func TestTokens(t *testing.T) {
	for _, c := range []struct {
		slot int
		gen  uint32
	}{{0, 1}, {1023, 1}, {5, genMask}} {
		tok := makeToken(c.slot, c.gen)
		s, g := splitToken(tok)
		if s != c.slot || g != c.gen || tok == 0 || tok>>31 != 0 {
			t.Errorf("%+v: %#x is %d, %d", c, tok, s, g)
		}
	}
	// The generation skips 0 when it wraps.
	s := mem.NewHeap(mem.Part{Len: fileSize}).Span(0)
	s.U32(slotOff(0) + slotGen).Store(genMask)
	if tok := writeSlot(s, 0, self()); tok == 0 || tok == makeToken(0, 0) {
		t.Errorf("token %#x", tok)
	}
}

func TestBadTable(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(f *os.File) error
		want  error
	}{
		"short": {func(f *os.File) error { return f.Truncate(100) }, errs.ErrCorrupt},
		"magic": {func(f *os.File) error { _, err := f.WriteAt([]byte("x"), 0); return err }, errs.ErrCorrupt},
		"newer": {func(f *os.File) error { _, err := f.WriteAt([]byte{99}, offLayout); return err }, errs.ErrIncompatible},
		"slots": {func(f *os.File) error { _, err := f.WriteAt([]byte{99}, offSlots); return err }, errs.ErrCorrupt},
	} {
		d, err := segment.OpenDir(t.TempDir(), "domain", true)
		if err != nil {
			t.Fatal(err)
		}
		if err := create(d); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(d.Path()+"/"+FileName, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.spoil(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if tab, err := Join(d); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v", what, tab, err)
		}
		d.Close()
	}
}

// FuzzMembersTable: whatever the table holds, asking ends without a panic, and nobody is believed to
// live without a lock.
func FuzzMembersTable(f *testing.F) {
	s := mem.NewHeap(mem.Part{Len: fileSize}).Span(0)
	initTable(s)
	f.Add(append([]byte{}, s.Bytes(0, 8192)...))
	raiseGeneration(s, 3)
	writeSlot(s, 3, self())
	f.Add(append([]byte{}, s.Bytes(0, 8192)...))
	f.Fuzz(func(t *testing.T, image []byte) {
		s := mem.NewHeap(mem.Part{Len: fileSize}).Span(0)
		copy(s.Bytes(0, fileSize), image)
		_ = checkHeader("#members", s)
		for slot := range 64 {
			in, _ := readSlot(s, slot)
			_ = fmt.Sprint(in)
			if in.Token>>31 != 0 {
				t.Errorf("slot %d: token %#x", slot, in.Token)
			}
			if in.Alive {
				t.Errorf("slot %d lives", slot)
			}
		}
		raiseGeneration(s, 3)
		if tok := writeSlot(s, 3, self()); tok>>31 != 0 || tok>>slotBits == 0 {
			t.Errorf("token %#x", tok)
		}
	})
}
