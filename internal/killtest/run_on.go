//go:build linux && (amd64 || arm64)

package killtest

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// where the main thread of a victim is that goes on by itself.
type where int

const (
	busyStill where = iota // time is up
	asleep                 // it waits in the kernel, for more than a moment
	atEnd                  // of the operation
)

// moment is how long a thread must sleep in the same call for that to be a wait.
const moment = 4 * time.Millisecond

// goOn lets all threads run.
func (t *tracee) goOn() error {
	t.thaw()
	if err := unix.SchedSetaffinity(t.pid, t.home); err != nil {
		return fmt.Errorf("affinity: %w", err)
	}
	t.watchdog.Reset(4 * t.timeout) // those who look have limits of their own
	if t.asleep {
		return nil
	}
	return t.resume(unix.PTRACE_CONT)
}

// look waits until the main thread is at the end of the operation, or, if sleeping matters, sleeps.
func (t *tracee) look(limit time.Duration, sleeping bool) (where, error) {
	var ws unix.WaitStatus
	var seen []byte
	since := time.Now()
	for end := since.Add(limit); ; {
		pid, err := unix.Wait4(t.pid, &ws, unix.WALL|unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case pid != 0 && (ws.Exited() || ws.Signaled()):
			t.gone = true
			return 0, &exitError{ws, t.expired.Load()}
		case pid != 0 && ws.Stopped() && ws.StopSignal() == unix.SIGTRAP:
			if err := t.readCPU(); err != nil {
				return 0, err
			}
			if t.asleep && t.cpu.pc != t.mark+trapAdvance { // the step into the call in which it slept is over
				t.asleep = false
				if hasBreakpoints { // or it slept on the way to a breakpoint, and has come to it
					if err := t.setBreakpoint(0); err != nil {
						return 0, err
					}
				}
				if err := t.resume(unix.PTRACE_CONT); err != nil {
					return 0, err
				}
				continue
			}
			if t.cpu.pc != t.mark+trapAdvance {
				return 0, fmt.Errorf("victim stopped at %#x, not at the end of the operation", t.cpu.pc)
			}
			t.done = true
			return atEnd, t.passMarker()
		case pid != 0 && ws.Stopped():
			t.signal = int(ws.StopSignal())
			if err := t.resume(unix.PTRACE_CONT); err != nil {
				return 0, err
			}
			continue
		}
		now := time.Now()
		if sleeping {
			// The line says "running", or which call it is in, with which arguments.
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", t.pid))
			if err != nil || bytes.HasPrefix(line, []byte("running")) || !bytes.Equal(line, seen) {
				seen, since = line, now
			} else if now.Sub(since) > moment {
				return asleep, nil
			}
		}
		if now.After(end) {
			return busyStill, nil
		}
		unix.Nanosleep(&unix.Timespec{Nsec: 50_000}, nil) //nolint:errcheck // sooner is fine
	}
}
