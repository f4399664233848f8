package segment

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Dup is the same directory once more, with a life of its own.
func (d *Dir) Dup() (*Dir, error) {
	fd, err := unix.FcntlInt(uintptr(d.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "duplicate", Path: d.path, Err: err}
	}
	again := *d
	again.fd = fd
	return &again, nil
}

// MakeFIFO makes a FIFO and opens it so that it always has a reader. What stands in its place is taken away: the name
// belongs to the caller.
func (d *Dir) MakeFIFO(name string) (fd int, err error) {
	path := d.path + "/" + name
	if err := d.Unlink(name); err != nil {
		return -1, err
	}
	if err := unix.Mkfifoat(d.fd, name, 0o600); err != nil {
		return -1, &fs.PathError{Op: "make FIFO", Path: path, Err: err}
	}
	if fd, err = d.openFIFO(name, unix.O_RDWR); err == nil {
		if err = unix.Fchmod(fd, 0o600); err == nil { // whatever the umask was
			return fd, nil
		}
		unix.Close(fd)
		err = &fs.PathError{Op: "chmod", Path: path, Err: err}
	}
	d.Unlink(name)
	return -1, err
}

// OpenFIFO opens a FIFO of another process for writing, never waiting. It is an error if nobody reads it.
func (d *Dir) OpenFIFO(name string) (fd int, err error) { return d.openFIFO(name, unix.O_WRONLY) }

// LeadsToFIFO tells whether the name leads to the FIFO that is open as fd.
func (d *Dir) LeadsToFIFO(name string, fd int) Presence {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return Unknown
	}
	return d.Leads(name, &File{Ino: st.Ino, Dev: uint64(st.Dev)})
}

func (d *Dir) openFIFO(name string, access int) (int, error) {
	path := d.path + "/" + name
	fd, err := unix.Openat(d.fd, name, access|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFIFO || int(st.Uid) != os.Geteuid() {
		unix.Close(fd)
		return -1, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
	}
	return fd, nil
}
