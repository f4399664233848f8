//go:build !linux

package fifo

import (
	"context"
	"io/fs"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Elsewhere than on Linux nothing can be made or opened: everything is ErrUnsupported.

func sysMake(path string, mode fs.FileMode) error { return errs.ErrUnsupported }

func sysOpenReader(ctx context.Context, path string) (fd int, err error) {
	return -1, errs.ErrUnsupported
}

func sysOpenWriter(ctx context.Context, path string) (int, error) { return -1, errs.ErrUnsupported }

func readable(fd uintptr) bool         { return true }
func alone(fd uintptr) bool            { return true }
func unread(fd uintptr) (int, error)   { return 0, errs.ErrUnsupported }
func drained(fd uintptr) (bool, error) { return true, errs.ErrUnsupported }
