//go:build linux && (amd64 || arm64)

package futex

import (
	"math"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	sysWaitv       = 449 // futex_waitv, the same number on all architectures
	opWait         = 0   // FUTEX_WAIT, without the PRIVATE flag
	opWake         = 1   // FUTEX_WAKE, likewise
	size32         = 2   // FUTEX2_SIZE_U32
	clockMonotonic = 1
	waitvMax       = 128 // FUTEX_WAITV_MAX
)

// waitv is the kernel's struct futex_waitv.
type waitv struct {
	val   uint64
	addr  uint64
	flags uint32
	_     uint32
}

func (v *waitv) set(addr *uint32, val uint32) {
	*v = waitv{val: uint64(val), addr: uint64(uintptr(unsafe.Pointer(addr))), flags: size32}
}

// timespec is the kernel's 64-bit struct timespec.
type timespec struct{ sec, nsec int64 }

func (ts *timespec) set(ns int64) { *ts = timespec{ns / 1e9, ns % 1e9} }

// Wake wakes up to n sleepers on a word and returns how many the kernel woke.
// It never blocks. An address that is not mapped has no sleepers.
func Wake(addr *uint32, n int) int {
	if n <= 0 {
		return 0
	}
	if hooked {
		if woken, ok := hookWake(addr, n); ok {
			return woken
		}
	}
	r, _, errno := syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), opWake, uintptr(min(n, All)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(r)
}

// passOn wakes one sleeper on a word that this process may have unmapped since.
func passOn(addr uint64) {
	syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(addr), opWake, 1, 0, 0, 0)
}

// waitMany sleeps on n words until a CLOCK_MONOTONIC time. It returns the
// highest index that was woken: those below may have been woken too, those
// above were not. v and until must be on the heap: a stack could move.
func waitMany(v *waitv, n int, until *timespec) (int, syscall.Errno) {
	r, _, errno := syscall.Syscall6(sysWaitv, uintptr(unsafe.Pointer(v)), uintptr(n), 0,
		uintptr(unsafe.Pointer(until)), clockMonotonic, 0)
	return int(r), errno
}

// waitOne sleeps on one word for a relative time.
func waitOne(addr *uint32, val uint32, d *timespec) syscall.Errno {
	_, _, errno := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(addr)), opWait, uintptr(val),
		uintptr(unsafe.Pointer(d)), 0, 0)
	return errno
}

const (
	modeUnknown = iota
	modeWaitv
	modePlain
)

// mode is found out at first use; tests set it.
var mode atomic.Uint32

func hasWaitv() bool {
	m := mode.Load()
	if m == modeUnknown {
		m = modePlain
		// No words at all: EINVAL from a kernel that knows the call, ENOSYS or
		// EPERM from one that does not, or from a filter.
		if _, _, errno := syscall.RawSyscall6(sysWaitv, 0, 0, 0, 0, 0, 0); errno == syscall.EINVAL {
			m = modeWaitv
		}
		mode.Store(m)
	}
	return m == modeWaitv
}

// Go's monotonic clock is CLOCK_MONOTONIC from another origin, and reading it
// needs no system call.
var clockStart, clockOffset = readClocks()

// readClocks reads both clocks close to each other: the best of a few tries,
// for a pause between them would delay every timeout of the process.
func readClocks() (time.Time, int64) {
	start, offset := time.Now(), int64(math.MaxInt64)
	for range 5 {
		var ts syscall.Timespec
		before := time.Since(start)
		syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&ts)), 0)
		offset = min(offset, ts.Nano()-int64(before))
	}
	return start, offset
}

// now is CLOCK_MONOTONIC in nanoseconds.
func now() int64 { return clockOffset + int64(time.Since(clockStart)) }

// after is the time when bound is over; centuries are cut off to stay in range.
func after(t int64, bound time.Duration) int64 { return t + int64(min(bound, 1<<61)) }
