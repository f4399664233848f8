package shm

import (
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Segment is memory that this process has mapped, by name or anonymous. All methods may be called
// concurrently. Nothing here orders the bytes of one process against another's: that is for a lock.
type Segment struct {
	dir, name string // name "" is anonymous
	path      string // dir/name, or a word for messages
	size      int64
	dev, ino  uint64
	fd        int
	b         []byte
	readOnly  atomic.Bool
	kept      bool
	hugeNote  string // why huge pages were not got, as far as known when it was made

	users users
}

// Name is its name, without a slash before it; "" if it is anonymous.
func (s *Segment) Name() string { return s.name }

// Path is the file's path, "" for anonymous memory.
func (s *Segment) Path() string {
	if s.name == "" {
		return ""
	}
	return s.path
}

// Size is its size in bytes, as it was when it was made or attached.
func (s *Segment) Size() int64 { return s.size }

// ReadOnly reports whether the memory cannot be written through this handle.
func (s *Segment) ReadOnly() bool { return s.readOnly.Load() }

// Bytes is the whole memory, in place: what one process stores there, the others see. The slice must
// not be used during or after Close: the addresses may be anything by then. A process that touches
// it after somebody has truncated the file is killed by the kernel's SIGBUS; With, ReadAt and WriteAt
// turn that into an error. It is nil once the segment is closed.
func (s *Segment) Bytes() []byte {
	if !s.users.enter() {
		return nil
	}
	defer s.leave()
	return s.b
}

// With calls f with the memory, in place. During the call it stays mapped, whoever closes the segment,
// and memory that is gone because the file was truncated is errs.ErrCorrupt: f is left in the middle
// then, as by a panic, and its deferred functions run. f must not keep the slice, and must touch the
// memory in its own goroutine.
func (s *Segment) With(f func(b []byte) error) (err error) {
	if !s.users.enter() {
		return s.fail("use", errs.ErrClosed)
	}
	defer s.leave()
	return s.guarded("use", func() error { return f(s.b) })
}

// guarded runs f, which touches the memory, and says what happened if that faults.
func (s *Segment) guarded(what string, f func() error) error {
	faulted, err := touch(f)
	switch {
	case !faulted:
		return err
	case s.readOnly.Load() && !s.truncated():
		return s.fail(what, fmt.Errorf("%w: a store to memory that is mapped read-only", fs.ErrPermission))
	default:
		return s.fail(what, s.shrunk(err))
	}
}

// touch runs f. If it faulted, err is that fault.
func touch(f func() error) (faulted bool, err error) {
	g := mem.Protect()
	defer g.Recover(&err)
	faulted = true
	err = f()
	faulted, g.Done = false, true
	return faulted, err
}

// ReadAt copies from the memory, as io.ReaderAt. A copy that runs beside another process's store sees
// any mixture of old and new bytes. A truncated file is errs.ErrCorrupt.
func (s *Segment) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, s.fail("read", fmt.Errorf("%w: offset %d", fs.ErrInvalid, off))
	}
	if !s.users.enter() {
		return 0, s.fail("read", errs.ErrClosed)
	}
	defer s.leave()
	if off >= s.size {
		return 0, io.EOF
	}
	from := s.b[off:]
	n = min(len(p), len(from))
	if err := s.guarded("read", func() error { copy(p[:n], from); return nil }); err != nil {
		return 0, err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt copies into the memory, as io.WriterAt, all of p or nothing: what does not fit is
// errs.ErrTooLarge. Memory that is read-only is fs.ErrPermission, a truncated file errs.ErrCorrupt
// (part of p may be written then).
func (s *Segment) WriteAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, s.fail("write", fmt.Errorf("%w: offset %d", fs.ErrInvalid, off))
	}
	if !s.users.enter() {
		return 0, s.fail("write", errs.ErrClosed)
	}
	defer s.leave()
	switch {
	case s.readOnly.Load():
		return 0, s.fail("write", fmt.Errorf("%w: this handle is read-only; attach without ReadOnly", fs.ErrPermission))
	case off > s.size || int64(len(p)) > s.size-off:
		return 0, s.fail("write", fmt.Errorf("%w: %d bytes at offset %d, it has %d", errs.ErrTooLarge, len(p), off, s.size))
	}
	if err := s.guarded("write", func() error { copy(s.b[off:], p); return nil }); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close unmaps the memory and closes the file. It never waits: calls that are inside, ReadAt and the
// like, end as they would have, and the last one out unmaps. The name stays, as in Python. A second
// Close is errs.ErrClosed.
func (s *Segment) Close() error {
	was, err := s.users.close(s.release)
	if was {
		return s.fail("close", errs.ErrClosed)
	}
	return err
}

// String is as in "psm_1b2c3d4e (10 bytes)".
func (s *Segment) String() string {
	more := ""
	if s.ReadOnly() {
		more = ", read-only"
	}
	if s.users.isClosed() {
		more += ", closed"
	}
	return fmt.Sprintf("shared memory %s (%d bytes%s)", s.path, s.size, more)
}

func (s *Segment) fail(what string, err error) error {
	return fmt.Errorf("shm: %s %s: %w", what, s.path, err)
}

func (s *Segment) leave() { s.users.leave(s.release) }

// users counts the calls that are inside of a segment; who closes it lets no more in, and the last one
// out releases it.
type users struct {
	mu     sync.Mutex
	inside int
	closed bool
}

func (u *users) enter() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return false
	}
	u.inside++
	return true
}

func (u *users) leave(release func() error) {
	u.mu.Lock()
	u.inside--
	last := u.closed && u.inside == 0
	u.mu.Unlock()
	if last {
		_ = release() // Close has long returned
	}
}

func (u *users) close(release func() error) (was bool, err error) {
	u.mu.Lock()
	was, u.closed = u.closed, true
	last := !was && u.inside == 0
	u.mu.Unlock()
	if last {
		err = release()
	}
	return was, err
}

func (u *users) isClosed() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.closed
}

// alone runs f while nobody is inside, and keeps others out meanwhile. errs.ErrBusy if somebody is.
func (u *users) alone(f func() error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.closed:
		return errs.ErrClosed
	case u.inside > 0:
		return fmt.Errorf("%w: %d calls use the memory at this moment", errs.ErrBusy, u.inside)
	}
	return f()
}
