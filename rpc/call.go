package rpc

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// One goroutine at a time reads a client's connection: a caller that waits for its own reply, as a rule. It hands other
// replies to those who wait for them, and when it has its own it wakes one of these to read on. So a lone caller reads
// its reply itself, without a change of goroutines. While only callers that gave up are owed replies, drain reads:
// whoever is owed something is read for, so that the service can always send.

// call is a call under way. Its fields are guarded by Client.mu until it is done.
type call struct {
	id      uint64
	wake    chan struct{} // done, or: read
	waiting int           // place in waiters plus one
	orphan  bool
	done    bool
	err     error // instead of a reply

	kind    kind
	method  uint32
	payload []byte
	buf     []byte // what payload lies in
	tooLong bool
}

var calls = sync.Pool{New: func() any { return &call{wake: make(chan struct{}, 1)} }}

// release gives back a call that is done, with its payload.
func (c *Client) release(p *call) {
	buf := p.buf
	if cap(buf) > keepBuffer {
		buf = nil
	}
	select {
	case <-p.wake:
	default:
	}
	*p = call{wake: p.wake, buf: buf[:0]}
	calls.Put(p)
}

// do sends a message and waits for the answer; one that says that it failed is an error. Without an error release must
// follow.
func (c *Client) do(ctx context.Context, f frame, msg []byte) (*call, error) {
	if n := len(msg) - headerSize; n > c.opt.MaxMessage {
		return nil, fmt.Errorf("%w: the request has %d bytes, at most %d go", errs.ErrTooLarge, n, c.opt.MaxMessage)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	p, err := c.enter()
	if err != nil {
		return nil, err
	}
	f.id, f.arg = p.id, remaining(ctx)
	began, err := c.send(ctx, f, msg)
	if err != nil && ctx.Err() == nil {
		c.broken(err)
	}
	p, err = c.wait(ctx, p, began || err == nil)
	if err != nil {
		return nil, err
	}
	if p.kind == kindFail {
		e := &Error{}
		err := decode(p.payload, e)
		if err == nil {
			err = e
		}
		c.release(p)
		return nil, err
	}
	return p, nil
}

// enter makes a call.
func (c *Client) enter() (*call, error) {
	p := calls.Get().(*call)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	if c.bye {
		return nil, fmt.Errorf("%w: the service is shutting down", errs.ErrPeerGone)
	}
	var slot uint32
	if n := len(c.free); n > 0 {
		slot, c.free = c.free[n-1], c.free[:n-1]
	} else {
		slot = uint32(len(c.slots))
		c.slots = append(c.slots, nil)
	}
	c.serial++
	c.n++
	c.open++
	p.id = (c.serial&(1<<31-1)+1)<<32 | uint64(slot)
	c.slots[slot] = p
	return p, nil
}

// settle takes a call out of the table.
func (c *Client) settle(p *call) {
	slot := uint32(p.id)
	c.slots[slot] = nil
	c.free = append(c.free, slot)
	c.open--
}

func (c *Client) send(ctx context.Context, f frame, msg []byte) (began bool, err error) {
	select {
	case c.sending <- struct{}{}:
	default:
		select {
		case c.sending <- struct{}{}:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	defer func() { <-c.sending }()
	return send(ctx, c.end, c.piece, f, msg)
}

// wait waits until p is done or the context is. sent says that the service knows of it.
func (c *Client) wait(ctx context.Context, p *call, sent bool) (*call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !p.done && ctx.Err() == nil && sent {
		if !c.reading {
			c.reading = true
			c.mu.Unlock()
			err := c.read(ctx, p)
			if err != nil && ctx.Err() == nil {
				c.broken(err)
			}
			c.mu.Lock()
			c.reading = false
			continue
		}
		c.waiters = append(c.waiters, p)
		p.waiting = len(c.waiters)
		c.mu.Unlock()
		select {
		case <-p.wake:
		case <-ctx.Done():
		}
		c.mu.Lock()
		c.unlist(p)
	}
	switch {
	case p.done:
	case sent:
		p.orphan = true
		c.orphans++
		c.sendCancel(p.id)
	default:
		c.settle(p)
	}
	c.passOn()
	if !p.done {
		return nil, context.Cause(ctx)
	}
	return p, p.err
}

// unlist takes p out of the waiters.
func (c *Client) unlist(p *call) {
	if p.waiting == 0 {
		return
	}
	last := len(c.waiters) - 1
	c.waiters[p.waiting-1] = c.waiters[last]
	c.waiters[p.waiting-1].waiting = p.waiting
	c.waiters[last] = nil
	c.waiters = c.waiters[:last]
	p.waiting = 0
}

// wakeUp wakes a waiter; one that is woken already will look anyway.
func (p *call) wakeUp() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// passOn sees to it that somebody reads, if anything is owed to anybody.
func (c *Client) passOn() {
	if c.reading || c.err != nil {
		return
	}
	if n := len(c.waiters); n > 0 {
		c.waiters[n-1].wakeUp()
		return
	}
	if c.orphans > 0 {
		c.reading = true
		c.wg.Go(c.drain)
	}
}

// drain reads what is owed to those who gave up.
func (c *Client) drain() {
	err := c.read(context.Background(), nil)
	if err != nil {
		c.broken(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = false
	c.passOn()
}

// read reads until mine is done; with none, until those who gave up are owed nothing.
func (c *Client) read(ctx context.Context, mine *call) error {
	for {
		msg, err := c.end.Recv(ctx, c.buf[:0])
		if err != nil {
			return err
		}
		c.buf = msg
		f, err := parseFrame(msg)
		if err != nil {
			return err
		}
		c.mu.Lock()
		err = c.deliver(f)
		done := mine != nil && mine.done || mine == nil && c.orphans == 0
		c.mu.Unlock()
		if err != nil || done {
			return err
		}
	}
}

// deliver handles a frame, which lies in c.buf.
func (c *Client) deliver(f frame) error {
	switch f.kind {
	case kindBye:
		c.bye = true
		return nil
	case kindBound, kindResult, kindFail:
	default:
		return fmt.Errorf("%w: the service sent a frame of kind %d", errs.ErrCorrupt, f.kind)
	}
	slot := int(uint32(f.id))
	if slot >= len(c.slots) || c.slots[slot] == nil || c.slots[slot].id != f.id {
		if c.err != nil {
			return nil // it is nobody's any more
		}
		return fmt.Errorf("%w: the service answered call %#x, which was not made", errs.ErrCorrupt, f.id)
	}
	p := c.slots[slot]
	switch {
	case p.orphan:
	case f.more || p.payload != nil || len(f.payload) > c.opt.MaxMessage:
		if p.tooLong = p.tooLong || len(p.payload)+len(f.payload) > c.opt.MaxMessage; p.tooLong {
			p.payload, p.buf = []byte{}, nil
		} else {
			p.payload = append(p.payload, f.payload...)
		}
	default: // its buffer for ours
		p.buf, c.buf = c.buf, p.buf
		p.payload = f.payload
	}
	if f.more {
		return nil
	}
	c.settle(p)
	if p.orphan {
		c.orphans--
		return nil
	}
	p.kind, p.method = f.kind, f.method
	if p.tooLong {
		p.err = fmt.Errorf("%w: the reply has more than %d bytes", errs.ErrTooLarge, c.opt.MaxMessage)
	}
	p.finish()
	return nil
}

func (p *call) finish() {
	p.done = true
	if p.waiting > 0 {
		p.wakeUp()
	}
}

// broken ends the connection because of an error of the pipe.
func (c *Client) broken(err error) {
	why := errs.ErrPeerGone
	how := "it closed the connection"
	if c.end.PeerDied() {
		how = "its process died"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failAll(fmt.Errorf("%w: %s (%w)", why, how, err))
}

// failAll ends all calls, and all to come.
func (c *Client) failAll(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	for _, p := range c.slots {
		if p == nil {
			continue
		}
		c.settle(p)
		if !p.orphan {
			p.err = err
			p.finish()
		}
	}
	c.orphans = 0
}

// sendCancel has a cancel sent, by somebody who may wait for that.
func (c *Client) sendCancel(id uint64) {
	if c.err != nil {
		return
	}
	c.cancels = append(c.cancels, id)
	if !c.cancel {
		c.cancel = true
		c.wg.Go(c.sendCancels)
	}
}

func (c *Client) sendCancels() {
	msg := startFrame(nil)
	for {
		c.mu.Lock()
		ids := slices.Clone(c.cancels)
		c.cancels = c.cancels[:0]
		if len(ids) == 0 || c.err != nil {
			c.cancel = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		for _, id := range ids {
			if _, err := c.send(context.Background(), frame{kind: kindCancel, id: id}, msg); err != nil {
				break // whoever reads notices
			}
		}
	}
}
