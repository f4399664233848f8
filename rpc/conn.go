package rpc

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/pipe"
)

// conn is a client's connection at the server. One goroutine at a time reads it. It runs functions itself as long as
// these are quick: a call then costs no change of goroutines. If one is not, the watchdog lets another goroutine read
// (relieve).
type conn struct {
	s     *Server
	end   *pipe.End
	piece int

	// turn is even while the goroutine that reads is reading, odd while it runs a function, and raised by each change.
	turn   atomic.Uint64
	inline atomic.Pointer[served] // what it runs

	// Of the goroutine that reads:
	bound   []bound // by the numbers that calls name
	parts   map[uint64]*served
	partial int // bytes in parts
	buf     []byte

	mu       sync.Mutex
	calls    map[uint64]*served // those that wait, or run elsewhere
	finished atomic.Bool        // set under mu
}

// bound is a method as a client wants it called.
type bound struct {
	m    *method
	mode string
}

// served is a call at the server, and the context of its function.
type served struct {
	callContext
	c       *conn
	id      uint64
	bound   bound
	payload []byte
	turn    uint64 // of the connection, if the goroutine that reads runs it
	queued  bool   // guarded by the gate
	tooLong bool   // while it is assembled
}

const (
	mostPartial = 16      // times MaxMessage: bytes of messages that are not complete
	mostParts   = 1 << 16 // such messages
)

var buffers = sync.Pool{New: func() any { return new([]byte) }}

const keepBuffer = 64 << 10

func keep(buf *[]byte, b []byte) {
	if cap(b) <= keepBuffer {
		*buf = b
		buffers.Put(buf)
	}
}

// read reads until the connection ends, or until somebody else does it.
func (c *conn) read() {
	for {
		msg, err := c.end.Recv(context.Background(), c.buf[:0])
		if err == nil {
			c.buf = msg
			var relieved bool
			if relieved, err = c.take(msg); relieved {
				return
			}
		}
		if err != nil {
			c.shut()
			c.s.mu.Lock()
			delete(c.s.conns, c)
			c.s.mu.Unlock()
			return
		}
	}
}

// shut ends the connection and cancels its calls.
func (c *conn) shut() {
	_ = c.end.Close()
	c.mu.Lock()
	c.finished.Store(true) // before the look at inline
	calls := make([]*served, 0, len(c.calls)+1)
	for _, sc := range c.calls {
		calls = append(calls, sc)
	}
	c.mu.Unlock()
	if sc := c.inline.Load(); sc != nil {
		calls = append(calls, sc)
	}
	for _, sc := range calls {
		sc.end(context.Canceled)
		c.s.gate.drop(sc)
	}
}

// take handles one frame. An error ends the connection.
func (c *conn) take(msg []byte) (relieved bool, err error) {
	f, err := parseFrame(msg)
	if err != nil {
		return false, err
	}
	switch f.kind {
	case kindCall:
		return c.takeCall(f)
	case kindCancel:
		return false, c.takeCancel(f.id)
	case kindBind:
		return false, c.takeBind(f)
	}
	return false, fmt.Errorf("%w: a client sent a frame of kind %d", errs.ErrCorrupt, f.kind)
}

func (c *conn) takeBind(f frame) error {
	var b bindRequest
	if f.more {
		return fmt.Errorf("%w: a bind in pieces", errs.ErrCorrupt)
	}
	if err := decode(f.payload, &b); err != nil {
		return err
	}
	n, m, err := c.bind(b)
	if err != nil {
		return c.reply(frame{kind: kindFail, id: f.id}, encode(nil, toError(err)))
	}
	return c.reply(frame{kind: kindBound, id: f.id, method: n}, encode(nil, bindReply{m.Request, m.Response}))
}

// mostBound bounds what a client can make the server remember.
const mostBound = 1 << 16

