package racetest

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/pipe"
)

var smallPipe = &pipe.Options{Capacity: 8192}

// pipeEnd is an end, and what its one receiver knows: the last message of each sender.
type pipeEnd struct {
	*pipe.End
	last map[int]uint64
}

func init() {
	addStorm("pipe", storm[*pipeEnd]{
		open: func(w *worker, d *shiplap.Domain) (*pipeEnd, error) {
			e, err := pipe.OpenOrCreate(d, object, smallPipe)
			return &pipeEnd{e, map[int]uint64{}}, err
		},
		shut: []error{shiplap.ErrBusy, shiplap.ErrClosed}, turn: (*hand).pipeTurn,
	})
	end := func(d *shiplap.Domain, name string) (*pipe.End, error) { return pipe.Open(d, name, nil) }
	first := holds(func(d *shiplap.Domain, name string) (*pipe.End, error) {
		return pipe.Create(d, name, smallPipe)
	}, (*pipe.End).Close)
	receive := func(ctx context.Context, e *pipe.End) error { _, err := e.Recv(ctx, nil); return err }
	addVigil("pipe receiving", vigil{
		hold: first, open: waits(end, receive), ends: leaving(deaths(io.EOF), io.EOF),
	})
	addVigil("pipe sending", vigil{
		hold: first, ends: leaving(deaths(shiplap.ErrPeerGone), shiplap.ErrPeerGone),
		open: waitsFull(end, func(ctx context.Context, e *pipe.End) error {
			return e.Send(ctx, make([]byte, 1000))
		}),
	})
	addStorm("listener", storm[*caller]{
		open: openCaller, turn: (*hand).callerTurn,
		shut: []error{shiplap.ErrExist},
	})
	listen := func(d *shiplap.Domain, name string) (*pipe.Listener, error) {
		return pipe.Listen(d, name, smallPipe)
	}
	dial := func(d *shiplap.Domain, name string) (*pipe.End, error) {
		return pipe.Dial(context.Background(), d, name, smallPipe)
	}
	addVigil("accepting", vigil{ // the victim dials, or does not
		create: func(*shiplap.Domain, string) (io.Closer, error) { return io.NopCloser(nil), nil },
		hold: func(d *shiplap.Domain, name string) (func() error, error) {
			return func() error { _, err := dial(d, name); return err }, nil
		},
		open: waits(listen, func(ctx context.Context, l *pipe.Listener) error {
			e, err := l.AcceptEnd(ctx)
			if err != nil {
				return err
			}
			return e.Close()
		}),
		ends: quiet(),
	})
	listens := holds(listen, (*pipe.Listener).Close)
	addVigil("dialled", vigil{ // nobody accepts it
		hold: listens, open: waits(dial, receive),
		ends: map[way][]error{
			killed: {io.EOF}, forking: {io.EOF}, execed: {io.EOF}, left: {io.EOF},
			closed: {shiplap.ErrClosed}, gaveup: {context.Canceled}, wiped: {shiplap.ErrRemoved},
		},
	})
	addVigil("dialling", vigil{ // too many did before
		hold: listens,
		open: waitsFull(func(d *shiplap.Domain, name string) (asker, error) { return asker{d, name}, nil },
			dialled),
		ends: map[way][]error{
			killed: {shiplap.ErrPeerGone}, forking: {shiplap.ErrPeerGone}, execed: {shiplap.ErrPeerGone},
			left:   {shiplap.ErrPeerGone, shiplap.ErrNotExist}, // the latter if it dials when all is over
			gaveup: {context.Canceled}, wiped: {shiplap.ErrRemoved, shiplap.ErrPeerGone, shiplap.ErrNotExist},
		},
	})
}

// asker is one that dials, without keeping what it gets.
type asker struct {
	d    *shiplap.Domain
	name string
}

func (asker) Close() error { return nil }

func dialled(ctx context.Context, a asker) error {
	e, err := pipe.Dial(ctx, a.d, a.name, smallPipe)
	if err != nil {
		return err
	}
	return e.Close()
}

// pipeTurn sends or receives one message. Sessions are cells: how many messages were sent from one
// goroutine of one cycle, above, and how many it began to send, below.
func (h *hand) pipeTurn(e *pipeEnd) bool {
	switch {
	case h.n == 1:
		return h.pipeReceives(e)
	case h.n == 3: // it asks all the time whether the other one died
		if e.PeerDied() && !h.Weather.deadly() && !h.Weather.lossy() {
			h.complain("false-death", "%v is told that its peer died, and nobody did", h.me())
			return false
		}
		return !h.isClosing()
	}
	c, there := h.newCell()
	if !there {
		return false
	}
	for seq := uint64(1); ; seq++ {
		if h.temper == pausing {
			h.pause()
		}
		h.cell(c).Add(1)
		err := h.wait(opSend,
			func() error { return e.Send(h.ctx, message(nil, c, name(seq), h.rng.IntN(500))) })
		if err != nil {
			return h.pipeEnds("Send", err, shiplap.ErrPeerGone)
		}
		h.cell(c).Add(1 << 32)
	}
}

