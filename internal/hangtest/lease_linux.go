package hangtest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Lease copies a program to path, unless it is there, and takes a lease on that file: an exec of it hangs until letGo,
// which may be called more than once. The error is errors.ErrUnsupported where there is no such program, or no lease.
func Lease(program, path string) (letGo func() error, err error) {
	if _, err := os.Stat(path); err != nil {
		b, err := os.ReadFile(program)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
		}
		if err := os.WriteFile(path, b, 0o700); err != nil {
			return nil, err
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := lease(f, syscall.F_WRLCK); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: no leases on files here: %w", errors.ErrUnsupported, err), f.Close())
	}
	return sync.OnceValue(func() error {
		// Closing it is not enough: a child of ours that hangs has it open, too.
		return errors.Join(lease(f, syscall.F_UNLCK), f.Close())
	}), nil
}

func lease(f *os.File, kind uintptr) error {
	const setLease = 1024
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), setLease, kind); errno != 0 {
		return errno
	}
	return nil
}

// Executing reports that a process is inside of execve.
func Executing(pid string) bool {
	b, _ := os.ReadFile("/proc/" + pid + "/syscall")
	n, _, _ := strings.Cut(string(b), " ")
	return n == strconv.Itoa(syscall.SYS_EXECVE)
}