func (c *conn) bind(b bindRequest) (uint32, *method, error) {
	if b.Version != version {
		return 0, nil, fmt.Errorf("%w: the client speaks version %d of the protocol, service %q version %d", errs.ErrIncompatible, b.Version, c.s.name, version)
	}
	c.s.mu.Lock()
	m := c.s.methods[b.Method]
	c.s.mu.Unlock()
	if m == nil {
		return 0, nil, fmt.Errorf("%w: service %q has no method %q", errs.ErrNotExist, c.s.name, b.Method)
	}
	switch b.Mode {
	case modeTyped:
		for _, t := range []struct{ what, have, want string }{{"requests", m.Request, b.Request}, {"replies", m.Response, b.Response}} {
			if t.have != t.want {
				return 0, nil, fmt.Errorf("%w: method %q of service %q has %s of %s, the caller of %s", errs.ErrIncompatible, m.Name, c.s.name, t.what, t.have, t.want)
			}
		}
	case modeRaw, modeJSON:
	default:
		return 0, nil, fmt.Errorf("%w: mode %q", errs.ErrUnsupported, b.Mode)
	}
	if len(c.bound) >= mostBound {
		return 0, nil, fmt.Errorf("%w: a connection binds %d methods at most", errs.ErrFull, mostBound)
	}
	c.bound = append(c.bound, bound{m, b.Mode})
	return uint32(len(c.bound) - 1), m, nil
}

func (c *conn) takeCancel(id uint64) error {
	if sc := c.parts[id]; sc != nil { // its caller gave up in the middle of sending it
		c.removePart(sc)
		return c.fail(sc, context.Canceled)
	}
	c.mu.Lock()
	sc := c.calls[id]
	c.mu.Unlock()
	if sc == nil {
		return nil // it is answered
	}
	sc.end(context.Canceled)
	if c.s.gate.drop(sc) {
		c.forget(sc)
		return c.fail(sc, context.Canceled)
	}
	return nil
}

func (c *conn) takeCall(f frame) (relieved bool, err error) {
	var sc *served
	if len(c.parts) > 0 {
		sc = c.parts[f.id]
	}
	if sc == nil {
		if f.method >= uint32(len(c.bound)) {
			return false, fmt.Errorf("%w: a call of method %d of %d", errs.ErrCorrupt, f.method, len(c.bound))
		}
		sc = &served{c: c, id: f.id, bound: c.bound[f.method]}
		sc.parent = c.s.ctx
		if f.arg != 0 {
			sc.deadline = time.Now().Add(time.Duration(min(f.arg, 1<<62)))
		}
		if !f.more {
			if len(f.payload) > c.s.opt.MaxMessage {
				return false, c.failTooLong(sc)
			}
			sc.payload = f.payload
			return c.start(sc, false)
		}
		if c.parts == nil {
			c.parts = map[uint64]*served{}
		}
		if len(c.parts) == mostParts {
			return false, fmt.Errorf("%w: a client has begun %d calls and completed none of them", errs.ErrFull,
				mostParts)
		}
		c.parts[f.id] = sc
	}
	c.assemble(sc, f.payload)
	if f.more {
		return false, nil
	}
	c.removePart(sc)
	if sc.tooLong {
		return false, c.failTooLong(sc)
	}
	return c.start(sc, true)
}

func (c *conn) failTooLong(sc *served) error {
	return c.fail(sc, fmt.Errorf("%w: the request has more than %d bytes, or too many long ones are under way",
		errs.ErrTooLarge, c.s.opt.MaxMessage))
}

// assemble adds a piece of a message.
func (c *conn) assemble(sc *served, b []byte) {
	if most := c.s.opt.MaxMessage; sc.tooLong || len(sc.payload)+len(b) > most || c.partial+len(b) > mostPartial*most {
		c.partial -= len(sc.payload) // it is answered when the last piece has come
		sc.payload, sc.tooLong = nil, true
		return
	}
	sc.payload = append(sc.payload, b...)
	c.partial += len(b)
}

func (c *conn) removePart(sc *served) {
	delete(c.parts, sc.id)
	c.partial -= len(sc.payload)
}

func (c *conn) register(sc *served) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished.Load() {
		return errs.ErrClosed
	}
	if c.calls[sc.id] != nil {
		return fmt.Errorf("%w: two calls with the number %d", errs.ErrCorrupt, sc.id)
	}
	c.calls[sc.id] = sc
	return nil
}

