package shm

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/room"
)

// birth is a file that nobody can see yet, or only under a private name.
type birth struct {
	dir  string
	temp string // its private path, "" if it has no name at all
	fd   int
}

// canTmpfile is false in the test of systems where it is so.
var canTmpfile = true

func procFD(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// newborn makes an empty file without a name; where the file system or a missing /proc does not let us
// name it later, one with a private name and our lock, so that a sweep takes it away if we die.
func newborn(dir string) (*birth, error) {
	if canTmpfile && unix.Access("/proc/self/fd", unix.X_OK) == nil {
		fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		switch err {
		case nil:
			return &birth{dir: dir, fd: fd}, nil
		case unix.EOPNOTSUPP, unix.EISDIR, unix.EINVAL:
		default:
			return nil, &fs.PathError{Op: "create a file in", Path: dir, Err: err}
		}
	}
	for {
		path := filepath.Join(dir, privatePrefix+random(8))
		fd, err := unix.Open(path, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
		if err == unix.EEXIST {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "create", Path: path, Err: err}
		}
		var st unix.Stat_t
		if err = lockShared(fd); err == nil {
			err = unix.Fstat(fd, &st)
		}
		if err == nil && st.Nlink > 0 {
			return &birth{dir, path, fd}, nil
		}
		unix.Close(fd) // a sweep came between
		if err != nil {
			unix.Unlink(path)
			return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
		}
	}
}

// link gives the file a name in its directory, unless that is taken.
func (b *birth) link(name string) error {
	path := filepath.Join(b.dir, name)
	var err error
	if b.temp == "" {
		err = linkFD(b.fd, path)
	} else {
		err = unix.Linkat(unix.AT_FDCWD, b.temp, unix.AT_FDCWD, path, 0)
	}
	if err != nil {
		return &fs.PathError{Op: "create", Path: path, Err: err}
	}
	return nil
}

// discard takes the private name away.
func (b *birth) discard() {
	if b.temp != "" {
		unix.Unlink(b.temp)
	}
}

func linkFD(fd int, path string) error {
	return unix.Linkat(unix.AT_FDCWD, procFD(fd), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
}

func random(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b)
	return hex.EncodeToString(b)
}

const piece = 32 << 20

// reserve makes the file size bytes long, all of them there: fallocate in pieces, for a signal undoes the
// one it falls into.
func reserve(fd int, size int64, noSpace func(error) error) error {
	for off := int64(0); off < size; {
		n := min(piece, size-off)
		switch err := unix.Fallocate(fd, 0, off, n); err {
		case nil:
			off += n
		case unix.EINTR:
		case unix.ENOSPC, unix.EDQUOT, unix.EFBIG, unix.ENOMEM:
			return noSpace(err)
		default:
			return fmt.Errorf("reserve %d bytes: %w", size, err)
		}
	}
	return nil
}

// populate touches all of a mapping, so that its pages come as large as the mapping asks for. Before
// Linux 5.14 the kernel does not know how, and they come as reserve makes them.
func populate(b []byte, noSpace func(error) error) error {
	for off := 0; off < len(b); {
		n := min(piece, len(b)-off)
		switch err := unix.Madvise(b[off:off+n], unix.MADV_POPULATE_WRITE); err {
		case nil:
			off += n
		case unix.EINTR, unix.EAGAIN:
		case unix.EINVAL:
			return nil
		case unix.EFAULT, unix.ENOMEM: // what would have been SIGBUS
			return noSpace(unix.ENOSPC)
		default:
			return fmt.Errorf("populate %d bytes: %w", len(b), err)
		}
	}
	return nil
}

// noSpaceIn says what is missing where.
func noSpaceIn(dir, what string, want int64, cause error) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return fmt.Errorf("%w: %s wants %d bytes, but %s has %d free of %d (%w)\n"+
		"remove some (shiplap shm ls shows what there is), or enlarge it (docker run --shm-size=1g)",
		errs.ErrNoSpace, what, want, mountOf(dir), st.Bavail*uint64(st.Bsize), st.Blocks*uint64(st.Bsize), cause)
}

// mountOf is the mount point that path lies on, found by walking up to the change of device.
func mountOf(path string) string {
	var st, up unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return path
	}
	for path != "/" && path != "." {
		parent := filepath.Dir(path)
		if unix.Stat(parent, &up) != nil || up.Dev != st.Dev {
			break
		}
		path = parent
	}
	return path
}

// fits refuses what cannot fit before any of it is taken: fallocate would eat the host's memory first, or end the process.
func fits(dir, what string, size int64) error {
	var st unix.Statfs_t
	if dir != "" && unix.Statfs(dir, &st) == nil && st.Blocks > 0 && uint64(size) > st.Bavail*uint64(st.Bsize) {
		return noSpaceIn(dir, what, size, unix.ENOSPC)
	}
	if err := room.FileSize(what, size); err != nil {
		return err
	}
	return room.Take(what, size)
}

// identify reads what tells this file from all others.
func (s *Segment) identify() (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Fstat(s.fd, &st); err != nil {
		return st, fmt.Errorf("stat: %w", err)
	}
	s.dev, s.ino = st.Dev, st.Ino
	return st, nil
}

func (s *Segment) release() error {
	err := errors.Join(mem.UnmapBytes(s.b))
	if s.kept {
		err = errors.Join(err, s.unkeep())
	}
	return errors.Join(err, unix.Close(s.fd))
}

func (s *Segment) truncated() bool {
	var st unix.Stat_t
	return unix.Fstat(s.fd, &st) == nil && st.Size < s.size
}

// shrunk adds the numbers to a fault.
func (s *Segment) shrunk(fault error) error {
	var st unix.Stat_t
	if unix.Fstat(s.fd, &st) == nil && st.Size < s.size {
		return fmt.Errorf("%w: the file has %d bytes now, it had %d", errs.ErrCorrupt, st.Size, s.size)
	}
	return fault
}
