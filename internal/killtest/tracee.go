//go:build linux && (amd64 || arm64)

package killtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tracee is a victim under ptrace. All methods must be called from the thread that started it.
type tracee struct {
	proc *os.Process
	pid  int
	im   *image

	slide  uint64 // of the binary in this process
	mark   uint64 // address of the breakpoint instruction in marker
	regs   unix.PtraceRegs
	cpu    cpu
	signal int   // to be handed over when the thread goes on
	frozen []int // other threads, held still
	home   *unix.CPUSet

	steps    int
	yields   int // in a row
	syscalls int
	done     bool // stopped at the second marker
	gone     bool // reaped

	waits    bool // the operation may wait for ever: say so
	asleep   bool // that is what it does: the main thread runs
	timeout  time.Duration
	watchdog *time.Timer
	expired  atomic.Bool
	held     atomic.Bool // frozen is in use
}

// errAsleep says that the main thread is in a system call that does not return.
var errAsleep = errors.New("the operation waits")

const asleepAfter = 30 * time.Millisecond

// exitError is the end of a victim that nobody asked for.
type exitError struct {
	status  unix.WaitStatus
	expired bool
}

func (e *exitError) Error() string {
	switch {
	case e.expired:
		return "the victim's time is up"
	case e.status.Exited():
		return fmt.Sprintf("victim exited with status %d", e.status.ExitStatus())
	}
	return fmt.Sprintf("victim was killed by %v", e.status.Signal())
}

// late reports that nothing is known to be wrong but the time.
func (e *exitError) late() bool { return e.expired }

// start runs the victim up to the first marker.
func start(im *image, attr *os.ProcAttr, home, pin *unix.CPUSet, timeout time.Duration) (*tracee, error) {
	attr.Sys = &syscall.SysProcAttr{Ptrace: true}
	proc, err := os.StartProcess(selfExe, []string{os.Args[0], "-test.run=^$"}, attr)
	if err != nil {
		return nil, fmt.Errorf("start victim: %w", err)
	}
	t := &tracee{proc: proc, pid: proc.Pid, im: im, home: home, timeout: timeout}
	t.watchdog = time.AfterFunc(timeout, func() {
		t.expired.Store(true)
		if !t.held.Load() { // else wait and step look at expired: a leader cannot be reaped before its traced threads
			proc.Kill() //nolint:errcheck // it may be gone
		}
	})
	if err := t.begin(pin); err != nil {
		t.kill()
		return nil, fmt.Errorf("before the operation: %w", err)
	}
	return t, nil
}

func (t *tracee) begin(pin *unix.CPUSet) error {
	if _, err := t.wait(true); err != nil { // the stop at exec
		return err
	}
	if err := unix.PtraceSetOptions(t.pid, unix.PTRACE_O_EXITKILL); err != nil {
		return fmt.Errorf("ptrace options: %w", err)
	}
	// The victim shall see all the CPUs that we have, as it would in production.
	if err := unix.SchedSetaffinity(t.pid, t.home); err != nil {
		return fmt.Errorf("affinity: %w", err)
	}
	if err := t.runToTrap(true); err != nil {
		return err
	}
	t.mark = t.cpu.pc - trapAdvance
	if err := t.passMarker(); err != nil {
		return err
	}
	var err error
	if t.slide, err = t.im.slideOf(t.pid); err != nil {
		return err
	}
	t.freeze()
	// Tracer and tracee take turns: on one CPU that is a context switch, on two a wake-up by interrupt.
	return unix.SchedSetaffinity(t.pid, pin)
}

