//go:build linux && (amd64 || arm64)

package killtest

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// freeze holds all threads of the victim still but the main one. The runtime's monitor would else notice that the
// main thread is slow, and preempt it. A thread that cannot be held is left alone.
func (t *tracee) freeze() {
	t.held.Store(true)
	dir := fmt.Sprintf("/proc/%d/task", t.pid)
	seen := map[int]bool{t.pid: true}
	for again := true; again; { // a running thread may have started another meanwhile
		again = false
		tasks, err := os.ReadDir(dir)
		if err != nil {
			return
		}
		for _, task := range tasks {
			tid, err := strconv.Atoi(task.Name())
			if err != nil || seen[tid] {
				continue
			}
			seen[tid], again = true, true
			if t.hold(tid) {
				t.frozen = append(t.frozen, tid)
			}
		}
	}
}

func (t *tracee) hold(tid int) bool {
	if unix.PtraceSeize(tid) != nil {
		return false
	}
	if unix.PtraceInterrupt(tid) != nil {
		return true // it is ending; being traced, it waits for us to reap it
	}
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(tid, &ws, unix.WALL, nil)
		switch {
		case err == unix.EINTR:
		case err != nil || !ws.Stopped():
			return false
		case ws.TrapCause() == unix.PTRACE_EVENT_STOP:
			return true
		default: // a signal came first: pass it on, the interruption is still to come
			unix.PtraceCont(tid, int(ws.StopSignal())) //nolint:errcheck // it was killed: Wait4 will tell
		}
	}
}

// thaw lets the other threads run.
func (t *tracee) thaw() {
	for _, tid := range t.frozen {
		if unix.PtraceDetach(tid) != nil {
			var ws unix.WaitStatus
			reap(tid, &ws)
		}
	}
	t.frozen = t.frozen[:0]
	t.held.Store(false)
	if t.expired.Load() {
		t.proc.Kill() //nolint:errcheck // it may be gone
	}
}
