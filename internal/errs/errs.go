// Package errs holds the sentinel errors of the module, so that internal packages can return
// what the root package exports. The meaning of each stands at its alias in package shiplap.
package errs

import (
	"errors"
	"io/fs"
	"os"
)

var (
	ErrClosed       = os.ErrClosed
	ErrNotExist     = fs.ErrNotExist
	ErrExist        = fs.ErrExist
	ErrUnsupported  = errors.ErrUnsupported
	ErrOwnerDied    = errors.New("owner died")
	ErrPeerGone     = errors.New("peer is gone")
	ErrCorrupt      = errors.New("shared memory is corrupt")
	ErrIncompatible = errors.New("incompatible object")
	ErrFull         = errors.New("full")
	ErrEmpty        = errors.New("empty")
	ErrTooLarge     = errors.New("too large")
	ErrRemoved      = errors.New("object was removed")
	ErrConflict     = errors.New("conflict")
	ErrBusy         = errors.New("busy")
	ErrNoSpace      = errors.New("no space in shared memory")
	ErrName         = errors.New("invalid name")
)
