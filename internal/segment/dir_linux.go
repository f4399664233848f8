package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Dir is an open domain directory.
type Dir struct {
	path   string
	fd     int
	dev    uint64
	ino    uint64
	below  string // where it was found below base
	base   Thing  // base itself
	memory bool   // files take memory, not disk
}

// OpenDir opens the directory of a domain; create makes what is missing below base.
func OpenDir(base, domain string, create bool) (*Dir, error) {
	file, err := FileName(domain)
	if err != nil {
		return nil, fmt.Errorf("domain: %w", err)
	}
	fd, err := unix.Open(base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", &fs.PathError{Op: "open shared memory directory", Path: base, Err: err}, remedy(err))
	}
	path := base
	elems := []string{userDir(), layoutDir(), file}
	for _, elem := range elems {
		path = filepath.Join(path, elem)
		next, err := openSubdir(fd, elem, path, create)
		unix.Close(fd)
		if err != nil {
			return nil, err
		}
		fd = next
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	var sfs unix.Statfs_t
	if err := unix.Fstatfs(fd, &sfs); err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	d := &Dir{
		path: path, fd: fd, dev: st.Dev, ino: st.Ino, below: filepath.Join(elems...),
		memory: sfs.Type == unix.TMPFS_MAGIC,
	}
	d.base, _ = d.Thing(toBase) // unknown if that cannot be had
	return d, nil
}

// toBase leads from a domain's directory to its base.
const toBase = "../../.."

// Stands tells whether the directory still lies where it was found: Gone if it was deleted, or moved, itself or one that
// it lies in. It goes up from the open directory, so the working directory does not matter, nor how base was spelt;
// if base itself was moved, that is not seen.
func (d *Dir) Stands() Presence {
	up, err := d.Thing(toBase)
	if err != nil || d.base.Ino == 0 {
		return Unknown
	}
	if up.Ino != d.base.Ino || up.Dev != d.base.Dev {
		return Gone
	}
	return d.Leads(toBase+"/"+d.below, &File{Ino: d.ino, Dev: d.dev})
}

func remedy(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return "set SHIPLAP_DIR to a directory on a tmpfs (in a container, mount one: docker run --shm-size=1g, or --tmpfs /dev/shm)"
	case errors.Is(err, unix.EROFS):
		return "the file system is mounted read-only; set SHIPLAP_DIR to a writable directory on a tmpfs"
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "the file system is full; free some, enlarge it (docker run --shm-size=1g), or set SHIPLAP_DIR"
	case errors.Is(err, unix.EMFILE):
		return "this process has as many descriptors open as it may: close some objects, or raise the limit (ulimit -n)"
	case errors.Is(err, unix.ENFILE):
		return "the host has as many files open as it may: end some processes, or raise fs.file-max (sysctl)"
	}
	return "set SHIPLAP_DIR to a directory that you may write to, on a tmpfs"
}

func openSubdir(parent int, elem, path string, create bool) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC | unix.O_NOFOLLOW
	fd, err := unix.Openat(parent, elem, flags, 0)
	if err == unix.ENOENT && create {
		made := unix.Mkdirat(parent, elem, 0o700)
		if made != nil && made != unix.EEXIST {
			return -1, fmt.Errorf("%w\n%s", &fs.PathError{Op: "make directory", Path: path, Err: made}, remedy(made))
		}
		fd, err = unix.Openat(parent, elem, flags, 0)
		if err == nil && made == nil {
			err = unix.Fchmod(fd, 0o700) // whatever the umask was
		}
	}
	if err == unix.ELOOP || err == unix.ENOTDIR {
		return -1, fmt.Errorf("%w: a symbolic link or a file stands where a directory belongs; remove it if it is not yours", &fs.PathError{Op: "open", Path: path, Err: err})
	}
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if int(st.Uid) != os.Geteuid() {
		unix.Close(fd)
		return -1, fmt.Errorf("%w: it belongs to uid %d, this process is uid %d; its bytes cannot be trusted; set SHIPLAP_DIR to a directory of your own on a tmpfs, $XDG_RUNTIME_DIR say", &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}, st.Uid, os.Geteuid())
	}
	if st.Mode&0o022 != 0 {
		unix.Close(fd)
		return -1, fmt.Errorf("%w: its mode is %04o, others may write to it; chmod 0700 it", &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}, st.Mode&0o7777)
	}
	return fd, nil
}

// Path is where the directory was found.
func (d *Dir) Path() string { return d.path }

// ID tells directories apart, whatever path led there.
func (d *Dir) ID() (dev, ino uint64) { return d.dev, d.ino }

// Close lets go of the directory.
func (d *Dir) Close() error { return unix.Close(d.fd) }

// Files lists the names of all files.
func (d *Dir) Files() ([]string, error) {
	fd, err := unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: d.path, Err: err}
	}
	f := os.NewFile(uintptr(fd), d.path)
	defer f.Close()
	return f.Readdirnames(-1)
}

// Space is the size and the free bytes of the file system.
func (d *Dir) Space() (total, free uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.fd, &st); err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: d.path, Err: err}
	}
	return st.Blocks * uint64(st.Bsize), st.Bavail * uint64(st.Bsize), nil
}

func (d *Dir) noSpace(file string, want int64, cause error) error {
	total, free, err := d.Space()
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s wants %d bytes, but %s has %d free of %d (%w)\n%s",
		errs.ErrNoSpace, file, want, mountOf(d.path), free, total, cause, remedy(unix.ENOSPC))
}

// mountOf is the mount point that path lies on, found by walking up to the change of device.
func mountOf(path string) string {
	var st, up unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return path
	}
	for path != "/" {
		parent := filepath.Dir(path)
		if unix.Stat(parent, &up) != nil || up.Dev != st.Dev {
			break
		}
		path = parent
	}
	return path
}
