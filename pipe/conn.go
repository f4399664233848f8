package pipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Conn is a stream view of an end. It is an io.ReadWriteCloser and a net.Conn.
type Conn struct {
	end         *End
	read, write deadline
}

// Conn is the end as a net.Conn, the same at every call. Closing either closes both.
func (e *End) Conn() *Conn {
	e.sess.ManyAwake.Store(true) // as a rule there are a reader and a writer of each connection
	return &e.conn
}

var _ net.Conn = (*Conn)(nil)

// Addr is the address of a pipe: its name.
type Addr string

// Network is "shiplap".
func (Addr) Network() string { return "shiplap" }

func (a Addr) String() string { return string(a) }

// End is the end behind the connection.
func (c *Conn) End() *End { return c.end }

// LocalAddr is the name of the pipe.
func (c *Conn) LocalAddr() net.Addr { return Addr(c.end.Name()) }

// RemoteAddr is the name of the pipe.
func (c *Conn) RemoteAddr() net.Addr { return Addr(c.end.Name()) }

// Read reads at least one byte, waiting for it until the deadline.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return c.read.do(p, c.end.read)
}

// Write writes all of p, waiting for room until the deadline. With an error, n says how much is sent.
// If the other end is finished, the error is both io.ErrClosedPipe and shiplap.ErrPeerGone.
func (c *Conn) Write(p []byte) (n int, err error) {
	for {
		k, err := c.write.do(p[n:], c.end.write)
		if n += k; err == nil || n == len(p) || !errors.Is(err, errMoved) {
			return n, closedPipe(err)
		}
	}
}

func closedPipe(err error) error {
	if errors.Is(err, errs.ErrPeerGone) {
		return fmt.Errorf("%w (%w)", io.ErrClosedPipe, err)
	}
	return err
}

// CloseWrite says that nothing more will be written.
func (c *Conn) CloseWrite() error { return c.end.CloseWrite() }

// Close closes the end.
func (c *Conn) Close() error {
	err := c.end.Close()
	c.read.set(time.Time{})
	c.write.set(time.Time{})
	return err
}

// SetDeadline sets both deadlines; the zero time means none.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline sets until when reads wait, those that wait already included.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.read, t) }

// SetWriteDeadline sets until when writes wait, those that wait already included.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.write, t) }

func (c *Conn) setDeadline(d *deadline, t time.Time) error {
	if err := c.end.enter(); err != nil {
		return err
	}
	defer c.end.obj.Gate.Leave()
	d.set(t)
	return nil
}

// errMoved is why a wait ends whose deadline was set anew: it goes on with the new one.
var errMoved = errors.New("deadline moved")

// deadline is a context that ends at a time which may be moved.
type deadline struct {
	mu     sync.Mutex
	ctx    context.Context
	cancel func(error)
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel != nil {
		d.cancel(errMoved)
	}
	d.ctx, d.cancel = nil, nil
	if t.IsZero() {
		return // current makes a context, without a timer, for the next call
	}
	parent, cancel := context.WithCancelCause(context.Background())
	ctx, stop := context.WithDeadlineCause(parent, t, os.ErrDeadlineExceeded)
	d.ctx = ctx
	d.cancel = func(err error) { cancel(err); stop() }
}

func (d *deadline) current() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx == nil {
		ctx, cancel := context.WithCancelCause(context.Background())
		d.ctx, d.cancel = ctx, func(err error) { cancel(err) }
	}
	return d.ctx
}

// do runs an operation until the deadline; one that has done nothing when the deadline is moved is
// tried again.
func (d *deadline) do(p []byte, op func(context.Context, []byte) (int, error)) (int, error) {
	for {
		ctx := d.current()
		if err := ctx.Err(); err != nil && context.Cause(ctx) == os.ErrDeadlineExceeded {
			return 0, os.ErrDeadlineExceeded
		}
		n, err := op(ctx, p)
		switch {
		case errors.Is(err, errMoved) && n == 0:
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			return n, os.ErrDeadlineExceeded
		}
		return n, err
	}
}
