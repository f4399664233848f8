package proc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/proc"
	"github.com/shiplap-ipc/shiplap/queue"
)

var bg = context.Background()

// global is set by the parent; no child sees that.
var global = "as compiled"

func TestMain(m *testing.M) {
	proc.Register("sleep", func(ctx context.Context, self *proc.Child) error { // until told to stop
		if err := self.Ready(); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	proc.Register("stubborn", func(ctx context.Context, self *proc.Child) error {
		signal.Ignore(syscall.SIGTERM)
		if err := self.Ready(); err != nil {
			return err
		}
		select {}
	})
	proc.Register("hello", func(ctx context.Context, self *proc.Child) error {
		fmt.Println(self.Name(), self.Manager(), self.Args(), self.Domain().Name(), global)
		return nil
	})
	proc.Register("fail", func(ctx context.Context, self *proc.Child) error { return errors.New("as it must") })
	proc.Register("panic", func(ctx context.Context, self *proc.Child) error { panic("at the disco") })
	proc.Register("code", func(ctx context.Context, self *proc.Child) error { return code(7) })
	proc.Register("remote", remote)
	proc.Register("bot", bot)
	proc.Register("produce", produce)
	proc.Register("consume", consume)
	proc.Register("pipe-produce", pipeProduce)
	proc.Register("pipe-consume", pipeConsume)
	proc.Register("limits", func(ctx context.Context, self *proc.Child) error {
		var l syscall.Rlimit
		err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
		fmt.Println(l.Cur, l.Max)
		return err
	})
	proc.Init()
	if os.Getenv(asManager) != "" {
		runManager()
		return
	}
	leaktest.Main(m)
}

type code int

func (c code) Error() string { return fmt.Sprintf("with code %d", int(c)) }
func (c code) ExitCode() int { return int(c) }

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v; %v is wanted", err, want)
	}
}

