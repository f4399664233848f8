package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/room"
)

// File is an open file of a domain directory.
type File struct {
	dir  *Dir
	name string // as found or made; a temporary has another one after Publish
	fd   int
	Size int64
	Ino  uint64
	Dev  uint64
	Mode uint32
}

// Create makes a file of size bytes, all reserved and zero, that nobody takes for an object until it
// is published. tag goes into its name, so that a sweep can tell whose it is.
func (d *Dir) Create(tag string, size int64) (*File, error) {
	f, err := d.Temp(tag)
	if err != nil {
		return nil, err
	}
	if err := f.Fill(size, size); err != nil {
		f.Discard()
		f.Close()
		return nil, err
	}
	return f, nil
}

// Temp makes an empty file of that kind, to be filled.
func (d *Dir) Temp(tag string) (*File, error) {
	name := TempPrefix + tag
	fd, err := unix.Openat(d.fd, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			return nil, d.noSpace(name, 0, err)
		}
		return nil, fmt.Errorf("%w\n%s", &fs.PathError{Op: "create", Path: d.path + "/" + name, Err: err}, remedy(err))
	}
	return &File{dir: d, name: name, fd: fd}, nil
}

// Fill gives an empty file its size, and reserves the first bytes of it. The rest must not be touched before Reserve.
func (f *File) Fill(size, reserve int64) error {
	f.Size = size
	if err := unix.Fchmod(f.fd, 0o600); err != nil {
		return &fs.PathError{Op: "chmod", Path: f.dir.path + "/" + f.name, Err: err}
	}
	if err := room.FileSize(f.name, size); err != nil {
		return err
	}
	if reserve < size {
		if err := unix.Ftruncate(f.fd, size); err != nil {
			return &fs.PathError{Op: fmt.Sprintf("extend to %d bytes", size), Path: f.dir.path + "/" + f.name, Err: err}
		}
	}
	if err := f.Reserve(0, reserve); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: f.dir.path + "/" + f.name, Err: err}
	}
	f.Ino, f.Dev, f.Mode = st.Ino, uint64(st.Dev), st.Mode
	return nil
}

// Reserve has the file system set memory aside for size bytes at off: errs.ErrNoSpace if it has not that much, or if the memory for it
// cannot be had. It is fallocate in pieces: a signal undoes the piece it falls into, not everything. What can never fit is not
// tried: it would take all memory of the host before it fails. Before each piece it is asked again, for others take memory meanwhile.
func (f *File) Reserve(off, size int64) error {
	const piece = 32 << 20
	if _, free, err := f.dir.Space(); err == nil && uint64(size) > free {
		return f.dir.noSpace(f.name, size, unix.ENOSPC)
	}
	if err := room.FileSize(f.name, off+size); err != nil {
		return err
	}
	ask := room.Take
	for end := off + size; off < end; {
		if f.dir.memory {
			if err := ask(f.name, end-off); err != nil {
				return err
			}
			ask = room.Still
		}
		n := min(piece, end-off)
		switch err := unix.Fallocate(f.fd, 0, off, n); err {
		case nil:
			off += n
		case unix.EINTR:
		case unix.ENOSPC, unix.EDQUOT, unix.EFBIG, unix.ENOMEM:
			return f.dir.noSpace(f.name, size, err)
		default:
			return &fs.PathError{Op: fmt.Sprintf("reserve %d bytes", size), Path: f.dir.path + "/" + f.name, Err: err}
		}
	}
	return nil
}

// Publish gives the file its name, in one step. errs.ErrExist if the name is taken.
func (f *File) Publish(name string) error {
	err := unix.Renameat2(f.dir.fd, f.name, f.dir.fd, name, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS { // a file system without RENAME_NOREPLACE
		if err = unix.Linkat(f.dir.fd, f.name, f.dir.fd, name, 0); err == nil {
			err = unix.Unlinkat(f.dir.fd, f.name, 0)
		}
	}
	if err != nil {
		return &fs.PathError{Op: "publish", Path: f.dir.path + "/" + name, Err: err}
	}
	f.name = name
	return nil
}

// Discard removes a file that was not published.
func (f *File) Discard() { unix.Unlinkat(f.dir.fd, f.name, 0) }

// Open opens a published file and checks what the file system can tell about it.
func (d *Dir) Open(name string) (*File, error) { return d.open(name, unix.O_RDWR) }

// OpenRead is Open of a file that is only to be looked at.
func (d *Dir) OpenRead(name string) (*File, error) { return d.open(name, unix.O_RDONLY) }

func (d *Dir) open(name string, access int) (*File, error) {
	path := d.path + "/" + name
	fd, err := unix.Openat(d.fd, name, access|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		if why := d.Refused(name); err != unix.ENOENT && why != nil {
			return nil, why
		}
		err := error(&fs.PathError{Op: "open", Path: path, Err: err})
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
			err = fmt.Errorf("%w\n%s", err, remedy(err))
		}
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if err := thing(&st).refuse(path); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &File{dir: d, name: name, fd: fd, Size: st.Size, Ino: st.Ino, Dev: uint64(st.Dev), Mode: st.Mode}, nil
}

// Fd is the descriptor, for mapping.
func (f *File) Fd() int { return f.fd }

// Name is the file's name in its directory.
func (f *File) Name() string { return f.name }

// Path is the file's whole path.
func (f *File) Path() string { return f.dir.path + "/" + f.name }

// ReadAt reads as io.ReaderAt does.
func (f *File) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		k, err := unix.Pread(f.fd, p[n:], off+int64(n))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return n, &fs.PathError{Op: "read", Path: f.Path(), Err: err}
		case k == 0:
			return n, io.EOF
		default:
			n += k
		}
	}
	return n, nil
}

// Close closes the descriptor. Its record locks go with it.
func (f *File) Close() error { return unix.Close(f.fd) }

// Unlink removes a name, whatever it leads to. Missing is fine.
func (d *Dir) Unlink(name string) error {
	if err := unix.Unlinkat(d.fd, name, 0); err != nil && err != unix.ENOENT {
		return &fs.PathError{Op: "remove", Path: d.path + "/" + name, Err: err}
	}
	return nil
}

// Truncated reports the present size if it is less than it was at opening.
func (f *File) Truncated() (now int64, yes bool) {
	var st unix.Stat_t
	if unix.Fstat(f.fd, &st) != nil {
		return 0, false
	}
	return st.Size, st.Size < f.Size
}
