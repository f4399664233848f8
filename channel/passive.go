package channel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// handler is a function that gets messages.
type handler[T any] struct {
	run     func(ctx context.Context, v T)
	filters []func(T) bool
}

// pump hands the messages of a passive handle to its handlers.
type pump[T any] struct {
	mu       sync.Mutex
	handlers []*handler[T] // a slice is never changed once it is here
	rest     *handler[T]
	workers  int
	ctx      context.Context // of the workers; nil while nobody is to receive
	cancel   context.CancelFunc
	over     bool   // the handle is closed, or the channel is at its end
	told     uint32 // how often the other side had been opened when OnGone was last told that it is gone
}

// OnReceive makes the handle passive: handler runs, in a goroutine of the handle, for each message that all the filters
// let through, without filters for each. Several handlers may be registered: they see a message one after the other,
// in the order of their registration. cancel takes the handler away; when there is none, messages stay where they are.
//
// A handler that panics is logged, and does not stop the rest. One that takes long holds up this handle, and nothing
// else: its channel fills, and those who send wait. The context is done when the handle is closed. Messages that no
// handler gets are dropped, unless there is one for them: see OnUnmatched. The handle must not receive actively
// (shiplap.ErrConflict).
func (c *Channel[T]) OnReceive(h func(ctx context.Context, v T), filters ...func(T) bool) (cancel func(), err error) {
	if err := c.passive(); err != nil {
		return nil, err
	}
	one := &handler[T]{run: h, filters: slices.Clone(filters)}
	err = c.register(func(p *pump[T]) { p.handlers = append(slices.Clip(p.handlers), one) })
	return func() {
		c.unregister(func(p *pump[T]) {
			p.handlers = slices.DeleteFunc(slices.Clone(p.handlers), func(h *handler[T]) bool { return h == one })
		})
	}, err
}

// OnUnmatched makes handler run for the messages that no other handler gets; there is one of it, the last that was
// set. In all else it is as OnReceive.
func (c *Channel[T]) OnUnmatched(h func(ctx context.Context, v T)) (cancel func(), err error) {
	if err := c.passive(); err != nil {
		return nil, err
	}
	one := &handler[T]{run: h}
	err = c.register(func(p *pump[T]) { p.rest = one })
	return func() {
		c.unregister(func(p *pump[T]) {
			if p.rest == one {
				p.rest = nil
			}
		})
	}, err
}

func (c *Channel[T]) passive() error {
	if err := c.raw.call(c.raw.obj.Err); err != nil {
		return err
	}
	return c.raw.take(passive)
}

// register changes the handlers and sees to it that enough workers run.
func (c *Channel[T]) register(add func(*pump[T])) error {
	p := &c.pump
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return c.raw.obj.Wrap(errs.ErrClosed)
	}
	add(p)
	if p.ctx == nil {
		p.ctx, p.cancel = context.WithCancel(context.Background())
	}
	for ; p.workers < c.raw.opt.Workers; p.workers++ {
		go c.work()
	}
	return nil
}

func (c *Channel[T]) unregister(take func(*pump[T])) {
	p := &c.pump
	p.mu.Lock()
	defer p.mu.Unlock()
	take(p)
	if len(p.handlers) == 0 && p.rest == nil {
		p.stop()
	}
}

// stop ends the workers' waiting; p.mu is held.
func (p *pump[T]) stop() {
	if p.cancel != nil {
		p.cancel()
	}
	p.ctx, p.cancel = nil, nil
}

// close ends the pump.
func (p *pump[T]) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.stop()
}

// next is the context of a worker's next message; ok is false when it is to end.
func (p *pump[T]) next() (ctx context.Context, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx == nil || p.over {
		p.workers--
		return nil, false
	}
	return p.ctx, true
}

// work receives and handles until the pump stops. A handler that ends its goroutine ends this one: then
// another goes on.
func (c *Channel[T]) work() {
	done := false
	defer func() {
		if !done {
			c.logger().Error("a handler ended its goroutine")
			go c.work()
		}
	}()
	for {
		ctx, ok := c.pump.next()
		if !ok {
			break
		}
		v, err := c.decoded(func(dst []byte) ([]byte, error) { return c.raw.receive(ctx, dst) })
		switch bad := (*UndecodableError)(nil); {
		case err == nil:
			c.dispatch(ctx, v)
		case ctx.Err() != nil: // it was told to stop
		case errors.As(err, &bad):
			c.raw.drop()
			c.logger().Warn("a message was dropped that cannot be decoded", "error", bad)
		default:
			c.ended(ctx, err)
		}
	}
	done = true
}

// ended is what a worker does when nothing can be received.
func (c *Channel[T]) ended(ctx context.Context, err error) {
	p := &c.pump
	back := isEnd(err)
	var opens uint32
	if c.raw.call(func() error {
		opens = c.raw.opens(c.raw.side.other()).Load()
		return nil
	}) != nil {
		return // the handle is closed
	}
	p.mu.Lock()
	first := !p.over && !errors.Is(err, errs.ErrClosed) && !(back && p.told == opens)
	p.told = opens
	if !back {
		p.over = true
		p.stop()
	}
	p.mu.Unlock()
	if first && !back {
		c.logger().Error("its handlers get no more messages", "error", err)
	}
	if tell := c.raw.opt.OnGone; tell != nil && first {
		c.guarded(func() { tell(err) })
	}
	if !back {
		return
	}
	// What ends this wait ends the next attempt to receive, too.
	_ = c.raw.call(func() error { return c.raw.comeback(ctx, &arrival{r: c.raw, message: true}) })
}

// dispatch hands a message to whoever wants it.
func (c *Channel[T]) dispatch(ctx context.Context, v T) {
	c.pump.mu.Lock()
	all, rest := c.pump.handlers, c.pump.rest
	c.pump.mu.Unlock()
	wanted := false
	for _, h := range all {
		if c.passes(h, v) {
			wanted = true
			c.guarded(func() { h.run(ctx, v) })
		}
	}
	switch {
	case wanted:
	case rest != nil:
		c.guarded(func() { rest.run(ctx, v) })
	default:
		c.raw.drop()
	}
}

// passes reports whether all filters let a message through; one that panics does not.
func (c *Channel[T]) passes(h *handler[T], v T) (yes bool) {
	c.guarded(func() {
		for _, f := range h.filters {
			if !f(v) {
				return
			}
		}
		yes = true
	})
	return yes
}

// guarded runs a function of the user's and logs its panic.
func (c *Channel[T]) guarded(f func()) {
	defer func() {
		if v := recover(); v != nil {
			c.logger().Error("a handler panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	f()
}

func (c *Channel[T]) logger() *slog.Logger {
	return c.raw.opt.logger().With("channel", c.raw.Name(), "side", c.raw.Side())
}