// limit is how long a test may wait for what has to happen.
func limit(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(bg, 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func domain(t testing.TB) *shiplap.Domain {
	t.Helper()
	d, err := shiplap.Join(strings.ReplaceAll(t.Name(), "/", "-"), nil)
	ok(t, err)
	t.Cleanup(func() { ok(t, d.Close()) })
	return d
}

// boss is a manager, with what its processes say and what happens to them.
type boss struct {
	*proc.Manager
	t testing.TB
	d *shiplap.Domain

	mu      sync.Mutex
	said    []string
	events  []proc.Event
	changed chan struct{}
}

func manage(t testing.TB, opt *proc.Options) *boss {
	t.Helper()
	b := &boss{t: t, d: domain(t), changed: make(chan struct{})}
	if opt == nil {
		opt = &proc.Options{}
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	if opt.Output == nil {
		opt.Output = proc.Lines(func(l proc.Line) { b.note(func() { b.said = append(b.said, l.String()) }) })
	}
	m, err := proc.New(b.d, opt)
	ok(t, err)
	b.Manager = m
	m.OnEvent(func(e proc.Event) { b.note(func() { b.events = append(b.events, e) }) })
	t.Cleanup(func() {
		if err := m.Close(); err != nil && !errors.Is(err, shiplap.ErrClosed) {
			t.Error(err)
		}
	})
	return b
}

func (b *boss) note(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	close(b.changed)
	b.changed = make(chan struct{})
}

// until waits for what f, which is called under the lock, reports.
func (b *boss) until(what string, f func() bool) {
	b.t.Helper()
	ctx := limit(b.t)
	for {
		b.mu.Lock()
		found, changed := f(), b.changed
		b.mu.Unlock()
		if found {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			b.mu.Lock()
			defer b.mu.Unlock()
			b.t.Fatalf("%s does not come: they said %q; %v", what, b.said, b.events)
		}
	}
}

func (b *boss) hear(line string) {
	b.t.Helper()
	b.until(line, func() bool {
		for _, s := range b.said {
			if s == line {
				return true
			}
		}
		return false
	})
}

// heard is what process name said.
func (b *boss) heard(name string) (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.said {
		if text, found := strings.CutPrefix(s, name+" | "); found {
			all = append(all, text)
		}
	}
	return all
}

// see waits for the n-th event of that kind.
func (b *boss) see(name string, kind proc.EventKind, n int) (e proc.Event) {
	b.t.Helper()
	b.until(fmt.Sprintf("%s %s, time %d", name, kind, n), func() bool {
		count := 0
		for _, e = range b.events {
			if e.Process == name && e.Kind == kind {
				if count++; count == n {
					return true
				}
			}
		}
		return false
	})
	return e
}

func (b *boss) add(specs ...proc.Spec) {
	b.t.Helper()
	for _, s := range specs {
		ok(b.t, b.Add(s))
	}
}

func (b *boss) state(name string) proc.State {
	b.t.Helper()
	s, err := b.State(name)
	ok(b.t, err)
	return s
}

// dead reports whether there is no such process, or only what its parent did not collect.
func dead(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	rest := b[bytes.LastIndexByte(b, ')')+1:]
	f := strings.Fields(string(rest))
	return len(f) > 0 && (f[0] == "Z" || f[0] == "X")
}

func awaitDeath(t testing.TB, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		if !eventually(func() bool { return dead(pid) }) {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			t.Errorf("process %d lives: %q", pid, b)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func eventually(f func() bool) bool {
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if f() {
			return true
		}
	}
	return f()
}

func number(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	ok(t, err)
	return n
}

func sh(script string) []string { return []string{"sh", "-c", script} }

const asManager = "SHIPLAP_TEST_MANAGER"

// family is a script whose processes are a child, a grandchild in its group, and one that left group and parent. They
// ignore all polite signals, and each says its number.
const family = `trap '' TERM INT HUP
echo child $$
sh -c 'echo grandchild $$; sleep 1000' &
setsid sh -c 'echo fugitive $$; sleep 1000' &
(setsid sh -c 'echo orphan $$; sleep 1000' &)
wait`

// runManager is a program with a manager, for a test to kill.
func runManager() {
	d, err := shiplap.Join(os.Getenv(asManager), nil)
	switch path := os.Getenv(hanging); {
	case err != nil:
	case path != "":
		err = manageHanging(d, path)
	default:
		err = manageFamilies(d)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// hanging is a program whose exec hangs.
const hanging = "SHIPLAP_TEST_HANGING"

func manageHanging(d *shiplap.Domain, path string) error {
	m, err := proc.New(d, nil)
	if err != nil {
		return err
	}
	if err := m.Add(proc.Spec{Name: "sleeps", Command: []string{"sleep", "1000"}}); err != nil {
		return err
	}
	if err := m.Add(proc.Spec{Name: "hangs", Command: []string{path, "1000"}}); err != nil {
		return err
	}
	if err := m.Start(bg, "sleeps"); err != nil {
		return err
	}
	return m.Start(bg, "hangs")
}

func manageFamilies(d *shiplap.Domain) error {
	m, err := proc.New(d, &proc.Options{Output: os.Stdout})
	if err != nil {
		return err
	}
	q, err := queue.Create[int](d, "held", &queue.Options{Ephemeral: true}) // by the manager alone
	if err != nil {
		return err
	}
	if err := q.Put(bg, 1); err != nil {
		return err
	}
	for i := range 3 {
		if err := m.Add(proc.Spec{Name: fmt.Sprint("family", i), Command: sh(family), Restart: proc.Always}); err != nil {
			return err
		}
	}
	if err := m.Add(proc.Spec{Name: "stubborn", Func: "stubborn", Restart: proc.Always, Ready: proc.ReadyWord}); err != nil {
		return err
	}
	if err := m.StartAll(bg); err != nil {
		return err
	}
	fmt.Println("guardian", children(os.Getpid())[0])
	fmt.Println("started")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func children(pid int) []string { return leaktest.ChildrenOf(strconv.Itoa(pid)) }
