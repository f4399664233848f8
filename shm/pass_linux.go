package shm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// File is a new descriptor of the memory, for exec.Cmd's ExtraFiles: the child gets it as 3, 4 and so
// on, and calls FromFD. It is the caller's to close and closes by itself in other programs.
func (s *Segment) File() (*os.File, error) {
	if !s.users.enter() {
		return nil, s.fail("file of", errs.ErrClosed)
	}
	defer s.leave()
	fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, s.fail("file of", err)
	}
	return os.NewFile(uintptr(fd), s.path), nil
}

// FromFile maps the memory that f leads to, with a descriptor of its own: f stays the caller's. It is
// read-only if f is, or if its seals make it so.
//
// Errors: errs.ErrIncompatible if a seal that Options.Seals demands is missing, errs.ErrCorrupt for
// what is no plain file, errs.ErrBusy for an empty one, fs.ErrPermission.
func FromFile(f *os.File, opt *Options) (*Segment, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("shm: %w", err)
	}
	var fd int
	var dup error
	if err := conn.Control(func(p uintptr) { fd, dup = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || dup != nil {
		return nil, fmt.Errorf("shm: from %s: %w", f.Name(), errors.Join(err, dup))
	}
	return fromFD(fd, opt)
}

// FromFD is FromFile for a descriptor that this process was given, as a child gets it: it takes it
// over, and closes it also when it fails.
func FromFD(fd int, opt *Options) (*Segment, error) {
	unix.CloseOnExec(fd)
	return fromFD(fd, opt)
}

func fromFD(fd int, opt *Options) (*Segment, error) {
	o := opt.or()
	s := &Segment{path: fmt.Sprintf("memory of descriptor %d", fd), fd: fd}
	err := demand(fd, o.Seals)
	if err == nil && o.Keep {
		err = fmt.Errorf("%w: what has no name cannot be kept", os.ErrInvalid)
	}
	if err == nil {
		err = s.mapDescriptor(&o)
	}
	if err != nil {
		if !errors.Is(err, unix.EBADF) {
			unix.Close(fd)
		}
		return nil, fmt.Errorf("shm: %s: %w", s.path, err)
	}
	return s, nil
}

func (s *Segment) mapDescriptor(o *Options) error {
	flags, err := unix.FcntlInt(uintptr(s.fd), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	if flags&unix.O_ACCMODE == unix.O_WRONLY || flags&unix.O_PATH != 0 {
		return fmt.Errorf("%w: it is not open for reading", os.ErrPermission)
	}
	seals, _ := sealsOf(s.fd)
	return s.mapFile(o, o.ReadOnly || flags&unix.O_ACCMODE == unix.O_RDONLY || seals&SealFutureWrite != 0)
}

// Send hands the memory to the process at the other end of a Unix socket, which calls Receive. Both have
// it then. It uses the connection's write deadline for ctx, and resets it.
func (s *Segment) Send(ctx context.Context, conn *net.UnixConn) error {
	if !s.users.enter() {
		return s.fail("send", errs.ErrClosed)
	}
	defer s.leave()
	msg := message{uint64(s.size)}.marshal()
	err := withDeadline(ctx, conn.SetWriteDeadline, func() error {
		n, oobn, err := conn.WriteMsgUnix(msg, unix.UnixRights(s.fd), nil)
		if err == nil && oobn == 0 {
			err = io.ErrShortWrite
		}
		if err == nil && n < len(msg) {
			_, err = conn.Write(msg[n:])
		}
		return err
	})
	if err != nil {
		return s.fail("send", err)
	}
	return nil
}

// maxDescriptors is room for more than one, so that a peer who sends more is found out.
const maxDescriptors = 8

// Receive maps the memory that the process at the other end of a Unix socket sends. Trust it no further
// than the peer: demand seals with Options.Seals, at least SealSize if the peer might truncate it
// beneath this process. It uses the connection's read deadline for ctx, and resets it.
//
// Errors: as FromFile; errs.ErrCorrupt for a message that Send does not make, errs.ErrIncompatible if
// the memory has another size than the message says, errs.ErrPeerGone if the connection ends.
func Receive(ctx context.Context, conn *net.UnixConn, opt *Options) (*Segment, error) {
	var fds []int
	var m message
	err := withDeadline(ctx, conn.SetReadDeadline, func() (err error) {
		m, fds, err = receive(conn)
		return err
	})
	if err == nil && len(fds) != 1 {
		err = fmt.Errorf("%w: the message carries %d descriptors, 1 is expected", errs.ErrCorrupt, len(fds))
	}
	if err != nil {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return nil, fmt.Errorf("shm: receive: %w", err)
	}
	s, err := fromFD(fds[0], opt)
	if err != nil {
		return nil, err
	}
	if uint64(s.size) != m.size {
		return nil, errors.Join(fmt.Errorf("shm: receive: %w: the message says %d bytes, the memory has %d", errs.ErrIncompatible, m.size, s.size), s.Close())
	}
	return s, nil
}

// receive reads one message and all descriptors that came with it, also when it fails.
func receive(conn *net.UnixConn) (m message, fds []int, err error) {
	buf := make([]byte, messageSize)
	oob := make([]byte, unix.CmsgSpace(4*maxDescriptors))
	n, oobn, flags, _, err := conn.ReadMsgUnix(buf, oob) // close-on-exec, package net sees to that
	if err != nil {
		return m, nil, ended(err)
	}
	if oobn > 0 {
		if fds, err = rights(oob[:oobn]); err != nil {
			return m, fds, err
		}
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return m, fds, fmt.Errorf("%w: the message is longer than one of memory", errs.ErrCorrupt)
	}
	if n == 0 && oobn == 0 {
		return m, fds, ended(io.EOF)
	}
	if n < messageSize && !oneMessage(conn) {
		k, err := io.ReadFull(conn, buf[n:])
		if err != nil {
			return m, fds, ended(err)
		}
		n += k
	}
	m, err = parseMessage(buf[:n])
	return m, fds, err
}

// oneMessage reports whether each read is one message of the sender.
func oneMessage(conn *net.UnixConn) bool { return conn.LocalAddr().Network() != "unix" }

func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("%w: the connection ended", errs.ErrPeerGone)
	}
	return err
}

func rights(oob []byte) (fds []int, err error) {
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("%w: control message: %w", errs.ErrCorrupt, err)
	}
	for _, c := range list {
		if c.Header.Level != unix.SOL_SOCKET || c.Header.Type != unix.SCM_RIGHTS {
			continue
		}
		if len(c.Data)%4 != 0 { // no kernel makes that, and ParseUnixRights panics on it
			return fds, fmt.Errorf("%w: descriptors in %d bytes", errs.ErrCorrupt, len(c.Data))
		}
		more, e := unix.ParseUnixRights(&c)
		fds, err = append(fds, more...), errors.Join(err, e)
	}
	return fds, err
}

// withDeadline runs f, which blocks in a connection, until ctx is done.
func withDeadline(ctx context.Context, set func(time.Time) error, f func() error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		set(time.Unix(1, 0))
		close(fired)
	})
	err := f()
	if !stop() {
		<-fired
		set(time.Time{})
		if err != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
	return err
}
