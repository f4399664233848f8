package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
	"github.com/shiplap-ipc/shiplap/lock"
	"github.com/shiplap-ipc/shiplap/pipe"
	"github.com/shiplap-ipc/shiplap/queue"
	"github.com/shiplap-ipc/shiplap/shared"
	"github.com/shiplap-ipc/shiplap/store"
	"github.com/shiplap-ipc/shiplap/topic"
)

// everyKind makes an object of each kind, and keeps it open until the test ends.
func everyKind(t *testing.T, d *shiplap.Domain) (names []string) {
	t.Helper()
	keep := func(name string, c io.Closer, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(name, err)
		}
		t.Cleanup(func() { c.Close() })
		names = append(names, name)
	}
	q, err := queue.CreateRaw(d, "queue", &queue.Options{Capacity: 4096})
	keep("queue", q, err)
	a, err := queue.CreateRaw(d, "ack", &queue.Options{Capacity: 4096, Ack: true})
	keep("ack", a, err)
	p, err := pipe.Create(d, "pipe", nil)
	keep("pipe", p, err)
	l, err := pipe.Listen(d, "listener", nil)
	keep("listener", l, err)
	m, err := lock.CreateMutex(d, "mutex", nil)
	keep("mutex", m, err)
	rw, err := lock.CreateRWMutex(d, "rwmutex", nil)
	keep("rwmutex", rw, err)
	s, err := lock.CreateSemaphore(d, "semaphore", 2, nil)
	keep("semaphore", s, err)
	c, err := lock.CreateCond(d, "cond", nil)
	keep("cond", c, err)
	e, err := lock.CreateEvent(d, "event", nil)
	keep("event", e, err)
	b, err := lock.CreateBarrier(d, "barrier", 2, nil)
	keep("barrier", b, err)
	v, err := shared.CreateValue[int64](d, "value", 7, nil)
	keep("value", v, err)
	ar, err := shared.CreateArray[int64](d, "array", []int{4}, nil)
	keep("array", ar, err)
	st, err := store.Create(d, "store", &store.Options{MaxBytes: 1 << 20})
	keep("store", st, err)
	tp, err := topic.CreateRaw(d, "topic", &topic.Options{Capacity: 4096})
	keep("topic", tp, err)
	ch, err := channel.Set[string](d, "channel", nil)
	keep("channel", ch, err)
	return names
}

// looks are the commands that only look, each with its arguments.
func looks(names []string) (all []string) {
	all = []string{"ls", "ls --json", "members", "locks", "locks --all", "sweep --dry-run", "channel ls", "call",
		"store stat store"}
	for _, n := range names {
		all = append(all, "stat "+n, "stat --json "+n, "locks "+n)
	}
	return all
}

// fill takes all member slots that are left, as that many processes would.
func fill(t *testing.T, d *shiplap.Domain) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(d.Dir(), "#members"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	for at := int64(4096); at < 4096+1024*128; at += 128 {
		lk := unix.Flock_t{Type: unix.F_WRLCK, Start: at, Len: 1}
		if unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lk) != nil {
			continue
		}
		if _, err := f.WriteAt([]byte{1, 0, 0, 0, 1}, at); err != nil {
			t.Fatal(err)
		}
	}
}

// With all member slots taken one can look at everything, remove and sweep; and who cannot join is told
// how to look.
func TestLookWithoutSlot(t *testing.T) {
	s := newTool(t)
	d := s.domain()
	defer d.Close()
	names := everyKind(t, d)
	fill(t, d)
	for _, args := range looks(names) {
		s.run(strings.Fields(args)...)
	}
	if out := s.run("members"); strings.Count(out, "alive") != 1024 {
		t.Errorf("%d members are shown", strings.Count(out, "alive"))
	}
	s.run("doctor")
	p := s.start(nil, nil, "queue", "put", "queue", "-m", "x")
	p.ends(exitTimeout)
	if said := p.stderr.String(); !strings.Contains(said, "shiplap members") {
		t.Error(said)
	}
	s.run("rm", "queue")
	if err := os.Symlink("x", filepath.Join(d.Dir(), "link")); err != nil {
		t.Fatal(err)
	}
	s.run("sweep")
	for _, name := range []string{"queue", "link"} {
		if _, err := os.Lstat(filepath.Join(d.Dir(), name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
}

// On a mount that is read-only one can look at everything.
func TestLookReadOnly(t *testing.T) {
	s := newTool(t)
	d := s.domain()
	defer d.Close()
	names := everyKind(t, d)
	script := fmt.Sprintf("mount --bind %[1]s %[1]s && mount -o remount,ro,bind %[1]s || exit 99\n", s.dir)
	for _, args := range looks(names) {
		script += fmt.Sprintf("shiplap --dir %s %s >/dev/null || echo failed: %[2]s >&2\n", s.dir, args)
	}
	cmd := exec.Command("unshare", "-m", "sh", "-c", script)
	var said bytes.Buffer
	cmd.Stderr = &said
	switch err := cmd.Run(); {
	case err != nil && (codeOf(err) == 99 || codeOf(err) == -1 || strings.Contains(said.String(), "unshare")):
		t.Skipf("nothing can be mounted here: %v: %s", err, &said)
	case err != nil || strings.Contains(said.String(), "failed: "):
		t.Errorf("%v: %s", err, &said)
	}
}
