//go:build linux

package killtest

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// trapAdvance is where a breakpoint instruction leaves the program counter, relative to itself.
const trapAdvance = 0

// cpu is what we look at of a stopped thread.
type cpu struct{ pc, sp, fp uint64 }

func (t *tracee) readCPU() error {
	if err := unix.PtraceGetRegs(t.pid, &t.regs); err != nil {
		return err
	}
	t.cpu = cpu{pc: t.regs.Pc, sp: t.regs.Sp, fp: t.regs.Regs[29]}
	return nil
}

// passMarker moves a thread that was stopped by the marker behind it.
func (t *tracee) passMarker() error {
	t.regs.Pc += 4
	t.cpu.pc = t.regs.Pc
	return unix.PtraceSetRegs(t.pid, &t.regs)
}

// entersKernel reports whether code begins with SVC #0.
func entersKernel(code []byte) bool {
	return len(code) >= 4 && binary.LittleEndian.Uint32(code) == 0xd4000001
}

// Setting the debug registers takes PTRACE_SETREGSET with a buffer of our own, which needs unsafe: single steps
// have to do.
const hasBreakpoints = false

func (t *tracee) setBreakpoint(uint64) error { return errors.ErrUnsupported }

// syscallArgs returns number and arguments of the system call that the thread is about to make.
func (t *tracee) syscallArgs() (nr uint64, args [4]uint64) {
	return t.regs.Regs[8], [4]uint64(t.regs.Regs[:4])
}

// failCall lets the thread believe that it has made the system call, and that it failed.
func (t *tracee) failCall(errno int) error {
	t.regs.Pc += 4
	t.regs.Regs[0] = uint64(-int64(errno))
	t.cpu.pc = t.regs.Pc
	return unix.PtraceSetRegs(t.pid, &t.regs)
}
