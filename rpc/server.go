package rpc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/pipe"
)

// Server is a service of this process.
type Server struct {
	name   string
	opt    Options
	ctx    context.Context // for values
	l      *pipe.Listener
	stop   func() bool
	done   chan struct{}
	wg     sync.WaitGroup // of goroutines that run no functions
	panics atomic.Uint64

	mu      sync.Mutex
	methods map[string]*method
	conns   map[*conn]struct{}
	leaving bool // no new connections
	closed  bool
	why     error // it closed by itself

	gate     gate
	watching atomic.Bool
}

// Serve makes this process serve under a name; shiplap.ErrExist says that a living process does. It serves until Close,
// Shutdown or the end of the context, whose values functions see. Methods are registered by Handle, before the first
// call if Options.Setup does it.
func Serve(ctx context.Context, d *shiplap.Domain, service string, opt *Options) (*Server, error) {
	s := &Server{
		name: service, opt: opt.filled(), ctx: context.WithoutCancel(ctx), done: make(chan struct{}),
		methods: map[string]*method{}, conns: map[*conn]struct{}{},
	}
	s.gate.most, s.gate.queueMost = s.opt.Concurrency, s.opt.Queue
	fail := func(err error) (*Server, error) { return nil, fmt.Errorf("serve %q: %w", service, err) }
	if err := ctx.Err(); err != nil {
		return fail(context.Cause(ctx))
	}
	err := handle(s, methodList, func(context.Context, struct{}) ([]Method, error) { return s.Methods(), nil })
	if err == nil && s.opt.Setup != nil {
		err = s.opt.Setup(s)
	}
	if err != nil {
		return fail(err)
	}
	if s.l, err = pipe.Listen(d, prefix+service, s.opt.listener()); err != nil {
		return fail(err)
	}
	s.wg.Add(1)
	s.mu.Lock() // Close, which may run already, needs stop
	s.stop = context.AfterFunc(ctx, func() { _ = s.Close() })
	s.mu.Unlock()
	go s.accept()
	return s, nil
}

// Methods lists what is registered.
func (s *Server) Methods() []Method {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Method, 0, len(s.methods))
	for _, name := range slices.Sorted(maps.Keys(s.methods)) {
		if !strings.HasPrefix(name, reserved) {
			list = append(list, s.methods[name].Method)
		}
	}
	return list
}

func (s *Server) accept() {
	defer s.wg.Done()
	for {
		e, err := s.l.AcceptEnd(context.Background())
		if err != nil { // the listener is closed: by us, or because its memory is damaged or gone
			if why := s.l.Err(); why != nil {
				s.mu.Lock()
				s.why = why
				s.mu.Unlock()
				go s.Close() // which waits for this goroutine
			}
			return
		}
		c := &conn{s: s, end: e, piece: pieces(e), calls: map[uint64]*served{}}
		s.mu.Lock()
		late := s.leaving
		if !late {
			s.conns[c] = struct{}{}
		}
		s.mu.Unlock()
		if late {
			_ = e.Close()
			continue
		}
		go c.read()
	}
}

// leave takes no new connections and calls from now on. It reports whether it was this call that did it.
func (s *Server) leave() (conns []*conn, first bool) {
	s.mu.Lock()
	s.leaving = true
	conns = slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	return conns, s.gate.shut()
}

// Shutdown serves no new calls, waits until those under way have returned and been answered, and closes the service. If
// the context ends before, the rest is cancelled. A function that calls it waits for itself.
func (s *Server) Shutdown(ctx context.Context) error {
	conns, first := s.leave()
	if first {
		_ = s.l.Close()
		for _, c := range conns {
			// Clients that do not read are not waited for.
			s.wg.Go(func() { _, _ = send(s.ctx, c.end, c.piece, frame{kind: kindBye}, startFrame(nil)) })
		}
	}
	err := s.gate.idle(ctx, s.done)
	return errors.Join(err, s.shut())
}

// Close ends the service at once: functions that run are cancelled and not waited for, their callers get
// shiplap.ErrPeerGone. Closing twice is shiplap.ErrClosed.
func (s *Server) Close() error {
	s.leave()
	return s.shut()
}

func (s *Server) shut() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.done
		return fmt.Errorf("service %q: %w", s.name, errs.ErrClosed)
	}
	s.closed = true
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	s.stop()
	err := s.l.Close()
	if errors.Is(err, errs.ErrClosed) {
		err = nil // Shutdown did it
	}
	for _, c := range conns {
		c.shut()
	}
	close(s.done)
	s.wg.Wait()
	return err
}

// Done is closed when the service is; Err says why.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err is nil until the service is closed. Then it is shiplap.ErrClosed after Close, Shutdown or the end
// of the context. If the service closed because the memory of its listener is damaged or was removed,
// it says so.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.why != nil:
		return fmt.Errorf("service %q: %w", s.name, s.why)
	case s.closed:
		return fmt.Errorf("service %q: %w", s.name, errs.ErrClosed)
	}
	return nil
}

// Service is the name of the service.
func (s *Server) Service() string { return s.name }

// String names the service.
func (s *Server) String() string { return fmt.Sprintf("service %q", s.name) }

// ServerStats is a service at one moment.
type ServerStats struct {
	Service     string `json:"service"`
	Connections int    `json:"connections"`
	Running     int    `json:"running"` // functions
	Queued      int    `json:"queued"`  // calls that wait for others to return
	Calls       uint64 `json:"calls"`   // accepted
	Refused     uint64 `json:"refused"` // because too many waited
	Panics      uint64 `json:"panics"`
}

// String is one line for people.
func (s ServerStats) String() string {
	return fmt.Sprintf("service %q: %d connections, %d calls, %d running, %d waiting", s.Service, s.Connections, s.Calls, s.Running, s.Queued)
}

// Stats looks at the service.
func (s *Server) Stats() ServerStats {
	st := s.gate.stats()
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Service, st.Connections, st.Panics = s.name, len(s.conns), s.panics.Load()
	return st
}

// watchdog sees to it that a function which takes long does not keep its connection from being read: it lets another
// goroutine read. It ends when there was nothing to watch for a while, and is started by the next call.
func (s *Server) watchdog() {
	defer s.wg.Done()
	const idleTicks = 20
	seen := map[*conn]uint64{}
	for idle := 0; ; {
		select {
		case <-s.done:
			return
		case <-time.After(watchTick):
		}
		if s.watchOnce(seen) {
			idle = 0
			continue
		}
		if idle++; idle < idleTicks {
			continue
		}
		s.watching.Store(false)
		// A call that began before that did not start another.
		if !s.watchOnce(seen) || !s.watching.CompareAndSwap(false, true) {
			return
		}
		idle = 0
	}
}

// watchOnce compares with what it saw before and reports whether anything was called since.
func (s *Server) watchOnce(seen map[*conn]uint64) (busy bool) {
	s.mu.Lock()
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range conns {
		now := c.turn.Load()
		before, known := seen[c]
		seen[c] = now
		if !known || now != before || now&1 != 0 {
			busy = true
		}
		if known && now == before && now&1 != 0 {
			c.relieve(now)
		}
	}
	if len(seen) > 2*len(conns)+16 {
		clear(seen)
	}
	return busy
}

// watch starts the watchdog if it is not there.
func (s *Server) watch() {
	if s.watching.Load() || !s.watching.CompareAndSwap(false, true) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.wg.Add(1)
		go s.watchdog()
	}
}
