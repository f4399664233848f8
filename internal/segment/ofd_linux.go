package segment

import (
	"io"

	"golang.org/x/sys/unix"
)

// Open file description locks (fcntl(2)): the kernel drops them when the last process that has the
// open file is gone, however it ended. They belong to the open file, not to the process.

// LockShared takes a shared lock on n bytes at off, without waiting.
func (f *File) LockShared(off, n int64) (ok bool, err error) {
	return ofdSet(f.fd, unix.F_RDLCK, off, n)
}

// LockExclusive takes an exclusive lock, without waiting.
func (f *File) LockExclusive(off, n int64) (ok bool, err error) {
	return ofdSet(f.fd, unix.F_WRLCK, off, n)
}

// Unlock gives locks back.
func (f *File) Unlock(off, n int64) error {
	_, err := ofdSet(f.fd, unix.F_UNLCK, off, n)
	return err
}

// Locked reports whether somebody else has any lock on the range. The caller's own do not count.
func (f *File) Locked(off, n int64) (bool, error) {
	lk := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: off, Len: n}
	if err := unix.FcntlFlock(uintptr(f.fd), unix.F_OFD_GETLK, &lk); err != nil {
		return false, err
	}
	return lk.Type != unix.F_UNLCK, nil
}

func ofdSet(fd int, typ int16, off, n int64) (bool, error) {
	lk := unix.Flock_t{Type: typ, Whence: io.SeekStart, Start: off, Len: n}
	for {
		switch err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lk); err {
		case nil:
			return true, nil
		case unix.EAGAIN, unix.EACCES:
			return false, nil
		case unix.EINTR:
		default:
			return false, err
		}
	}
}
