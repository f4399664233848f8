package rpc

import (
	"context"
	"fmt"
	"sync"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// gate bounds how many functions run at a time, and how many calls wait.
type gate struct {
	most, queueMost int

	mu      sync.Mutex
	leaving bool // no new calls
	running int
	queue   []*served
	dropped int // of the queue
	calls   uint64
	refused uint64
	waits   []chan struct{} // who waits for idle
}

// enter lets a call run, if one may run now.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.enterLocked()
}

func (g *gate) enterLocked() bool {
	if g.leaving || g.running >= g.most {
		return false
	}
	g.running++
	g.calls++
	return true
}

// wait lets a call run, or lets it wait.
func (g *gate) wait(c *served) (run bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.leaving:
		return false, fmt.Errorf("%w: the service is shutting down", errs.ErrClosed)
	case g.enterLocked():
		return true, nil
	case len(g.queue)-g.dropped >= g.queueMost:
		g.refused++
		return false, fmt.Errorf("%w: %d functions run and %d calls wait, which is the most", errs.ErrBusy, g.running, g.queueMost)
	}
	g.calls++
	c.queued = true
	g.queue = append(g.queue, c)
	return false, nil
}

// leave ends a call that ran; next is one that waited and runs in its place.
func (g *gate) leave() (next *served) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.queue) > 0 {
		c := g.queue[0]
		g.queue[0] = nil
		g.queue = g.queue[1:]
		if c.queued {
			c.queued = false
			return c
		}
		g.dropped--
	}
	g.running--
	g.tell()
	return nil
}

// drop takes a call out of the queue and reports whether it was there.
func (g *gate) drop(c *served) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !c.queued {
		return false
	}
	c.queued = false
	g.dropped++
	g.tell()
	return true
}

func (g *gate) empty() bool { return g.running == 0 && len(g.queue) == g.dropped }

func (g *gate) tell() {
	if g.empty() {
		for _, w := range g.waits {
			close(w)
		}
		g.waits = nil
	}
}

// shut lets no new calls in and reports whether it was this call that did it.
func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := !g.leaving
	g.leaving = true
	return first
}

// idle waits until nothing runs and nothing waits, or until the service is closed.
func (g *gate) idle(ctx context.Context, closed <-chan struct{}) error {
	g.mu.Lock()
	if g.empty() {
		g.mu.Unlock()
		return nil
	}
	w := make(chan struct{})
	g.waits = append(g.waits, w)
	g.mu.Unlock()
	select {
	case <-w:
	case <-closed:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

func (g *gate) stats() ServerStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return ServerStats{Running: g.running, Queued: len(g.queue) - g.dropped, Calls: g.calls, Refused: g.refused}
}
