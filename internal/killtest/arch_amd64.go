//go:build linux

package killtest

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// trapAdvance is where a breakpoint instruction leaves the program counter, relative to itself.
const trapAdvance = 1

// cpu is what we look at of a stopped thread.
type cpu struct{ pc, sp, fp uint64 }

func (t *tracee) readCPU() error {
	if err := unix.PtraceGetRegs(t.pid, &t.regs); err != nil {
		return err
	}
	t.cpu = cpu{pc: t.regs.Rip, sp: t.regs.Rsp, fp: t.regs.Rbp}
	return nil
}

// passMarker moves a thread that was stopped by the marker behind it. Here INT3 did that already.
func (t *tracee) passMarker() error { return nil }

// entersKernel reports whether code begins with SYSCALL.
func entersKernel(code []byte) bool { return len(code) >= 2 && code[0] == 0x0f && code[1] == 0x05 }

// Offsets of the debug registers in the kernel's struct user.
const (
	debugReg0 = 848
	debugReg7 = debugReg0 + 7*8
)

const hasBreakpoints = true

// setBreakpoint lets this thread, and no other, stop before it executes the instruction at pc; 0 clears it.
func (t *tracee) setBreakpoint(pc uint64) error {
	if err := t.pokeUser(debugReg7, 0); err != nil || pc == 0 {
		return err
	}
	if err := t.pokeUser(debugReg0, pc); err != nil {
		return err
	}
	return t.pokeUser(debugReg7, 1) // register 0, local, execution
}

func (t *tracee) pokeUser(offset uintptr, value uint64) error {
	_, err := unix.PtracePokeUser(t.pid, offset, binary.LittleEndian.AppendUint64(nil, value))
	return err
}

// syscallArgs returns number and arguments of the system call that the thread is about to make.
func (t *tracee) syscallArgs() (nr uint64, args [4]uint64) {
	return t.regs.Rax, [4]uint64{t.regs.Rdi, t.regs.Rsi, t.regs.Rdx, t.regs.R10}
}

// failCall lets the thread believe that it has made the system call, and that it failed.
func (t *tracee) failCall(errno int) error {
	t.regs.Rip += 2
	t.regs.Rax = uint64(-int64(errno))
	t.cpu.pc = t.regs.Rip
	return unix.PtraceSetRegs(t.pid, &t.regs)
}