// wait waits for the next stop of the main thread. If it is not sure to come by itself, other threads are let go
// after a while: the main thread may be waiting for them.
func (t *tracee) wait(sure bool) (unix.Signal, error) {
	var ws unix.WaitStatus
	for tries, since := 0, (time.Time{}); ; tries++ {
		if t.held.Load() && t.expired.Load() {
			return 0, &exitError{expired: true}
		}
		flags := unix.WALL
		if !sure && (len(t.frozen) > 0 || t.waits) {
			flags |= unix.WNOHANG
			unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) //nolint:errcheck // it cannot fail
		}
		pid, err := unix.Wait4(t.pid, &ws, flags, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case pid == 0 && tries < 100:
		case pid == 0:
			if since.IsZero() {
				since = time.Now()
			}
			if time.Since(since) > 5*time.Millisecond {
				t.thaw()
			}
			if t.waits && time.Since(since) > asleepAfter {
				t.asleep = true
				return 0, errAsleep
			}
			unix.Nanosleep(&unix.Timespec{Nsec: 20_000}, nil) //nolint:errcheck // sooner is fine
		case ws.Stopped():
			return ws.StopSignal(), nil
		case ws.Exited() || ws.Signaled():
			t.gone = true
			return 0, &exitError{ws, t.expired.Load()}
		}
	}
}

// resume lets the thread go on, with the signal that it was stopped for.
func (t *tracee) resume(request int) error {
	signal := t.signal
	t.signal = 0
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(t.pid), 0, uintptr(signal), 0, 0)
	if errno == unix.ESRCH { // it was killed while it stood
		_, err := t.wait(false)
		if err == nil {
			err = errno
		}
		return err
	}
	if errno != 0 {
		return fmt.Errorf("resume: %w", errno)
	}
	return nil
}

// runToTrap lets the thread run until a breakpoint.
func (t *tracee) runToTrap(sure bool) error {
	for {
		if err := t.resume(unix.PTRACE_CONT); err != nil {
			return err
		}
		sig, err := t.wait(sure)
		if err != nil {
			return err
		}
		if sig == unix.SIGTRAP {
			return t.readCPU()
		}
		t.signal = int(sig)
	}
}

// step executes one instruction. Entering a signal handler is a step too.
func (t *tracee) step() error {
	enters := t.entersKernel()
	if enters {
		// A thread that is held still may hold a lock of the runtime.
		if nr, _ := t.syscallArgs(); nr != unix.SYS_SCHED_YIELD {
			t.yields = 0
		} else if t.yields++; t.yields == 8 {
			t.thaw()
		}
	}
	for {
		sure := !enters && t.signal == 0 // a signal may end it
		if err := t.resume(unix.PTRACE_SINGLESTEP); err != nil {
			return err
		}
		sig, err := t.wait(sure)
		if err != nil {
			return err
		}
		if sig == unix.SIGTRAP {
			break
		}
		t.signal = int(sig) // stopped before the instruction, not after it
	}
	if t.steps++; t.steps%1024 == 0 {
		t.watchdog.Reset(t.timeout) // stepping takes what it takes
	}
	if enters {
		t.syscalls++
	}
	if err := t.readCPU(); err != nil {
		return err
	}
	t.done = t.cpu.pc == t.mark
	return nil
}

// stepTo steps until k instructions were executed, or the operation is done.
func (t *tracee) stepTo(k int) error {
	for t.steps < k && !t.done {
		if err := t.step(); err != nil {
			return err
		}
	}
	return nil
}

var errMissed = errors.New("breakpoint was not reached")

// runTo runs until the instruction at pc is about to be executed for the n-th time, n counting from 1.
func (t *tracee) runTo(pc uint64, n int) error {
	if err := t.setBreakpoint(pc); err != nil {
		return fmt.Errorf("%w: %w", errMissed, err)
	}
	for {
		if err := t.runToTrap(false); err != nil {
			return err
		}
		if t.cpu.pc != pc {
			return errMissed
		}
		if n--; n == 0 {
			return t.setBreakpoint(0)
		}
		// The kernel has set the resume flag, so that the instruction is executed now.
	}
}

func (t *tracee) here() place { return t.im.place(t.cpu.pc, t.slide) }

