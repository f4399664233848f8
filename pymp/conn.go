package pymp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Conn is a connection to a Python's multiprocessing.connection.Connection, or to another Conn. All
// methods may be called concurrently; messages are sent and received one after the other.
type Conn struct {
	nc   net.Conn
	opts Options

	sending   chan struct{} // a token: who has it may write
	receiving chan struct{} // likewise read
	sendErr   error         // of a message that was cut: nothing can follow it
	recv      frameReader

	closing sync.Once
	closed  chan struct{}
	err     error // of Close
}

// NewConn speaks over a stream that exists, without a handshake: over the inherited end of a
// multiprocessing.Pipe for example. The stream belongs to the Conn from here on.
func NewConn(stream net.Conn, opts *Options) (*Conn, error) {
	o, err := opts.resolve()
	if err != nil {
		return nil, err
	}
	return newConn(stream, o), nil
}

func newConn(stream net.Conn, o Options) *Conn {
	c := &Conn{
		nc: stream, opts: o,
		sending: make(chan struct{}, 1), receiving: make(chan struct{}, 1),
		recv:   frameReader{r: bufio.NewReaderSize(stream, inOneWrite)},
		closed: make(chan struct{}),
	}
	c.sending <- struct{}{}
	c.receiving <- struct{}{}
	return c
}

// Dial connects to a Python Listener, or to one of Listen. network is "unix" or "tcp", "tcp4" or
// "tcp6"; the address of "unix" is a path, or "@" and a name for Linux's abstract sockets (Python's
// "\0name"). A wrong key is ErrAuth.
func Dial(ctx context.Context, network, address string, opts *Options) (*Conn, error) {
	o, err := opts.resolve()
	if err != nil {
		return nil, err
	}
	if err := checkAddress(network, address); err != nil {
		return nil, err
	}
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("%w: nobody listens at %s %s: %w", errs.ErrPeerGone, network, address, err)
		}
		return nil, err
	}
	c := newConn(nc, o)
	if o.AuthKey != nil {
		if err := c.handshake(ctx, client); err != nil {
			return nil, errors.Join(fmt.Errorf("connect to %s %s: %w", network, address, err), c.Close())
		}
	}
	return c, nil
}

func checkAddress(network, address string) error {
	switch network {
	case "tcp", "tcp4", "tcp6":
		return nil
	case "unix":
		if address == "" || len(address) > maxUnixPath {
			return fmt.Errorf("%w: the path of a Unix socket has 1 to %d bytes, not %d", errs.ErrName, maxUnixPath, len(address))
		}
		return nil
	}
	return fmt.Errorf("pymp: network %q; possible are unix, tcp, tcp4 and tcp6", network)
}

const maxUnixPath = 107 // sun_path, and a NUL

// SendBytes sends a message, which recv_bytes receives. If ctx ends when a part of it is sent
// already, the connection cannot send any more.
func (c *Conn) SendBytes(ctx context.Context, p []byte) error {
	if err := c.begin(ctx, c.sending); err != nil {
		return err
	}
	defer func() { c.sending <- struct{}{} }()
	if c.sendErr != nil {
		return c.sendErr
	}
	defer c.cancel(ctx, c.nc.SetWriteDeadline)()
	n, err := writeFrame(c.nc, p)
	if err == nil {
		return nil
	}
	err = c.translate(ctx, err)
	if n > 0 {
		c.sendErr = fmt.Errorf("%w: an earlier message was cut after %d bytes", errs.ErrClosed, n)
	}
	return fmt.Errorf("send %d bytes: %w", len(p), err)
}

// RecvBytes receives a message of send_bytes; it is the caller's. io.EOF says that the other side has
// closed the connection after its last message, ErrPeerGone that it went away in the middle of one. A
// message over MaxMessage is ErrTooLarge, and the connection cannot receive any more. If ctx ends
// first, nothing is lost: the next call goes on.
func (c *Conn) RecvBytes(ctx context.Context) ([]byte, error) {
	return c.recvMax(ctx, c.opts.MaxMessage)
}

func (c *Conn) recvMax(ctx context.Context, most int64) ([]byte, error) {
	if err := c.begin(ctx, c.receiving); err != nil {
		return nil, err
	}
	defer func() { c.receiving <- struct{}{} }()
	defer c.cancel(ctx, c.nc.SetReadDeadline)()
	p, err := c.recv.next(most)
	if err != nil {
		return nil, c.translate(ctx, err)
	}
	return p, nil
}

// Send sends a value as a pickle, which recv receives: see EncodePickle.
func (c *Conn) Send(ctx context.Context, v any) error {
	p, err := EncodePickle(v, c.opts.Pickle)
	if err != nil {
		return err
	}
	return c.SendBytes(ctx, p)
}

// Recv receives a value that send has sent: see DecodePickle. After an error that wraps ErrPickle the
// connection goes on with the next message.
func (c *Conn) Recv(ctx context.Context) (any, error) {
	p, err := c.RecvBytes(ctx)
	if err != nil {
		return nil, err
	}
	return DecodePickle(p, c.opts.Pickle)
}

// Close ends the connection and all calls on it, with ErrClosed.
func (c *Conn) Close() error {
	c.closing.Do(func() {
		close(c.closed)
		c.err = c.nc.Close()
	})
	return c.err
}

// LocalAddr and RemoteAddr are those of the stream.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr is the address of the other side.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

func (c *Conn) String() string {
	return fmt.Sprintf("pymp connection %s → %s", name(c.LocalAddr()), name(c.RemoteAddr()))
}

func name(a net.Addr) string {
	if a == nil || a.String() == "" || a.String() == "@" {
		return "(no name)"
	}
	return a.String()
}

// begin takes a token.
func (c *Conn) begin(ctx context.Context, token chan struct{}) error {
	select {
	case <-c.closed:
		return errs.ErrClosed
	default:
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case <-token:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.closed:
		return errs.ErrClosed
	}
}

var longAgo = time.Unix(1, 0)

// cancel lets the end of ctx end reads or writes, until the function that it returns is called.
func (c *Conn) cancel(ctx context.Context, deadline func(time.Time) error) (end func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = deadline(longAgo) // fails on a closed stream only
	})
	return func() {
		if !stop() {
			<-done
			_ = deadline(time.Time{})
		}
	}
}

// translate says what an error of the stream means.
func (c *Conn) translate(ctx context.Context, err error) error {
	select {
	case <-c.closed:
		return errs.ErrClosed
	default:
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.ErrClosedPipe):
		return fmt.Errorf("%w: %w", errs.ErrPeerGone, err)
	}
	return err
}
