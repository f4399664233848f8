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

// Thing is what a name of the directory leads to.
type Thing struct {
	Ino, Dev uint64
	Size     int64
}

func (t Thing) Regular() bool  { return false }
func (t Thing) IsDir() bool    { return false }
func (t Thing) Ours() bool     { return false }
func (t Thing) String() string { return "" }

// Presence is whether a name still leads to a file.
type Presence int

const (
	Unknown Presence = iota
	There
	Gone
)

// Stamp changes with each change of the names in a directory.
type Stamp struct{ Deleted bool }

func (s Stamp) Same(later Stamp) bool { return s == later }

// OpenDir is not available on this system.
func OpenDir(base, domain string, create bool) (*Dir, error) { return nil, errs.ErrUnsupported }

func (d *Dir) Path() string                                 { return "" }
func (d *Dir) ID() (dev, ino uint64)                        { return 0, 0 }
func (d *Dir) Close() error                                 { return errs.ErrUnsupported }
func (d *Dir) Files() ([]string, error)                     { return nil, errs.ErrUnsupported }
func (d *Dir) Space() (total, free uint64, err error)       { return 0, 0, errs.ErrUnsupported }
func (d *Dir) Create(tag string, size int64) (*File, error) { return nil, errs.ErrUnsupported }
func (d *Dir) Temp(tag string) (*File, error)               { return nil, errs.ErrUnsupported }
func (f *File) Fill(size, reserve int64) error              { return errs.ErrUnsupported }
func (d *Dir) Empty(name string) bool                       { return false }
func (f *File) Reserve(off, size int64) error               { return errs.ErrUnsupported }
func (d *Dir) Open(name string) (*File, error)              { return nil, errs.ErrUnsupported }
func (d *Dir) OpenRead(name string) (*File, error)          { return nil, errs.ErrUnsupported }
func (d *Dir) Thing(name string) (Thing, error)             { return Thing{}, errs.ErrUnsupported }
func (d *Dir) Refused(name string) error                    { return errs.ErrUnsupported }
func (d *Dir) RemoveThing(name string, t Thing) error       { return errs.ErrUnsupported }
func (d *Dir) Leads(name string, f *File) Presence          { return Unknown }
func (d *Dir) Stands() Presence                             { return Unknown }
func (d *Dir) Stamp() (Stamp, error)                        { return Stamp{}, errs.ErrUnsupported }
func (f *File) Backed(n int64) error                        { return errs.ErrUnsupported }
func (f *File) Deleted() bool                               { return false }
func (d *Dir) Unlink(name string) error                     { return errs.ErrUnsupported }
func (f *File) Publish(name string) error                   { return errs.ErrUnsupported }
func (f *File) Discard()                                    {}
func (f *File) Fd() int                                     { return -1 }
func (f *File) Name() string                                { return "" }
func (f *File) Path() string                                { return "" }
func (f *File) ReadAt(p []byte, off int64) (int, error)     { return 0, errs.ErrUnsupported }
func (f *File) Close() error                                { return errs.ErrUnsupported }
func (f *File) Truncated() (now int64, yes bool)            { return 0, false }
func (f *File) LockShared(off, n int64) (bool, error)       { return false, errs.ErrUnsupported }
func (f *File) LockExclusive(off, n int64) (bool, error)    { return false, errs.ErrUnsupported }
func (f *File) Unlock(off, n int64) error                   { return errs.ErrUnsupported }
func (f *File) Locked(off, n int64) (bool, error)           { return false, errs.ErrUnsupported }
func (d *Dir) Dup() (*Dir, error)                           { return nil, errs.ErrUnsupported }
func (d *Dir) MakeFIFO(name string) (int, error)            { return -1, errs.ErrUnsupported }
func (d *Dir) OpenFIFO(name string) (int, error)            { return -1, errs.ErrUnsupported }
func (d *Dir) LeadsToFIFO(name string, fd int) Presence     { return Unknown }
