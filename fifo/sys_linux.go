package fifo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

func pathError(op, path string, err error) error {
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// node is a file that was found and not opened: not even a peer sees it.
type node struct {
	path string
	fd   int
	link string // the same file, whatever its path leads to by now
	st   unix.Stat_t
}

func find(path string) (*node, error) {
	fd, err := open(path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return nil, pathError("open", path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, pathError("stat", path, err)
	}
	if err := isFIFO(path, typeOf(st.Mode)); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &node{path, fd, "/proc/self/fd/" + strconv.Itoa(fd), st}, nil
}

func (n *node) close() { unix.Close(n.fd) }

func (n *node) open(flags int) (int, error) {
	fd, err := open(n.link, flags)
	if err == unix.ENOENT {
		if _, err := os.Stat("/proc/self/fd"); err != nil {
			return -1, fmt.Errorf("open %s: /proc is needed: %w", n.path, err)
		}
	}
	if err != nil {
		return -1, pathError("open", n.path, err)
	}
	return fd, nil
}

func open(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func typeOf(mode uint32) fs.FileMode {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return 0
	case unix.S_IFIFO:
		return fs.ModeNamedPipe
	case unix.S_IFDIR:
		return fs.ModeDir
	case unix.S_IFLNK:
		return fs.ModeSymlink
	case unix.S_IFSOCK:
		return fs.ModeSocket
	case unix.S_IFBLK, unix.S_IFCHR:
		return fs.ModeDevice
	}
	return fs.ModeIrregular
}

func sysMake(path string, mode fs.FileMode) error {
	if err := unix.Mkfifo(path, uint32(mode)); err != nil {
		return pathError("mkfifo", path, err)
	}
	n, err := find(path)
	if err != nil {
		return err
	}
	defer n.close()
	if fs.FileMode(n.st.Mode)&fs.ModePerm == mode {
		return nil
	}
	if int(n.st.Uid) != os.Geteuid() || n.st.Nlink != 1 { // in a directory that others write to
		return fmt.Errorf("mkfifo %s: %w: somebody put another FIFO in its place", path, errs.ErrConflict)
	}
	if err := unix.Chmod(n.link, uint32(mode)); err != nil { // the umask took bits away
		return errors.Join(pathError("chmod", path, err), os.Remove(path))
	}
	return nil
}

func sysOpenReader(ctx context.Context, path string) (fd int, err error) {
	n, err := find(path)
	if err != nil {
		return -1, err
	}
	defer n.close()
	if ctx.Err() != nil { // before a writer is let in
		return -1, fmt.Errorf("open %s: %w", path, context.Cause(ctx))
	}
	if fd, err = n.open(unix.O_RDONLY | unix.O_NONBLOCK); err != nil {
		return -1, err
	}
	if err = n.awaitWriter(ctx, fd); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return fd, nil
}

// awaitWriter waits until there is or was a writer. As the reading side is open, no writer blocks in
// open, and each is an event.
func (n *node) awaitWriter(ctx context.Context, fd int) error {
	there, err := hasWriter(fd)
	if there || err != nil {
		return err
	}
	events, err := n.opens()
	if err == nil {
		defer events.Close()
	}
	buf := make([]byte, 4096)
	turn, pause := make(chan struct{}, 1), firstPause
	for {
		there, err := hasWriter(fd)
		if there || err != nil {
			return err
		}
		if events == nil {
			err = sleep(ctx, &pause)
		} else {
			err = wait(ctx, turn, events.SetReadDeadline, func() error {
				_, err := events.Read(buf)
				return err
			})
		}
		if err != nil {
			return err
		}
	}
}

// opens is a file in which something can be read when somebody opens the FIFO.
func (n *node) opens() (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	if _, err := unix.InotifyAddWatch(fd, n.link, unix.IN_OPEN); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "inotify"), nil
}

// hasWriter reports whether there is a writer, or was one since fd was opened. It takes nothing out of the FIFO: a
// writer that waits until its byte is taken goes on then, and may write over what the byte stands for. So it reads into
// memory that cannot be written: with data there that fails before anything is taken, and without data read(2) still
// tells "nothing yet" from "nobody writes". tee(2) would tell as well, but needs two descriptors more.
func hasWriter(fd int) (bool, error) {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return false, os.NewSyscallError("mmap", err)
	}
	defer unix.Munmap(page)
	for {
		n, err := unix.Read(fd, page[:1])
		switch {
		case err == unix.EAGAIN, err == unix.EFAULT:
			return true, nil
		case err == unix.EINTR:
			continue
		case n == 0 && err == nil: // nobody writes now
			// Asked after the read: a writer may have come and gone in between.
			events, err := poll(fd, unix.POLLIN)
			return events != 0, err
		}
		return false, err
	}
}

