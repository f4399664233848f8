package sysv

import (
	"errors"
	"io/fs"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// What cannot be had from the kernel at will.
func TestErrno(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want error
	}{
		{getError(7, 1, 0, unix.EIDRM), errs.ErrRemoved},
		{idError("stat", 1<<30, unix.EIDRM), errs.ErrRemoved},
		{idError("stat", 1<<30, unix.EFAULT), unix.EFAULT},
		{attachError(1<<30, 0, unix.EIDRM), errs.ErrRemoved},
		{lockError(1<<30, unix.ENOMEM), errs.ErrNoSpace},
		{getError(7, 1, SHM_HUGETLB, unix.ENOMEM), errs.ErrNoSpace},
		{getError(7, 1, 0, unix.ENOMEM), errs.ErrNoSpace},
		{getError(7, 1, SHM_HUGETLB, unix.EPERM), fs.ErrPermission},
		{getError(7, 1, 0, unix.ENFILE), unix.ENFILE},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%v, want %v", tt.err, tt.want)
		}
	}
}
