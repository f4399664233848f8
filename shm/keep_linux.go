package shm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// The kernel gives no new name to a file that has lost its last one. So who keeps a segment holds a
// second hard link beside it, .shiplap-shm.<inode>, and a shared record lock on a byte far behind the
// file's end, which the kernel drops with the process. A process that gets the exclusive lock on that byte has
// proof that no keeper lives, and takes the link away. Temporaries of Create are held the same way.

// lockByte is the first byte that no file can have data at.
const lockByte = 1 << 62

const lockPatience = 10 * time.Second

func recordLock(fd int, kind int16) error {
	l := unix.Flock_t{Type: kind, Whence: unix.SEEK_SET, Start: lockByte, Len: 1}
	for {
		if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &l); err != unix.EINTR {
			return err
		}
	}
}

// lockShared waits for a sweep, which holds the lock for some microseconds.
func lockShared(fd int) error {
	for end := time.Now().Add(lockPatience); ; time.Sleep(100 * time.Microsecond) {
		err := recordLock(fd, unix.F_RDLCK)
		if err != unix.EAGAIN && err != unix.EACCES {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w: another process has been sweeping it for %v; it may be stopped", errs.ErrBusy, lockPatience)
		}
	}
}

func (s *Segment) spare() string {
	return filepath.Join(s.dir, privatePrefix+strconv.FormatUint(s.ino, 16))
}

// keep takes the lock and makes the spare link, from the descriptor or, without a /proc, from a path.
func (s *Segment) keep(path string) error {
	if err := lockShared(s.fd); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	s.kept = true
	err := linkFD(s.fd, s.spare())
	if err == unix.ENOENT && path != "" {
		err = unix.Linkat(unix.AT_FDCWD, path, unix.AT_FDCWD, s.spare(), 0)
	}
	if err == unix.EEXIST { // another keeper's, and as we hold the lock nobody takes it away
		var st unix.Stat_t
		if err = unix.Lstat(s.spare(), &st); err == nil && (st.Dev != s.dev || st.Ino != s.ino) {
			err = errs.ErrExist
		}
	}
	if err != nil {
		return fmt.Errorf("keep: %w", &fs.PathError{Op: "link", Path: s.spare(), Err: err})
	}
	return nil
}

// unkeep gives up the lock, and takes the spare link away unless somebody else keeps the segment.
func (s *Segment) unkeep() error {
	if err := recordLock(s.fd, unix.F_UNLCK); err != nil {
		return err
	}
	// First unlocked, then tried: of two who close at once, one at least finds the other gone.
	_, err := sweepFD(s.fd, s.spare())
	return errors.Join(err, recordLock(s.fd, unix.F_UNLCK)) // a copy of the descriptor may live on
}

// Relink gives the segment its name back after somebody has removed it. It does nothing if the name
// still leads here. errs.ErrExist if the name leads to another segment by now; errs.ErrRemoved if the
// kernel cannot link it any more, because nobody kept it (Options.Keep).
func (s *Segment) Relink() error {
	if s.name == "" {
		return s.fail("relink", fmt.Errorf("%w: anonymous memory has no name", errs.ErrNotExist))
	}
	if !s.users.enter() {
		return s.fail("relink", errs.ErrClosed)
	}
	defer s.leave()
	err := s.relink()
	for err == unix.EEXIST && unix.Access(s.path, unix.F_OK) == unix.ENOENT {
		err = s.relink() // the name that was in the way was removed since
	}
	switch err {
	case nil:
		return nil
	case unix.ENOENT:
		return s.fail("relink", fmt.Errorf("%w: its last name is gone and nobody kept it; its bytes are here until it is closed", errs.ErrRemoved))
	}
	return s.fail("relink", err)
}

// relink tries once. EEXIST: the name leads, or led a moment ago, to another segment.
func (s *Segment) relink() error {
	err := linkFD(s.fd, s.path)
	if err == unix.ENOENT && s.kept {
		err = unix.Linkat(unix.AT_FDCWD, s.spare(), unix.AT_FDCWD, s.path, 0)
	}
	if err == unix.EEXIST && s.linked() {
		return nil
	}
	return err
}

// Sweep removes what processes that died left beside the segments of the directory: temporaries, and
// spare links of Options.Keep. Create does so too. It returns the names of what it removed.
func Sweep(opt *Options) ([]string, error) {
	names, err := private(opt.dir())
	if err != nil {
		return nil, fmt.Errorf("shm: %w", err)
	}
	var removed []string
	for _, n := range names {
		gone, e := sweepOne(filepath.Join(opt.dir(), n))
		if gone {
			removed = append(removed, n)
		}
		if e != nil && !errors.Is(e, fs.ErrPermission) {
			err = errors.Join(err, fmt.Errorf("shm: %w", e))
		}
	}
	return removed, err
}

func sweep(dir string) { _, _ = Sweep(&Options{Dir: dir}) }

func private(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	all, err := d.Readdirnames(-1)
	var names []string
	for _, n := range all {
		if strings.HasPrefix(n, privatePrefix) {
			names = append(names, n)
		}
	}
	return names, err
}

// sweepOne removes a private name if no living process holds it.
func sweepOne(path string) (gone bool, err error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err == unix.ENOENT {
		return false, nil
	}
	if err != nil {
		return false, &fs.PathError{Op: "sweep", Path: path, Err: err}
	}
	defer unix.Close(fd)
	return sweepFD(fd, path)
}

// sweepFD does so with a descriptor of the file. The lock stays taken until that is closed.
func sweepFD(fd int, path string) (gone bool, err error) {
	switch err := recordLock(fd, unix.F_WRLCK); err {
	case nil:
	case unix.EAGAIN, unix.EACCES:
		return false, nil
	default:
		return false, &fs.PathError{Op: "sweep", Path: path, Err: err}
	}
	var st, at unix.Stat_t
	if unix.Fstat(fd, &st) != nil || unix.Lstat(path, &at) != nil || st.Ino != at.Ino || st.Dev != at.Dev {
		return false, nil // another one's by now
	}
	if err := unix.Unlink(path); err != nil && err != unix.ENOENT {
		return false, &fs.PathError{Op: "sweep", Path: path, Err: err}
	}
	return true, nil
}
