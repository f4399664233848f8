package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Thing is what a name of the directory leads to, as the file system tells without opening it.
type Thing struct {
	Ino, Dev uint64
	Size     int64
	mode     uint32
	uid      uint32
}

// Thing looks at a name, not through a symbolic link.
func (d *Dir) Thing(name string) (Thing, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return Thing{}, &fs.PathError{Op: "stat", Path: d.path + "/" + name, Err: err}
	}
	return thing(&st), nil
}

func thing(st *unix.Stat_t) Thing {
	return Thing{Ino: st.Ino, Dev: uint64(st.Dev), Size: st.Size, mode: st.Mode, uid: st.Uid}
}

// Regular reports whether it is a file with contents of its own.
func (t Thing) Regular() bool { return t.mode&unix.S_IFMT == unix.S_IFREG }

// IsDir reports whether it is a directory.
func (t Thing) IsDir() bool { return t.mode&unix.S_IFMT == unix.S_IFDIR }

// Ours reports whether it is a file that an object may lie in: regular, of this user, and nobody else may write to it.
func (t Thing) Ours() bool {
	return t.Regular() && int(t.uid) == os.Geteuid() && t.mode&0o022 == 0
}

// String says what it is.
func (t Thing) String() string {
	switch t.mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "symbolic link"
	case unix.S_IFIFO:
		return "FIFO"
	case unix.S_IFSOCK:
		return "socket"
	case unix.S_IFBLK, unix.S_IFCHR:
		return "device"
	}
	return "file"
}

// refuse says why it is not opened, nil if it may be.
func (t Thing) refuse(path string) error {
	switch {
	case !t.Regular():
		return fmt.Errorf("%w: a %s stands where an object belongs", &fs.PathError{Op: "open", Path: path, Err: errs.ErrCorrupt}, t)
	case int(t.uid) != os.Geteuid():
		return fmt.Errorf("%w: it belongs to uid %d, this process is uid %d",
			&fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}, t.uid, os.Geteuid())
	case t.mode&0o022 != 0:
		return fmt.Errorf("%w: its mode is %04o, others may write to it",
			&fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}, t.mode&0o7777)
	}
	return nil
}

// Refused is what opening the name would say without opening it, nil if it would be opened.
func (d *Dir) Refused(name string) error {
	t, err := d.Thing(name)
	if err != nil {
		return err
	}
	return t.refuse(d.path + "/" + name)
}

// RemoveThing takes away what is no object: it unlinks it, or removes a directory that is empty. Missing is fine.
func (d *Dir) RemoveThing(name string, t Thing) error {
	flags := 0
	if t.IsDir() {
		flags = unix.AT_REMOVEDIR
	}
	path := d.path + "/" + name
	switch err := unix.Unlinkat(d.fd, name, flags); err {
	case nil, unix.ENOENT:
		return nil
	case unix.ENOTEMPTY, unix.EEXIST:
		return fmt.Errorf("%w\nlook what is in it, then: rm -r %s",
			&fs.PathError{Op: "remove directory", Path: path, Err: err}, ShellQuote(path))
	default:
		return &fs.PathError{Op: "remove", Path: path, Err: err}
	}
}

// Empty reports whether a name leads to a directory without entries.
func (d *Dir) Empty(name string) bool {
	fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	_, err = f.Readdirnames(1)
	return err == io.EOF
}

// Presence is whether a name still leads to a file.
type Presence int

const (
	Unknown Presence = iota // the file system does not tell
	There
	Gone // it leads nowhere, or to another file
)

// Leads tells whether the name leads to that very file.
func (d *Dir) Leads(name string, f *File) Presence {
	t, err := d.Thing(name)
	switch {
	case err == nil && t.Ino == f.Ino && t.Dev == f.Dev:
		return There
	case err == nil, errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return Gone
	}
	return Unknown
}

// Deleted reports that the file has no name any more, anywhere. It asks the kernel about the open file: half a microsecond.
func (f *File) Deleted() bool {
	var st unix.Stat_t
	return unix.Fstat(f.fd, &st) == nil && st.Nlink == 0 && st.Ino == f.Ino && uint64(st.Dev) == f.Dev
}

// Backed says errs.ErrCorrupt if fewer than n bytes of the file are set aside. It can tell only on a tmpfs, which counts pages,
// small or huge, in memory or swapped out; other file systems compress, or count later.
func (f *File) Backed(n int64) error {
	var st unix.Stat_t
	if !f.dir.memory || unix.Fstat(f.fd, &st) != nil || st.Blocks*512 >= n {
		return nil
	}
	return fmt.Errorf("%w: %s is sparse: %d bytes of it are set aside, where there should be %d", errs.ErrCorrupt, f.Path(), st.Blocks*512, n)
}

// Stamp changes with each change of the names in a directory.
type Stamp struct {
	mtime, ctime unix.Timespec
	fresh        bool // so young that a later change may have the same times
	Deleted      bool // the directory itself has no name any more
}

// coarse is longer than a file system's clock stands still.
const coarse = 50 * time.Millisecond

// Stamp reads the directory's times.
func (d *Dir) Stamp() (Stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		return Stamp{}, &fs.PathError{Op: "stat", Path: d.path, Err: err}
	}
	s := Stamp{mtime: st.Mtim, ctime: st.Ctim, Deleted: st.Nlink == 0}
	now := time.Now()
	for _, t := range []unix.Timespec{st.Mtim, st.Ctim} {
		s.fresh = s.fresh || now.Sub(time.Unix(t.Unix())).Abs() < coarse
	}
	return s, nil
}

// Same reports that no name has changed between two stamps for certain.
func (s Stamp) Same(later Stamp) bool { return s == later && !s.fresh }