func (c *conn) forget(sc *served) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls[sc.id] == sc {
		delete(c.calls, sc.id)
	}
}

// start runs a call, here or elsewhere, or lets it wait. own says that its payload is not in the buffer that is read
// into.
func (c *conn) start(sc *served, own bool) (relieved bool, err error) {
	if !sc.bound.m.slow() && c.s.gate.enter() {
		return c.startHere(sc)
	}
	if !own {
		c.buf = nil
	}
	if err := c.register(sc); err != nil {
		return false, err
	}
	run, err := c.s.gate.wait(sc)
	if err != nil {
		c.forget(sc)
		return false, c.fail(sc, err)
	}
	if run {
		go c.s.serve(sc)
	}
	return false, nil
}

func (c *conn) startHere(sc *served) (relieved bool, err error) {
	sc.turn = c.turn.Load() + 1
	c.inline.Store(sc)
	if c.finished.Load() { // the connection ended just now, and whoever ended it saw no call here
		sc.end(context.Canceled)
	}
	c.turn.Store(sc.turn)
	c.s.watch()
	if sc.bound.m.measured() {
		from := time.Now()
		err = c.perform(sc)
		sc.bound.m.learn(time.Since(from))
	} else {
		err = c.perform(sc)
	}
	if next := c.s.gate.leave(); next != nil {
		go c.s.serve(next)
	}
	if !c.turn.CompareAndSwap(sc.turn, sc.turn+1) { // somebody else reads now
		c.forget(sc)
		return true, nil
	}
	c.inline.Store(nil)
	return false, err
}

// relieve lets another goroutine read, if the one that did still runs what it ran in that turn.
func (c *conn) relieve(turn uint64) {
	sc := c.inline.Load()
	if sc == nil || sc.turn != turn || c.register(sc) != nil {
		return
	}
	if !c.turn.CompareAndSwap(turn, turn+1) {
		c.forget(sc)
		return
	}
	// Now nobody reads, and this is the one to write what belongs to who does.
	sc.bound.m.cost.Store(int64(watchTick))
	c.inline.Store(nil)
	c.buf = nil
	go c.read()
}

// serve serves a call in a goroutine of its own, and then one that waited, and so on.
func (s *Server) serve(sc *served) {
	for sc != nil {
		from := time.Now()
		_ = sc.c.perform(sc) // the one who reads notices
		sc.bound.m.learn(time.Since(from))
		sc.c.forget(sc)
		sc = s.gate.leave()
	}
}

// perform calls the function and answers.
func (c *conn) perform(sc *served) error {
	buf := buffers.Get().(*[]byte)
	out := startFrame(*buf)
	f := frame{kind: kindResult, id: sc.id}
	err := sc.Err()
	if err == nil {
		var b []byte
		if b, err = c.s.run(sc, out); err == nil {
			out = b
			if n := len(out) - headerSize; n > c.s.opt.MaxMessage {
				err = fmt.Errorf("%w: the reply has %d bytes, at most %d go", errs.ErrTooLarge, n, c.s.opt.MaxMessage)
			}
		}
	}
	sc.end(context.Canceled)
	if err != nil {
		f.kind = kindFail
		out = encode(out, toError(err))
	}
	err = c.reply(f, out)
	keep(buf, out)
	return err
}

// abandoned makes good that a function ended its goroutine (runtime.Goexit), which may have been the one that reads.
func (c *conn) abandoned(sc *served) {
	sc.end(context.Canceled)
	_ = c.fail(sc, &Error{Code: CodePanic, Message: fmt.Sprintf("method %q ended its goroutine", sc.bound.m.Name)})
	if sc.turn != 0 {
		c.relieve(sc.turn)
	}
	c.forget(sc)
	c.s.serve(c.s.gate.leave())
}

func (c *conn) fail(sc *served, err error) error {
	return c.reply(frame{kind: kindFail, id: sc.id}, encode(nil, toError(err)))
}

func (c *conn) reply(f frame, buf []byte) error {
	_, err := send(context.Background(), c.end, c.piece, f, buf)
	return err
}
