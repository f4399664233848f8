package pipe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/object"
)

// What can go wrong between the ring of a listener and a connection is one of three things, for every accept
// loop of this module:
//
//   - It is the caller's fault: the pipe is gone, damaged, another kind of object, not dialled to us. Its name is
//     skipped.
//   - It is a shortage of descriptors, memory or locks: the name stays in the ring and is tried again, after a pause that
//     grows from shortFirst to shortMost. So does one whose error may be either, oddTries times.
//   - It is the listener's own ring that is damaged or gone: the listener closes, and says so once.

// noEnd is the context of a wait that nothing but the closing of its handle ends.
var noEnd = context.Background()

// Accept waits for the next pipe that another process dials; net.ErrClosed after Close. If there are no
// descriptors or no memory for it, it fails as the one of a socket does, with a net.Error that is
// temporary, and the caller may try again: the pipe is kept. A try that follows too early waits.
func (l *Listener) Accept() (net.Conn, error) {
	e, err := l.accept(noEnd)
	if err != nil {
		if errors.Is(err, errs.ErrClosed) {
			err = net.ErrClosed
		}
		return nil, &net.OpError{Op: "accept", Net: "shiplap", Addr: l.Addr(), Err: err}
	}
	return e.Conn(), nil
}

// AcceptEnd is Accept for messages, and with a context. While there are no descriptors or no memory for
// the next pipe it waits; the error says so if the context ends then. shiplap.ErrCorrupt and
// shiplap.ErrRemoved mean that the listener itself is damaged or gone. It is closed then, as after
// Close: see Err.
func (l *Listener) AcceptEnd(ctx context.Context) (*End, error) {
	for {
		e, err := l.accept(ctx)
		if _, short := err.(*shortError); !short {
			return e, err
		}
	}
}

// accept tries until there is an end or a shortage.
func (l *Listener) accept(ctx context.Context) (*End, error) {
	if err := l.turn.take(ctx); err != nil {
		return nil, l.explain(err)
	}
	defer l.turn.give()
	if !l.obj.Gate.Enter() {
		return nil, l.explain(l.closedErr())
	}
	defer l.obj.Gate.Leave()
	for {
		if err := l.short.wait(ctx, l.closing); err != nil {
			return nil, l.explain(err)
		}
		name, err := l.peek(ctx)
		if err != nil {
			return nil, l.ended(ctx, err)
		}
		e, err := takeDialled(l.obj.Space, name, l.opt)
		if scarce(err) || odd(err) && l.short.tries < oddTries {
			l.tellShort(name, err)
			l.short.begin(err)
			return nil, &shortError{l.explain(err)}
		}
		l.short = shortage{}
		_ = object.Guarded(func() error { // a fault here is found by the next peek
			l.c.Commit()
			return nil
		})
		if err == nil {
			return e, nil
		}
		if log := l.opt.Logger; log != nil {
			log.Debug("skipped a pipe that was dialled", "listener", l.obj.Name, "pipe", name, "err", err)
		}
	}
}

// peek waits for a name, and leaves it in the ring.
func (l *Listener) peek(ctx context.Context) (name string, err error) {
	err = object.Guarded(func() error {
		l.c.Back()
		b, err := l.c.Peek(ctx)
		name = string(b)
		return err
	})
	return name, err
}

// ended is what the end of a wait for names means.
func (l *Listener) ended(ctx context.Context, err error) error {
	why := l.explain(l.obj.Explain(err))
	if l.closed.Load() {
		return l.explain(l.closedErr())
	}
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return why
	}
	l.cause.CompareAndSwap(nil, &why)
	if !l.shut() {
		return l.explain(l.closedErr())
	}
	if log := l.opt.Logger; log != nil {
		log.Error("a listener closes, because its own memory is damaged or gone", "listener", l.obj.Name, "err",
			err)
	}
	_ = l.finish()
	return why
}

func (l *Listener) closedErr() error {
	if why := l.Err(); why != nil {
		return fmt.Errorf("%w, because of %w", errs.ErrClosed, why)
	}
	return errs.ErrClosed
}

func (l *Listener) explain(err error) error { return fmt.Errorf("listener %q: %w", l.obj.Name, err) }

// takeDialled takes end B of a pipe that was dialled to this process. A pipe that was, and whose end
// cannot be taken, is removed, so that the process which dialled it does not wait for ever. Nothing
// else is: the name comes from memory that others write.
func takeDialled(s *object.Space, name string, opt *Options) (*End, error) {
	o, err := s.Open(name, object.Pipe, parts)
	if err != nil {
		return nil, err
	}
	var ours bool
	err = object.Guarded(func() error {
		if expect := o.Ctl.U32(offExpect).Load(); expect != s.Table.Self() {
			return fmt.Errorf("%w: pipe %q expects member %#x, not this process (%#x)",
				errs.ErrIncompatible, name, expect, s.Table.Self())
		}
		ours = o.Ctl.U32(offOpened).Load()&(1<<sideB) == 0
		return take(o, sideB)
	})
	if err != nil {
		if ours && !scarce(err) {
			_ = o.Remove()
		}
		return nil, errors.Join(fmt.Errorf("pipe %q: %w", name, o.Explain(err)), o.Close())
	}
	return newEnd(o, opt, sideB)
}

// scarce reports whether something could not be had that may be had the next time.
func scarce(err error) bool {
	for _, short := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN, syscall.ENOSPC, syscall.EDQUOT, errs.ErrNoSpace,
		syscall.ENOLCK, syscall.EINTR, // some file systems run out of locks, or are interrupted while they open a file
	} {
		if errors.Is(err, short) {
			return true
		}
	}
	return false
}

// odd reports an error of the kernel that comes neither from a shortage nor, as far as we know, from
// what the caller put there.
func odd(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case syscall.ENOENT, syscall.EACCES, syscall.EPERM, syscall.ELOOP, syscall.ENOTDIR, syscall.EISDIR, syscall.ENXIO,
		syscall.ENAMETOOLONG, syscall.EINVAL:
		return false
	}
	return true
}

const oddTries = 6

const (
	shortFirst = 5 * time.Millisecond
	shortMost  = time.Second
)

// shortage paces tries. The zero value is that there is none.
type shortage struct {
	pause time.Duration
	due   time.Time // of the next try
	tries int
	err   error
}

// begin notes a try that failed.
func (s *shortage) begin(err error) {
	s.pause = min(max(2*s.pause, shortFirst), shortMost)
	s.due, s.err = time.Now().Add(s.pause), err
	s.tries++
}

// wait waits until the next try is due.
func (s *shortage) wait(ctx context.Context, closing <-chan struct{}) error {
	if s.err == nil {
		return nil
	}
	t := time.NewTimer(time.Until(s.due))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-closing:
		return errs.ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("%w, in want of what the next pipe needs: %w", context.Cause(ctx), s.err)
	}
}

// tellShort logs the beginning of a shortage.
func (l *Listener) tellShort(name string, err error) {
	if log := l.opt.Logger; log != nil && l.short.err == nil {
		log.Warn("a pipe that was dialled has to wait", "listener", l.obj.Name, "pipe", name, "err", err)
	}
}

// shortError is a shortage as package net and those that use it know it.
type shortError struct{ err error }

func (e *shortError) Error() string   { return e.err.Error() }
func (e *shortError) Unwrap() error   { return e.err }
func (e *shortError) Temporary() bool { return true }
func (e *shortError) Timeout() bool   { return false }
