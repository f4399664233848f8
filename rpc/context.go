package rpc

import (
	"context"
	"sync"
	"time"
)

// callContext is the context of one function. As most functions return at once it makes nothing before somebody asks.
type callContext struct {
	parent   context.Context // for values only
	deadline time.Time

	mu    sync.Mutex
	err   error
	done  chan struct{}
	timer *time.Timer
	after map[int]func()
	next  int
}

func (c *callContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

func (c *callContext) Value(key any) any { return c.parent.Value(key) }

func (c *callContext) String() string { return "context of a call" }

// begin starts the timer, for the first who waits.
func (c *callContext) begin() {
	if c.timer == nil && c.err == nil && !c.deadline.IsZero() {
		c.timer = time.AfterFunc(time.Until(c.deadline), func() { c.end(context.DeadlineExceeded) })
	}
}

func (c *callContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
		c.begin()
	}
	return c.done
}

func (c *callContext) Err() error {
	c.mu.Lock()
	late := c.err == nil && !c.deadline.IsZero() && !time.Now().Before(c.deadline)
	err := c.err
	c.mu.Unlock()
	if late {
		c.end(context.DeadlineExceeded)
		return c.Err()
	}
	return err
}

// AfterFunc spares contexts that are made from this one a goroutine each: see context.AfterFunc.
func (c *callContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	if c.after == nil {
		c.after = map[int]func(){}
	}
	id := c.next
	c.next++
	c.after[id] = f
	c.begin()
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, ok := c.after[id]
		delete(c.after, id)
		return ok
	}
}

// end ends the context, if it has not ended yet.
func (c *callContext) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.done != nil {
		close(c.done)
	}
	for _, f := range c.after {
		go f()
	}
	c.after = nil
}
