package racetest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/rpc"
)

// service is a service, or, if there is one already, a client.
type service struct {
	s *rpc.Server
	c *rpc.Client
}

func (s *service) Close() error {
	if s.s != nil {
		return s.s.Close()
	}
	return s.c.Close()
}

func quietLog() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// double is the function that is called. It is slow at times.
func double(ctx context.Context, x uint64) (uint64, error) {
	if x%16 == 0 {
		select {
		case <-time.After(time.Duration(x%3000) * time.Microsecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return 2 * x, nil
}

func init() {
	serve := func(d *shiplap.Domain, name string, setup func(*rpc.Server) error) (*rpc.Server, error) {
		return rpc.Serve(context.Background(), d, name,
			&rpc.Options{Capacity: 8192, Setup: setup, Logger: quietLog()})
	}
	addStorm("rpc", storm[*service]{
		open: func(w *worker, d *shiplap.Domain) (*service, error) {
			if w.Hire%2 == 0 {
				s, err := serve(d, object,
					func(s *rpc.Server) error { return rpc.Handle(s, "double", double) })
				return &service{s: s}, err
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			c, err := rpc.Dial(ctx, d, object, &rpc.Options{Capacity: 8192})
			return &service{c: c}, err
		},
		shut: []error{shiplap.ErrExist, shiplap.ErrNotExist, shiplap.ErrPeerGone, context.DeadlineExceeded},
		turn: (*hand).rpcTurn,
	})
	forEver := func(began chan<- bool) func(ctx context.Context, _ uint64) (uint64, error) {
		return func(ctx context.Context, _ uint64) (uint64, error) {
			began <- true
			<-ctx.Done()
			return 0, ctx.Err()
		}
	}
	serves := func(began chan<- bool) func(d *shiplap.Domain, name string) (*rpc.Server, error) {
		return func(d *shiplap.Domain, name string) (*rpc.Server, error) {
			return serve(d, name, func(s *rpc.Server) error { return rpc.Handle(s, "wait", forEver(began)) })
		}
	}
	dial := func(d *shiplap.Domain, name string) (*rpc.Client, error) {
		return rpc.Dial(context.Background(), d, name, nil)
	}
	addVigil("rpc call", vigil{
		hold: holds(serves(make(chan bool, 1)), (*rpc.Server).Close),
		open: waits(dial, func(ctx context.Context, c *rpc.Client) error {
			_, err := rpc.Call[uint64, uint64](ctx, c, "wait", 1)
			return err
		}),
		ends: map[way][]error{
			killed: {shiplap.ErrPeerGone}, forking: {shiplap.ErrPeerGone}, execed: {shiplap.ErrPeerGone},
			// ErrClosed if the call comes while the service closes
			left:   {shiplap.ErrPeerGone, shiplap.ErrClosed},
			closed: {shiplap.ErrClosed}, gaveup: {context.Canceled},
			wiped: {shiplap.ErrPeerGone, shiplap.ErrRemoved},
		},
	})
	addVigil("rpc service", vigil{ // that ends only if its files are gone; nobody calls
		create: func(*shiplap.Domain, string) (io.Closer, error) { return io.NopCloser(nil), nil },
		hold:   func(*shiplap.Domain, string) (func() error, error) { return nil, nil },
		open: waits(serves(make(chan bool, 1)), func(ctx context.Context, s *rpc.Server) error {
			select {
			case <-s.Done():
				return s.Err()
			case <-ctx.Done():
				return ctx.Err()
			}
		}),
		ends: map[way][]error{closed: {shiplap.ErrClosed}, gaveup: {context.Canceled},
			wiped: {shiplap.ErrRemoved}},
	})
	addVigil("rpc function", vigil{ // whose caller goes away: its context ends
		hold: func(d *shiplap.Domain, name string) (func() error, error) {
			for {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
				c, err := rpc.Dial(ctx, d, name+"-service", nil)
				cancel()
				// It may not listen yet, or just begin to.
				if isAny(err, []error{shiplap.ErrNotExist, shiplap.ErrPeerGone, context.DeadlineExceeded}) {
					time.Sleep(time.Millisecond)
					continue
				}
				if err != nil {
					return nil, err
				}
				go func() { _, _ = rpc.Call[uint64, uint64](context.Background(), c, "wait", 1) }()
				return c.Close, nil
			}
		},
		open: func(d *shiplap.Domain, name string) (waiting, error) {
			began, over := make(chan bool, 1), make(chan bool, 1)
			s, err := serve(d, name+"-service", func(s *rpc.Server) error {
				f := forEver(began)
				return rpc.Handle(s, "wait", func(ctx context.Context, x uint64) (uint64, error) {
					defer func() { over <- true }()
					return f(ctx, x)
				})
			})
			if err != nil {
				return waiting{}, err
			}
			<-began
			return waiting{func(ctx context.Context) error {
				select {
				case <-over:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}, s.Close}, nil
		},
		ends:  map[way][]error{killed: {nil}, forking: {nil}, execed: {nil}, left: {nil}, closed: {nil}},
		early: true,
	})
}

// rpcTurn calls, or, in the service, waits.
func (h *hand) rpcTurn(s *service) bool {
	if s.s != nil {
		<-h.closing
		return false
	}
	if h.temper == pausing {
		h.pause()
	}
	x := h.rng.Uint64() >> 2
	ctx, within, cancel := h.context()
	var y uint64
	err := h.call(opCall, within,
		func() (err error) { y, err = rpc.Call[uint64, uint64](ctx, s.c, "double", x); return err })
	cancel()
	switch {
	case err == nil:
		if y != 2*x {
			h.complain("torn", "%v asks for the double of %d and gets %d", h.me(), x, y)
		}
		return true
	case gaveUp(err):
		return !h.isClosing()
	case errors.Is(err, shiplap.ErrPeerGone):
		<-h.closing
		return false
	}
	return h.ends("Call", err)
}
