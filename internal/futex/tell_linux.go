//go:build linux && (amd64 || arm64)

package futex

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// noSignal is RWF_NOSIGNAL, since Linux 6.18: a write to a pipe without a reader raises no SIGPIPE.
const noSignal = 0x100

// loud is set when the kernel turns out not to know noSignal, or a filter forbids the call.
var loud atomic.Bool

// Tell writes 8 bytes into a FIFO that was opened not to block. If nobody reads that any more, it is EPIPE, and, on a
// kernel before 6.18, a SIGPIPE as well, which Go drops unless the program has asked for it.
func Tell(fd int, v uint64) syscall.Errno {
	if !loud.Load() {
		switch errno := tellQuietly(fd, v); errno {
		case syscall.EOPNOTSUPP, syscall.EINVAL, syscall.ENOSYS, syscall.EPERM:
			loud.Store(true)
		default:
			return errno
		}
	}
	_, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&v)), 8)
	return errno
}

func tellQuietly(fd int, v uint64) syscall.Errno {
	const here = ^uintptr(0) // the position -1 is that of the file, as for write
	iov := unix.Iovec{Base: (*byte)(unsafe.Pointer(&v)), Len: 8}
	_, _, errno := syscall.RawSyscall6(unix.SYS_PWRITEV2, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, here, here, noSignal)
	return errno
}
