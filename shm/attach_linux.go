package shm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Attach maps an existing segment, all of it, whoever made it. As in Python the file's permissions alone
// decide: look at Stat if it matters whose it is.
//
// Errors: errs.ErrNotExist; errs.ErrBusy for one that is empty, because its creator may be about to
// size it, as Python is for an instant (AttachWait waits for that); errs.ErrCorrupt for what is no
// plain file; fs.ErrPermission; errs.ErrName.
func Attach(name string, opt *Options) (*Segment, error) {
	o := opt.or()
	s, err := attach(name, &o)
	if err != nil {
		return nil, fmt.Errorf("shm: %w", err)
	}
	return s, nil
}

func attach(name string, o *Options) (*Segment, error) {
	name, err := fileName(name, mostThere)
	if err != nil {
		return nil, err
	}
	dir := o.dir()
	path := filepath.Join(dir, name)
	flags := unix.O_RDWR
	if o.ReadOnly && !o.Keep {
		flags = unix.O_RDONLY
	}
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	switch err {
	case nil:
	case unix.ELOOP, unix.EISDIR, unix.ENXIO:
		return nil, fmt.Errorf("%w: not a plain file", &fs.PathError{Op: "attach", Path: path, Err: errs.ErrCorrupt})
	case unix.EACCES, unix.EROFS:
		return nil, fmt.Errorf("%w; this process is uid %d%s", &fs.PathError{Op: "attach", Path: path, Err: err}, os.Geteuid(), orReadOnly(flags))
	default:
		return nil, &fs.PathError{Op: "attach", Path: path, Err: err}
	}
	s := &Segment{dir: dir, name: name, path: path, fd: fd}
	if err := s.mapFile(o, o.ReadOnly); err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "attach", Path: path, Err: err}
	}
	if o.Keep {
		sweep(dir)
		if err := s.keep(path); err != nil {
			return nil, errors.Join(&fs.PathError{Op: "attach", Path: path, Err: err}, s.release())
		}
	}
	return s, nil
}

func orReadOnly(flags int) string {
	if flags&unix.O_ACCMODE == unix.O_RDWR {
		return "; perhaps it may be attached with ReadOnly"
	}
	return ""
}

// mapFile maps all of the file that s.fd leads to.
func (s *Segment) mapFile(o *Options, readOnly bool) error {
	st, err := s.identify()
	switch {
	case err != nil:
		return err
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return fmt.Errorf("%w: not a plain file", errs.ErrCorrupt)
	case st.Size == 0:
		return fmt.Errorf("%w: it is empty: its creator has not sized it yet, or died before (shiplap shm ls shows since when it is there)", errs.ErrBusy)
	}
	view := mem.ReadWrite
	if readOnly {
		view = mem.ReadOnly
	}
	if seals, err := sealsOf(s.fd); err == nil && seals&SealWrite != 0 {
		view, readOnly = mem.Frozen, true
	}
	s.size = st.Size
	s.readOnly.Store(readOnly)
	if s.b, err = mem.MapBytes(s.fd, s.size, view); err != nil {
		return err
	}
	if o.Huge {
		if err := unix.Madvise(s.b, unix.MADV_HUGEPAGE); err != nil {
			s.hugeNote = fmt.Sprintf("the kernel refuses MADV_HUGEPAGE: %v", err)
		}
	}
	return nil
}

// Unlink removes the name of a segment, whatever segment that is by now; who has it mapped keeps the
// memory until the last one closes it. errs.ErrNotExist if there is no such name.
func Unlink(name string, opt *Options) error {
	file, err := fileName(name, mostThere)
	if err != nil {
		return fmt.Errorf("shm: %w", err)
	}
	path := filepath.Join(opt.dir(), file)
	if err := unix.Unlink(path); err != nil {
		return fmt.Errorf("shm: %w", &fs.PathError{Op: "unlink", Path: path, Err: err})
	}
	return nil
}

// Unlink removes the segment's name; the memory stays until the last handle on it is closed. Like
// Python's it is for one process to call. errs.ErrNotExist if the name is gone, errs.ErrConflict if it
// leads to another segment by now, which is left alone.
func (s *Segment) Unlink() error {
	if s.name == "" {
		return s.fail("unlink", fmt.Errorf("%w: anonymous memory has no name", errs.ErrNotExist))
	}
	var st unix.Stat_t
	err := unix.Lstat(s.path, &st)
	if err == nil && (st.Dev != s.dev || st.Ino != s.ino) {
		err = fmt.Errorf("%w: the name leads to another segment by now", errs.ErrConflict)
	}
	if err == nil {
		err = unix.Unlink(s.path)
	}
	if err != nil {
		return s.fail("unlink", err)
	}
	return nil
}

// Linked reports whether the segment's name still leads to this memory. Python's resource tracker may
// have removed it: see the package's documentation. Anonymous and closed segments are not linked.
func (s *Segment) Linked() bool {
	if s.name == "" || !s.users.enter() {
		return false
	}
	defer s.leave()
	return s.linked()
}

func (s *Segment) linked() bool {
	var st unix.Stat_t
	return unix.Lstat(s.path, &st) == nil && st.Dev == s.dev && st.Ino == s.ino
}
