package fifo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Make makes a FIFO with exactly these permission bits, whatever the umask. ErrExist: there is a file of that name.
func Make(path string, mode fs.FileMode) error {
	if mode&^fs.ModePerm != 0 {
		return fmt.Errorf("make FIFO %s: mode %v has more than permission bits", path, mode)
	}
	return sysMake(path, mode)
}

// Ensure makes a FIFO as Make does, and accepts one that is there, with the mode that it has. It reports whether it made
// it. ErrIncompatible: there is something else of that name.
func Ensure(path string, mode fs.FileMode) (made bool, err error) {
	err = Make(path, mode)
	if errors.Is(err, errs.ErrExist) {
		return false, check(path)
	}
	return err == nil, err
}

// Remove removes the name of a FIFO. A process that has it open keeps it. ErrNotExist: there is no such file.
// ErrIncompatible: it is no FIFO.
func Remove(path string) error {
	if err := check(path); err != nil {
		return err
	}
	return os.Remove(path)
}

// check fails unless path is a FIFO.
func check(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	return isFIFO(path, info.Mode())
}

func isFIFO(path string, mode fs.FileMode) error {
	what := "file of an unknown kind"
	switch mode.Type() {
	case fs.ModeNamedPipe:
		return nil
	case 0:
		what = "regular file"
	case fs.ModeDir:
		what = "directory"
	case fs.ModeSymlink:
		what = "symbolic link"
	case fs.ModeSocket:
		what = "socket"
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		what = "device"
	}
	return fmt.Errorf("%s: %w: a %s, not a FIFO", path, errs.ErrIncompatible, what)
}

// end is one side of a FIFO.
type end struct {
	path string
	f    *os.File // without blocking: the runtime waits for it
	raw  syscall.RawConn
	turn chan struct{} // holds a token while a call uses the deadline

	closed atomic.Bool
}

func newEnd(path string, fd int) (*end, error) {
	f := os.NewFile(uintptr(fd), path)
	raw, err := f.SyscallConn()
	if err == nil {
		err = f.SetDeadline(time.Time{}) // fails if the runtime cannot wait for it
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &end{path: path, f: f, raw: raw, turn: make(chan struct{}, 1)}, nil
}

// Path is the path that it was opened by.
func (e *end) Path() string { return e.path }

// String names the FIFO.
func (e *end) String() string { return "FIFO " + e.path }

// Close closes this side. Calls that wait return ErrClosed. Closing again is ErrClosed.
func (e *end) Close() error {
	if e.closed.Swap(true) {
		return fmt.Errorf("close %s: %w", e.path, errs.ErrClosed)
	}
	return e.failed("close", e.f.Close())
}

// Buffered is how many bytes were written and not yet read.
func (e *end) Buffered() (n int, err error) {
	if e := e.raw.Control(func(fd uintptr) { n, err = unread(fd) }); e != nil {
		err = e
	}
	return n, e.failed("look into", err)
}

func (e *end) failed(op string, err error) error {
	switch {
	case err == nil || err == io.EOF:
		return err
	case e.closed.Load(): // raw connections have an error of their own for that
		return fmt.Errorf("%s %s: %w", op, e.path, errs.ErrClosed)
	case errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%s %s: %w: nobody has it open for reading any more", op, e.path, errs.ErrPeerGone)
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return fmt.Errorf("%s %s: %w", op, e.path, err)
}

// wait runs call, which may wait until the deadline that set sets, until ctx is done.
func wait(ctx context.Context, turn chan struct{}, set func(time.Time) error, call func() error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-turn }()
	if ctx.Done() == nil {
		return call()
	}
	cancelled := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		set(time.Unix(1, 0)) // long ago
		close(cancelled)
	})
	err := call()
	if !stop() {
		<-cancelled
		set(time.Time{})
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return context.Cause(ctx)
	}
	return err
}

// Reader is the reading side. All methods may be called concurrently; calls that wait for input take turns.
type Reader struct {
	*end
}

// OpenReader opens a FIFO for reading and waits until somebody has it open for writing, or had meanwhile.
// ErrNotExist, fs.ErrPermission, ErrIncompatible (no FIFO), or what ctx says.
func OpenReader(ctx context.Context, path string) (*Reader, error) {
	fd, err := sysOpenReader(ctx, path)
	if err != nil {
		return nil, err
	}
	e, err := newEnd(path, fd)
	if err != nil {
		return nil, err
	}
	return &Reader{e}, nil
}

