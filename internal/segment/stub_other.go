//go:build !linux

package segment

import "github.com/shiplap-ipc/shiplap/internal/errs"

// Elsewhere than on Linux there is no way to make a Dir or a File: everything is ErrUnsupported.

// Dir is an open domain directory.
type Dir struct{}

// File is an open file of a domain directory.
type File struct {
	Size     int64
	Ino, Dev uint64
	Mode     uint32
}

// OpenDir is not available on this system.
func OpenDir(base, domain string, create bool) (*Dir, error) { return nil, errs.ErrUnsupported }

func (d *Dir) Path() string                                 { return "" }
func (d *Dir) ID() (dev, ino uint64)                        { return 0, 0 }
func (d *Dir) Close() error                                 { return errs.ErrUnsupported }
func (d *Dir) Files() ([]string, error)                     { return nil, errs.ErrUnsupported }
func (d *Dir) Space() (total, free uint64, err error)       { return 0, 0, errs.ErrUnsupported }
func (d *Dir) Create(tag string, size int64) (*File, error) { return nil, errs.ErrUnsupported }
func (d *Dir) CreatePart(tag string, size, reserve int64) (*File, error) {
	return nil, errs.ErrUnsupported
}
func (f *File) Reserve(off, size int64) error            { return errs.ErrUnsupported }
func (d *Dir) Open(name string) (*File, error)           { return nil, errs.ErrUnsupported }
func (d *Dir) Unlink(name string) error                  { return errs.ErrUnsupported }
func (f *File) Publish(name string) error                { return errs.ErrUnsupported }
func (f *File) Discard()                                 {}
func (f *File) Fd() int                                  { return -1 }
func (f *File) Name() string                             { return "" }
func (f *File) Path() string                             { return "" }
func (f *File) ReadAt(p []byte, off int64) (int, error)  { return 0, errs.ErrUnsupported }
func (f *File) Close() error                             { return errs.ErrUnsupported }
func (f *File) Linked(name string) bool                  { return false }
func (f *File) Truncated() (now int64, yes bool)         { return 0, false }
func (f *File) LockShared(off, n int64) (bool, error)    { return false, errs.ErrUnsupported }
func (f *File) LockExclusive(off, n int64) (bool, error) { return false, errs.ErrUnsupported }
func (f *File) Unlock(off, n int64) error                { return errs.ErrUnsupported }
func (f *File) Locked(off, n int64) (bool, error)        { return false, errs.ErrUnsupported }