func (h *hand) pipeReceives(e *pipeEnd) bool {
	var msg []byte
	err := h.wait(opRecv, func() (err error) { msg, err = e.Recv(h.ctx, nil); return err })
	if err == nil {
		c, seq, err := parse(msg)
		if err != nil {
			h.complain("torn", "%v received %v", h.me(), err)
			return false
		}
		if want := e.last[c] + 1; uint64(seq) != want {
			h.complain("lost", "%v received message %d of a sender whose last was %d", h.me(), uint64(seq),
				want-1)
		}
		e.last[c] = uint64(seq)
		return true
	}
	if errors.Is(err, io.EOF) && !h.isClosing() {
		for c, last := range e.last {
			if sent := h.cell(c).Load() >> 32; last < sent {
				h.complain("lost",
					"%v is told that this is the end; %d messages were sent, and %d have arrived",
					h.me(), sent, last)
			}
		}
	}
	return h.pipeEnds("Recv", err, io.EOF)
}

// pipeEnds judges how the use of an end ends. It is always false.
func (h *hand) pipeEnds(what string, err, peer error) bool {
	closing := isAny(err, []error{shiplap.ErrClosed, shiplap.ErrPeerGone, shiplap.ErrRemoved})
	if !errors.Is(err, peer) && !h.excusedAbsence(err) && !(h.isClosing() && closing) {
		h.unexpected(what+" on an open end", err)
	}
	return false
}

// caller is a listener, or, if there is one already, somebody who dials.
type caller struct {
	d *shiplap.Domain
	l *pipe.Listener
}

func (c *caller) Close() error {
	if c.l == nil {
		return nil
	}
	return c.l.Close()
}

func openCaller(w *worker, d *shiplap.Domain) (*caller, error) {
	if w.Hire%2 == 1 {
		return &caller{d: d}, nil
	}
	l, err := pipe.Listen(d, object, smallPipe)
	return &caller{d, l}, err
}

func (h *hand) callerTurn(c *caller) bool {
	if c.l != nil {
		return h.accepts(c.l)
	}
	if h.isClosing() {
		return false
	}
	ctx, within, cancel := h.context()
	defer cancel()
	var e *pipe.End
	err := h.call(opDial, within,
		func() (err error) { e, err = pipe.Dial(ctx, c.d, object, smallPipe); return err })
	switch {
	case err == nil:
	case isAny(err, []error{shiplap.ErrNotExist, shiplap.ErrPeerGone, context.DeadlineExceeded}):
		time.Sleep(20 * time.Microsecond)
		return true
	default:
		h.ends("Dial", err)
		return false
	}
	defer e.Close()
	me := h.me()
	question := message(nil, 1, me, h.rng.IntN(100))
	gone := []error{io.EOF, shiplap.ErrPeerGone}
	if err := h.call(opSend, 0, func() error { return e.Send(h.ctx, question) }); err != nil {
		return isAny(err, gone) || h.ends("Send to a listener", err)
	}
	var msg []byte
	err = h.call(opRecv, 0,
		func() (err error) { msg, err = e.Recv(h.ctx, nil); return err }) // an answer, or the end
	if err != nil {
		return isAny(err, gone) || h.ends("Recv from a listener", err)
	}
	if _, to, err := parse(msg); err != nil || to != me {
		h.complain("torn", "%v got an answer for %v (%v)", me, to, err)
	}
	return true
}

// ends reports an error that nothing explains; it is false.
func (h *hand) ends(what string, err error) bool {
	if !h.over(err) && !(h.isClosing() && errors.Is(err, shiplap.ErrRemoved)) {
		h.unexpected(what, err)
	}
	return false
}

// accepts serves one who dials.
func (h *hand) accepts(l *pipe.Listener) bool {
	var e *pipe.End
	err := h.wait(opAccept, func() (err error) { e, err = l.AcceptEnd(h.ctx); return err })
	if err != nil {
		return h.ends("AcceptEnd", err)
	}
	defer e.Close()
	var msg []byte
	gone := []error{io.EOF, shiplap.ErrPeerGone}
	err = h.call(opRecv, 0, func() (err error) { msg, err = e.Recv(h.ctx, nil); return err })
	if err == nil {
		err = h.call(opSend, 0, func() error { return e.Send(h.ctx, msg) })
	}
	if err != nil && !isAny(err, gone) {
		return h.ends("serving", err)
	}
	return true
}