// Read reads what is there, waiting for at least a byte. io.EOF: the last writer has closed or died; a
// writer that comes later is read again.
func (r *Reader) Read(ctx context.Context, p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	err = wait(ctx, r.turn, r.f.SetReadDeadline, func() (err error) {
		n, err = r.f.Read(p)
		return err
	})
	return n, r.failed("read", err)
}

// Ready waits until Read would not wait: something is there, or the last writer is gone. It takes nothing.
func (r *Reader) Ready(ctx context.Context) error {
	return r.failed("read", wait(ctx, r.turn, r.f.SetReadDeadline, func() error {
		return r.raw.Read(readable)
	}))
}

// Stream is the reader as an io.Reader, each of whose calls has this context.
func (r *Reader) Stream(ctx context.Context) io.Reader {
	return stream(func(p []byte) (int, error) { return r.Read(ctx, p) })
}

// Writer is the writing side. All methods may be called concurrently.
type Writer struct {
	*end
	watch chan struct{} // the turn of PeerGone
}

// OpenWriter opens a FIFO for writing and waits until somebody has it open for reading. Errors are as OpenReader's.
func OpenWriter(ctx context.Context, path string) (*Writer, error) {
	fd, err := sysOpenWriter(ctx, path)
	if err != nil {
		return nil, err
	}
	e, err := newEnd(path, fd)
	if err != nil {
		return nil, err
	}
	return &Writer{e, make(chan struct{}, 1)}, nil
}

// Write writes all of p, waiting for room. With an error, n bytes of it were written. ErrPeerGone: the last reader has
// closed or died; what it had not read is lost to it.
func (w *Writer) Write(ctx context.Context, p []byte) (n int, err error) {
	err = wait(ctx, w.turn, w.f.SetWriteDeadline, func() (err error) {
		n, err = w.f.Write(p)
		return err
	})
	return n, w.failed("write", err)
}

// Drain waits until everything that was written, by anybody, was read. ErrPeerGone: the last reader is gone,
// and something is left. To be told by the kernel it makes the FIFO's buffer one page, for good;
// while there is more than that in it, it looks again and again.
func (w *Writer) Drain(ctx context.Context) error {
	pause := firstPause
	for {
		err := wait(ctx, w.turn, w.f.SetWriteDeadline, func() (err error) {
			if e := w.raw.Write(func(fd uintptr) (done bool) {
				done, err = drained(fd)
				return done
			}); e != nil {
				return e
			}
			return err
		})
		if !errors.Is(err, errLarge) {
			return w.failed("drain", err)
		}
		if err := sleep(ctx, &pause); err != nil {
			return w.failed("drain", err)
		}
	}
}

// errLarge: the FIFO holds more than a page.
var errLarge = errors.New("more than a page")

// PeerGone waits until nobody has the FIFO open for reading; then it returns nil.
func (w *Writer) PeerGone(ctx context.Context) error {
	gone := false
	err := wait(ctx, w.watch, w.f.SetReadDeadline, func() error {
		return w.raw.Read(func(fd uintptr) bool {
			gone = alone(fd)
			return gone
		})
	})
	if err != nil && !gone { // the runtime calls some of what wakes it an error
		w.raw.Control(func(fd uintptr) { gone = alone(fd) })
	}
	if gone {
		return nil
	}
	return w.failed("watch", err)
}

// Stream is the writer as an io.Writer, each of whose calls has this context.
func (w *Writer) Stream(ctx context.Context) io.Writer {
	return stream(func(p []byte) (int, error) { return w.Write(ctx, p) })
}

type stream func([]byte) (int, error)

func (s stream) Read(p []byte) (int, error)  { return s(p) }
func (s stream) Write(p []byte) (int, error) { return s(p) }

const (
	firstPause = time.Millisecond
	lastPause  = 100 * time.Millisecond
)

// sleep is a step of looking again and again, each longer than the one before.
func sleep(ctx context.Context, pause *time.Duration) error {
	t := time.NewTimer(*pause)
	defer t.Stop()
	*pause = min(2**pause, lastPause)
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
