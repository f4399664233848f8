package member

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/hangtest"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

// TestKilledWhileExecuting: a process is killed while its child, between fork and exec, has copies of its descriptors. Its
// lock is still held; a watch proves the death in spite of that, whether it was there before or comes later.
func TestKilledWhileExecuting(t *testing.T) {
	for _, before := range []bool{true, false} {
		t.Run(fmt.Sprintf("watched before: %v", before), func(t *testing.T) {
			base := t.TempDir()
			tab := join(t, base)
			defer tab.Leave()
			path := filepath.Join(t.TempDir(), "program")
			release, err := hangtest.Lease("/bin/true", path)
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer release()
			c := start(t, base)
			var told atomic.Int32
			watch := func() func() { return tab.Watch(c.token, func() { told.Add(1) }) }
			stop := func() {}
			if before {
				stop = watch()
			}
			fmt.Fprintf(c.in, "run %s\n", path)
			var hanging []string
			eventually(t, "a child that hangs in exec", func() bool {
				hanging = leaktest.ChildrenOf(strconv.Itoa(c.cmd.Process.Pid))
				return len(hanging) == 1 && hangtest.Executing(hanging[0])
			})
			if tab.Dead(c.token) {
				t.Fatal("dead before it was killed")
			}
			c.kill()
			slot, _ := splitToken(c.token)
			if held, err := tab.file.Locked(int64(slotOff(slot)+aliveLock), 1); err != nil || !held {
				t.Fatalf("the child of the dead one does not hold its lock (%v): nothing was tried", err)
			}
			if !before {
				stop = watch()
			}
			eventually(t, "the proof of its death", func() bool { return tab.Dead(c.token) })
			eventually(t, "two notices, for one may be lost", func() bool { return told.Load() >= 2 })
			if held, err := tab.file.Locked(int64(slotOff(slot)+aliveLock), 1); err != nil || !held {
				t.Errorf("the lock was free by then (%v): it was not the proof", err)
			}
			stop()
			if err := release(); err != nil {
				t.Error(err)
			}
			eventually(t, "the end of the child", func() bool {
				_, err := os.Stat("/proc/" + hanging[0])
				return errors.Is(err, os.ErrNotExist)
			})
		})
	}
}

// TestBecomesAnother: a token dies with exec although the process lives on; those who watch are told.
func TestBecomesAnother(t *testing.T) {
	sleeper := "/bin/cat" // reads the test's pipe until it is closed
	if _, err := os.Stat(sleeper); err != nil {
		t.Skip(err)
	}
	base := t.TempDir()
	tab := join(t, base)
	defer tab.Leave()
	c := start(t, base)
	told := make(chan bool, 1)
	stop := tab.Watch(c.token, func() {
		if tab.Dead(c.token) {
			select {
			case told <- true:
			default:
			}
		}
	})
	defer stop()
	sentry := tab.Sentry(c.token, nil)
	defer sentry.Close()
	if sentry.Gone() {
		t.Fatal("gone before")
	}
	fmt.Fprintf(c.in, "become %s\n", sleeper)
	select {
	case <-told:
	case <-time.After(20 * time.Second):
		t.Fatal("nobody was told")
	}
	eventually(t, "the sentry knows", sentry.Gone)
	if err := c.cmd.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("the process does not live: %v", err)
	}
	c.in.Close()
}

// TestPidOfAnother: what stands in a slot is no proof for a process that only has the same number.
func TestPidOfAnother(t *testing.T) {
	base := t.TempDir()
	tab := join(t, base)
	defer tab.Leave()
	c := start(t, base)
	d := start(t, base)
	in, _ := tab.Lookup(c.token)
	slot, _ := splitToken(c.token)
	other, _ := tab.Lookup(d.token)
	tab.span.U32(slotOff(slot) + slotPid).Store(uint32(other.Pid))  // the number of d, the start time of c
	tab.span.U64(slotOff(slot) + slotStart).Store(in.Start + 1<<20) // nobody else started then
	var told atomic.Int32
	stop := tab.Watch(c.token, func() { told.Add(1) })
	defer stop()
	d.kill()
	eventually(t, "the end of the other one is told", func() bool { return told.Load() > 0 })
	eventually(t, "and again", func() bool { return told.Load() > 3 })
	if tab.Dead(c.token) {
		t.Error("dead because another one died")
	}
	c.kill()
	eventually(t, "its own death", func() bool { return tab.Dead(c.token) })
}
