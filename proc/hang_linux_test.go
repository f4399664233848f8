package proc_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/hangtest"
	"github.com/shiplap-ipc/shiplap/proc"
)

// leased is a program whose exec hangs until it is let go.
func leased(t *testing.T) (path string, letGo func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "leased")
	release, err := hangtest.Lease("/bin/sleep", path)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	ok(t, err)
	letGo = func() { ok(t, release()) }
	t.Cleanup(letGo)
	return path, letGo
}

// awaitExec waits until a descendant of the process is between fork and exec of path, as the kernel
// shows it: a child whose command line is still that of its parent.
func awaitExec(t *testing.T, guardian int) {
	t.Helper()
	own, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", guardian))
	ok(t, err)
	if !eventually(func() bool {
		for _, pid := range children(guardian) {
			if b, err := os.ReadFile("/proc/" + pid + "/cmdline"); err == nil && string(b) == string(own) {
				return true
			}
		}
		return false
	}) {
		t.Fatal("no child is between fork and exec")
	}
}

func guardianOf(t *testing.T, manager int) int {
	t.Helper()
	for _, pid := range children(manager) {
		if b, _ := os.ReadFile("/proc/" + pid + "/cmdline"); strings.HasPrefix(string(b), "shiplap-guardian") {
			return number(t, pid)
		}
	}
	t.Fatal("no guardian")
	return 0
}

// descriptors is how many a process has open.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	ok(t, err)
	return len(all)
}

// An exec that hangs holds up neither signals to others, nor their stops, nor its own.
func TestExecHangs(t *testing.T) {
	b := manage(t, nil)
	path, letGo := leased(t)
	b.add(proc.Spec{Name: "other", Func: "sleep", Ready: proc.ReadyWord},
		proc.Spec{Name: "stopped", Func: "sleep", Ready: proc.ReadyWord},
		proc.Spec{Name: "hangs", Command: []string{path, "1000"}}, proc.Spec{Name: "behind", Func: "sleep",
			Ready: proc.ReadyWord})
	ok(t, b.Start(limit(t), "other", "stopped"))
	hung := make(chan error, 1)
	go func() { hung <- b.Start(limit(t), "hangs") }()
	guardian := guardianOf(t, os.Getpid())
	awaitExec(t, guardian)
	pid := b.state("other").Pid
	ok(t, b.Signal("other", syscall.SIGKILL))
	if !eventually(func() bool { return dead(pid) && !b.IsAlive("other") }) {
		t.Fatal("a signal to another process is held up")
	}
	short, cancel := context.WithTimeout(bg, 15*time.Second)
	defer cancel()
	ok(t, b.Stop(short, "stopped"))
	// What is started meanwhile waits, and can be stopped, too.
	before := descriptors(t, guardian)
	go func() { hung <- b.Start(limit(t), "behind") }()
	if !eventually(func() bool { return descriptors(t, guardian) > before }) {
		t.Fatal("the guardian is not told to start it")
	}
	ok(t, b.Stop(short, "behind"))
	ok(t, b.Stop(short, "hangs"))
	for range 2 {
		if err := <-hung; err != nil && !errors.Is(err, shiplap.ErrClosed) {
			t.Error(err)
		}
	}
	letGo()
	ok(t, b.Start(limit(t), "hangs", "behind"))
	ok(t, b.StopAll(limit(t)))
	if left := children(guardian); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// When the manager dies while an exec hangs, all end, the one that hangs included.
func TestManagerDiesWhileExecHangs(t *testing.T) {
	path, _ := leased(t)
	d := domain(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asManager+"="+d.Name(), hanging+"="+path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	ok(t, err)
	defer in.Close()
	ok(t, cmd.Start())
	var guardian int
	var pid string
	if !eventually(func() bool {
		for _, c := range children(cmd.Process.Pid) {
			b, _ := os.ReadFile("/proc/" + c + "/cmdline")
			if !strings.HasPrefix(string(b), "shiplap-guardian") {
				continue
			}
			guardian = number(t, c)
			for _, c := range children(guardian) {
				if b, _ := os.ReadFile("/proc/" + c + "/cmdline"); strings.HasPrefix(string(b), "sleep\x00") {
					pid = c
				}
			}
		}
		return pid != ""
	}) {
		t.Fatal("it does not start")
	}
	awaitExec(t, guardian)
	ok(t, cmd.Process.Kill())
	_ = cmd.Wait()
	awaitDeath(t, number(t, pid), guardian)
}