func poll(fd int, want int16) (int16, error) {
	p := []unix.PollFd{{Fd: int32(fd), Events: want}}
	for {
		_, err := unix.Poll(p, 0)
		if err != unix.EINTR {
			return p[0].Revents, err
		}
	}
}

// readable is for RawConn.Read.
func readable(fd uintptr) bool {
	events, err := poll(int(fd), unix.POLLIN)
	return err != nil || events != 0
}

// alone reports that a writer has no reader.
func alone(fd uintptr) bool {
	events, err := poll(int(fd), 0)
	return err == nil && events&unix.POLLERR != 0
}

func unread(fd uintptr) (int, error) { return unix.IoctlGetInt(int(fd), unix.TIOCINQ) }

// drained reports whether the FIFO is empty. If not, and without an error, the caller is woken when it may be: with a
// buffer of a single page the kernel takes any byte in it for a full buffer, and tells when it is not full any more.
func drained(fd uintptr) (bool, error) {
	if n, err := unread(fd); n == 0 || err != nil {
		return true, err
	}
	if alone(fd) {
		return true, unix.EPIPE
	}
	_, err := unix.FcntlInt(fd, unix.F_SETPIPE_SZ, os.Getpagesize())
	if err == unix.EBUSY {
		err = errLarge
	}
	if err != nil {
		return true, err
	}
	// It may have been emptied before the buffer was one page: that woke nobody.
	n, err := unread(fd)
	return n == 0 || err != nil, err
}

func sysOpenWriter(ctx context.Context, path string) (int, error) {
	n, err := find(path)
	if err != nil {
		return -1, err
	}
	defer n.close()
	pause := firstPause
	for {
		if ctx.Err() != nil {
			return -1, fmt.Errorf("open %s: %w", path, context.Cause(ctx))
		}
		fd, err := n.open(unix.O_WRONLY | unix.O_NONBLOCK)
		if !errors.Is(err, unix.ENXIO) { // there is a reader, or an error
			return fd, err
		}
		if unix.Faccessat(unix.AT_FDCWD, n.link, unix.R_OK, unix.AT_EACCESS) != nil {
			if err := sleep(ctx, &pause); err != nil {
				return -1, fmt.Errorf("open %s: %w", path, err)
			}
			continue
		}
		if fd, err = n.awaitReader(ctx); err != nil {
			return -1, err
		}
		if !alone(uintptr(fd)) {
			if err := unix.SetNonblock(fd, true); err != nil {
				unix.Close(fd)
				return -1, pathError("open", path, err)
			}
			return fd, nil
		}
		unix.Close(fd) // it was a reader for a moment, or another writer that was cancelled
	}
}

type opened struct {
	fd  int
	err error
}

// awaitReader opens for writing in a thread. The kernel counts it as a writer from the beginning, so a
// reader that blocks in open is let in. Inotify would tell of readers only after that.
func (n *node) awaitReader(ctx context.Context) (int, error) {
	done := make(chan opened, 1)
	go func() {
		fd, err := n.open(unix.O_WRONLY)
		done <- opened{fd, err}
	}()
	select {
	case o := <-done:
		return o.fd, o.err
	case <-ctx.Done():
	}
	// Be the reader that it waits for. It may not have come to wait yet, so stay until it is done.
	for {
		fd, err := n.open(unix.O_RDONLY | unix.O_NONBLOCK)
		if err == nil {
			o := <-done
			unix.Close(fd)
			if o.err == nil {
				unix.Close(o.fd)
			}
			return -1, fmt.Errorf("open %s: %w", n.path, context.Cause(ctx))
		}
		select { // no descriptor left: until there is one, or a reader comes
		case o := <-done:
			if o.err == nil {
				unix.Close(o.fd)
			}
			return -1, fmt.Errorf("open %s: %w", n.path, context.Cause(ctx))
		case <-time.After(firstPause):
		}
	}
}
