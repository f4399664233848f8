package bell_test

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/queue"
)

// TestDeadPeerRaisesNoSignal: a program that hears of SIGPIPE, because its output may be gone, hears nothing when it
// wakes a process that was killed asleep.
func TestDeadPeerRaisesNoSignal(t *testing.T) {
	if !writesWithoutSignal(t) {
		t.Skip("this kernel has no RWF_NOSIGNAL")
	}
	d := join(t)
	q, err := queue.CreateRaw(d, "q", nil)
	ok(t, err)
	defer q.Close()
	c := make(chan os.Signal, 2)
	signal.Notify(c, syscall.SIGPIPE, syscall.SIGCONT)
	defer signal.Stop(c)
	until(t, "a process is killed that still has sleepers", func() bool {
		for err := error(nil); err == nil; { // what the one before left
			_, err = q.TryGet(nil)
		}
		p, fifo := sleeper(t, d)
		until(t, "a sleeper is rung", func() bool {
			ok(t, q.TryPut(nil))
			return isOpen(t, fifo)
		})
		p.Kill()
		ok(t, q.TryPut(nil))
		return !isOpen(t, fifo) // it was told that nobody reads
	})
	// SIGPIPE has the lower number, so of both it would come first.
	ok(t, syscall.Kill(os.Getpid(), syscall.SIGCONT))
	if s := <-c; s != syscall.SIGCONT {
		t.Errorf("a wake-up of a dead process raised the signal %q", s)
	}
}

// isOpen reports whether this process has the file open.
func isOpen(t *testing.T, path string) bool {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	ok(t, err)
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && to == path {
			return true
		}
	}
	return false
}

func writesWithoutSignal(t *testing.T) bool {
	t.Helper()
	r, w, err := os.Pipe()
	ok(t, err)
	defer r.Close()
	defer w.Close()
	const noSignal = 0x100
	_, err = unix.Pwritev2(int(w.Fd()), [][]byte{{0}}, -1, noSignal)
	return err == nil
}