func (t *tracee) entersKernel() bool {
	if p := t.here(); p != 0 {
		return entersKernel(t.im.at(p))
	}
	var code [8]byte                                       // the vDSO
	unix.PtracePeekText(t.pid, uintptr(t.cpu.pc), code[:]) //nolint:errcheck // zeros are no system call
	return entersKernel(code[:])
}

// stack returns the call stack in the addresses of this process, as far as frame pointers tell it.
func (t *tracee) stack() []uintptr {
	stack := []uintptr{t.im.local(t.cpu.pc, t.slide)}
	add := func(pc uint64) bool {
		if t.im.place(pc, t.slide) == 0 {
			return false
		}
		stack = append(stack, t.im.local(pc, t.slide))
		return true
	}
	if ret, ok := t.peek(t.cpu.sp); ok && t.frameless() {
		add(ret)
	}
	for fp := t.cpu.fp; len(stack) < 12; {
		next, ok1 := t.peek(fp)
		ret, ok2 := t.peek(fp + 8)
		if !ok1 || !ok2 || !add(ret) || next <= fp {
			break
		}
		fp = next
	}
	return stack
}

// frameless reports whether the function that we stopped in is assembly, which for the most part has no frame: the
// return address is on top of the stack.
func (t *tracee) frameless() bool {
	f := runtime.FuncForPC(t.im.local(t.cpu.pc, t.slide))
	if f == nil {
		return false
	}
	file, _ := f.FileLine(f.Entry())
	return strings.HasSuffix(file, ".s")
}

func (t *tracee) peek(at uint64) (uint64, bool) {
	var b [8]byte
	if at == 0 || at%8 != 0 {
		return 0, false
	}
	if _, err := unix.PtracePeekData(t.pid, uintptr(at), b[:]); err != nil {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b[:]), true
}

// complete lets the victim go on until the operation is done.
func (t *tracee) complete() error {
	t.thaw()
	if err := unix.SchedSetaffinity(t.pid, t.home); err != nil {
		return fmt.Errorf("affinity: %w", err)
	}
	if err := t.runToTrap(true); err != nil {
		return err
	}
	if t.cpu.pc != t.mark+trapAdvance {
		return fmt.Errorf("victim stopped at %#x, not at the end of the operation", t.cpu.pc)
	}
	return nil
}

// finish lets the victim complete the operation and exit, and demands that it does so in good order.
func (t *tracee) finish() error {
	if err := t.complete(); err != nil {
		return err
	}
	return t.leave()
}

// leave lets the victim exit after the operation.
func (t *tracee) leave() error {
	if err := t.passMarker(); err != nil {
		return err
	}
	if err := unix.PtraceDetach(t.pid); err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	_, err := t.wait(true)
	var exit *exitError
	if errors.As(err, &exit) && exit.status.Exited() && exit.status.ExitStatus() == 0 {
		return nil
	}
	return err
}

// kill ends the victim, whatever state it is in, and returns when the kernel has released all that it held.
func (t *tracee) kill() {
	t.watchdog.Stop()
	t.proc.Kill() //nolint:errcheck // it may be gone
	var ws unix.WaitStatus
	// A traced thread is reaped by its tracer, and before its leader.
	for _, tid := range t.frozen {
		reap(tid, &ws)
	}
	if !t.gone {
		reap(t.pid, &ws)
		t.gone = true
	}
	t.proc.Release() //nolint:errcheck // nothing can be done
}

func reap(tid int, ws *unix.WaitStatus) {
	for {
		_, err := unix.Wait4(tid, ws, unix.WALL, nil)
		if err == unix.EINTR || err == nil && ws.Stopped() {
			continue
		}
		return
	}
}

// lastWords returns what the victim wrote.
func lastWords(f *os.File) string {
	b := make([]byte, 2000)
	n, _ := f.ReadAt(b, 0) // an empty file has nothing to say
	return string(bytes.TrimSpace(b[:n]))
}
