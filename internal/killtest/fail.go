//go:build linux && (amd64 || arm64)

package killtest

import (
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// call is a system call that the operation made, and what it may fail with on a healthy machine.
type call struct {
	step   int
	errnos []int
}

// failures returns what the system call that the thread is about to make may fail with. Calls of Go's runtime are no
// business of ours: it ends the process when they fail.
func (t *tracee) failures() []int {
	if !t.callOfProgram() {
		return nil
	}
	nr, a := t.syscallArgs()
	return errnosOf(nr, a)
}

// callOfProgram reports whether the call comes by way of package syscall or x/sys/unix, and not from a test.
func (t *tracee) callOfProgram() bool {
	frames := runtime.CallersFrames(t.returnAddresses())
	for {
		f, more := frames.Next()
		name := f.Function
		switch {
		case strings.HasSuffix(name, "Syscall6"), strings.HasPrefix(name, "syscall."), strings.HasPrefix(name, "golang.org/x/sys/"):
		case strings.HasPrefix(name, "runtime."), strings.HasPrefix(name, "internal/runtime/"):
			return false
		default:
			return !strings.HasSuffix(f.File, "_test.go")
		}
		if !more {
			return false
		}
	}
}

// returnAddresses is the stack as CallersFrames wants it.
func (t *tracee) returnAddresses() []uintptr {
	stack := t.stack()
	stack[0]++
	return stack
}

// errnosOf knows the calls that fail on healthy systems: for want of memory, descriptors or room, or because of a signal.
func errnosOf(nr uint64, a [4]uint64) []int {
	const (
		futexCommand  = 0x7f
		futexWait     = 0
		futexWaitBits = 9
		futexWaitv    = 449
	)
	switch nr {
	case unix.SYS_FUTEX:
		if op := a[1] & futexCommand; op == futexWait || op == futexWaitBits {
			return []int{int(unix.EINTR), int(unix.EAGAIN)}
		}
	case futexWaitv:
		return []int{int(unix.EINTR), int(unix.EAGAIN)}
	case unix.SYS_MMAP, unix.SYS_MREMAP, unix.SYS_MPROTECT:
		return []int{int(unix.ENOMEM)}
	case unix.SYS_OPENAT:
		if a[2]&unix.O_CREAT != 0 || a[2]&unix.O_TMPFILE == unix.O_TMPFILE {
			return []int{int(unix.EMFILE), int(unix.ENOSPC), int(unix.EINTR)}
		}
		return []int{int(unix.EMFILE), int(unix.EINTR)}
	case unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE:
		return []int{int(unix.ENOSPC), int(unix.EINTR)}
	case unix.SYS_FCNTL:
		switch a[1] {
		case unix.F_DUPFD, unix.F_DUPFD_CLOEXEC:
			return []int{int(unix.EMFILE)}
		case unix.F_OFD_SETLK, unix.F_OFD_SETLKW, unix.F_SETLK, unix.F_SETLKW:
			return []int{int(unix.ENOLCK), int(unix.EINTR)}
		}
	case unix.SYS_FLOCK:
		return []int{int(unix.ENOLCK), int(unix.EINTR)}
	case unix.SYS_LINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_MKDIRAT:
		return []int{int(unix.ENOSPC)}
	case unix.SYS_PIDFD_OPEN, unix.SYS_PIPE2, unix.SYS_EVENTFD2, unix.SYS_MEMFD_CREATE, unix.SYS_DUP3, unix.SYS_SOCKET:
		return []int{int(unix.EMFILE)}
	case unix.SYS_WRITE, unix.SYS_PWRITE64:
		return []int{int(unix.ENOSPC), int(unix.EINTR)}
	case unix.SYS_READ, unix.SYS_PREAD64:
		return []int{int(unix.EINTR)}
	}
	return nil
}

func errnoName(e int) string { return unix.ErrnoName(unix.Errno(e)) }
