package pymp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Listener accepts connections of Python Clients, and of Dial. All methods may be called concurrently.
type Listener struct {
	nl   net.Listener
	opts Options

	ready  chan accepted
	places chan struct{} // handshakes that run, and connections that nobody has accepted yet
	ctx    context.Context
	stop   context.CancelFunc
	all    sync.WaitGroup
}

type accepted struct {
	c   *Conn
	err error
}

// HandshakeError says that one peer did not get through its handshake. The listener goes on.
type HandshakeError struct {
	Remote net.Addr
	Err    error
}

func (e *HandshakeError) Error() string {
	return fmt.Sprintf("connection from %s: %v", name(e.Remote), e.Err)
}
func (e *HandshakeError) Unwrap() error { return e.Err }

// Handshakes run beside each other, so that a silent peer holds up nobody; so many of them.
const maxHandshakes = 64

// Listen listens at an address: network and address are as for Dial. ctx bounds this call alone. The
// socket of a path gets the permissions that the umask leaves, and is removed by Close. A path that
// exists is ErrExist.
func Listen(ctx context.Context, network, address string, opts *Options) (*Listener, error) {
	o, err := opts.resolve()
	if err != nil {
		return nil, err
	}
	if err := checkAddress(network, address); err != nil {
		return nil, err
	}
	nl, err := new(net.ListenConfig).Listen(ctx, network, address)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w: %w", errs.ErrExist, err)
			if network == "unix" {
				err = fmt.Errorf("%w (if its listener is dead, remove the file %s)", err, address)
			}
		}
		return nil, err
	}
	l := &Listener{nl: nl, opts: o, ready: make(chan accepted), places: make(chan struct{}, maxHandshakes)}
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.all.Go(l.loop)
	return l, nil
}

// Accept is the next connection that got through its handshake. An error that is a *HandshakeError (a
// wrong key is ErrAuth, garbage ErrProtocol) concerns one peer alone: call Accept again. ErrClosed is
// final.
func (l *Listener) Accept(ctx context.Context) (*Conn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case <-l.ctx.Done():
		return nil, errs.ErrClosed
	default:
	}
	select {
	case a := <-l.ready:
		return a.c, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-l.ctx.Done():
		return nil, errs.ErrClosed
	}
}

func (l *Listener) loop() {
	for {
		select {
		case l.places <- struct{}{}:
		case <-l.ctx.Done():
			return
		}
		nc, err := l.nl.Accept()
		if err != nil {
			// Out of descriptors, most often: the listener would be of no use if it ended for that.
			// The caller of Accept is told each time, and so sets the pace.
			<-l.places
			if !l.give(accepted{nil, fmt.Errorf("accept: %w", err)}) {
				return
			}
			continue
		}
		l.all.Go(func() {
			defer func() { <-l.places }()
			l.greet(newConn(nc, l.opts))
		})
	}
}

// greet runs the handshake and hands the connection, or what is wrong with it, to Accept.
func (l *Listener) greet(c *Conn) {
	if l.opts.AuthKey != nil {
		if err := c.handshake(l.ctx, server); err != nil {
			c.Close()
			l.give(accepted{nil, &HandshakeError{c.RemoteAddr(), err}})
			return
		}
	}
	if !l.give(accepted{c, nil}) {
		c.Close()
	}
}

func (l *Listener) give(a accepted) bool {
	select {
	case l.ready <- a:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.nl.Addr() }

// Close ends listening and all calls of Accept, with ErrClosed. Connections that were accepted stay.
func (l *Listener) Close() error {
	l.stop()
	err := l.nl.Close()
	l.all.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil // by an earlier call
	}
	return err
}

func (l *Listener) String() string {
	return fmt.Sprintf("pymp listener %s %s", l.nl.Addr().Network(), l.nl.Addr())
}
