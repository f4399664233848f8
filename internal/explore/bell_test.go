//go:build explore

package explore

import (
	"context"
	"errors"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/bell"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// belfry is items, as in items, which goroutines wait for by bells and by futexes.
type belfry struct {
	s       *mem.Span
	items   int
	entries int
	sys     *System
}

func newBelfry(items, entries int) *belfry {
	s := mem.NewHeap(mem.Part{Len: 64 + 8*entries + 8*items}).Span(0)
	return &belfry{s: s, items: items, entries: entries, sys: &System{Memory: []*mem.Span{s}}}
}

func (b *belfry) item(i int) *mem.U32 { return b.s.U32(64 + 8*b.entries + 8*i) }

// event is what a process has of it; without a bell it sleeps on the futex, and wakes both.
func (b *belfry) event(p *Proc) wait.Event {
	var entries []*mem.U64
	for i := range b.entries {
		entries = append(entries, b.s.U64(64+8*i))
	}
	return wait.WithLine(b.s.U32(0), bell.NewLine(b.s.U32(0), entries, p.Bell()))
}

func (b *belfry) there() bool {
	for i := range b.items {
		if b.item(i).Load() == 1 {
			return true
		}
	}
	return false
}

func (b *belfry) take() bool {
	for i := range b.items {
		if b.item(i).Load() == 1 && b.item(i).CAS(1, 2) {
			return true
		}
	}
	return false
}

// wanting waits for an item.
type wanting struct {
	b       *belfry
	e       wait.Event
	onFutex bool
}

// Look implements wait.Until.
func (w *wanting) Look(c *wait.Call) (over bool, err error) {
	if w.onFutex {
		c.On(w.e.Word(), w.e.Arm())
	} else {
		c.Arm(w.e)
	}
	return w.b.there(), nil
}

// Stale implements wait.Until.
func (w *wanting) Stale() bool { return w.b.there() }

// Abandon implements wait.Until.
func (w *wanting) Abandon() {
	if w.b.there() {
		w.e.Wake(1)
	}
}

func (b *belfry) add(process int, f func(p *Proc)) {
	b.sys.Procs = append(b.sys.Procs, f)
	b.sys.Process = append(b.sys.Process, process)
}

// puts publishes items from..to one by one.
func (b *belfry) puts(process, from, to int) {
	b.add(process, func(p *Proc) {
		e := b.event(p)
		for i := from; i < to; i++ {
			p.State(i)
			b.item(i).StoreRelease(1)
			e.Wake(1)
		}
	})
}

// errGiven is what one of the sessions is interrupted with.
var errGiven = errors.New("given up")

// takes takes one item.
func (b *belfry) takes(process int, onFutex bool) { b.takesIn(process, onFutex, new(wait.Session)) }

// takesIn takes one item, unless the session is interrupted.
func (b *belfry) takesIn(process int, onFutex bool, s *wait.Session) {
	b.add(process, func(p *Proc) {
		w := &wanting{b, b.event(p), onFutex}
		for !b.take() {
			if err := s.Wait(context.Background(), w); err != nil {
				if err != errGiven {
					p.Failf("%v", err)
				}
				return
			}
		}
	})
}

func TestBell(t *testing.T) {
	t.Run("one", func(t *testing.T) {
		explored(t, Options{Buffers: true}, func() *System {
			b := newBelfry(1, 1)
			b.puts(0, 0, 1)
			b.takes(1, false)
			return b.sys
		})
	})
	t.Run("two of one process", func(t *testing.T) {
		explored(t, Options{Buffers: true, Switches: 2}, func() *System {
			b := newBelfry(2, 1)
			b.puts(0, 0, 2)
			b.takes(1, false)
			b.takes(1, false)
			return b.sys
		})
	})
	t.Run("two of one process, one by futex", func(t *testing.T) {
		explored(t, Options{Switches: 1}, func() *System {
			b := newBelfry(3, 1)
			b.puts(0, 0, 3)
			b.takes(1, false)
			b.takes(1, false)
			b.takes(2, true)
			return b.sys
		})
	})
	t.Run("one by futex", func(t *testing.T) {
		explored(t, Options{Switches: 2, Buffers: true}, func() *System {
			b := newBelfry(2, 1)
			b.puts(0, 0, 2)
			b.takes(1, false)
			b.takes(2, true)
			return b.sys
		})
	})
	t.Run("two producers", func(t *testing.T) {
		explored(t, Options{Switches: 1}, func() *System {
			b := newBelfry(2, 2)
			b.puts(0, 0, 1)
			b.puts(3, 1, 2)
			b.takes(1, false)
			b.takes(2, false)
			return b.sys
		})
	})
	t.Run("weak stores", func(t *testing.T) {
		explored(t, Options{Switches: 2, Buffers: true, Weak: true, AtOnce: true}, func() *System {
			b := newBelfry(2, 1)
			b.puts(0, 0, 2)
			b.takes(1, false)
			b.takes(2, false)
			return b.sys
		})
	})
	t.Run("cancelled while rung", func(t *testing.T) {
		explored(t, Options{Switches: 2}, func() *System {
			b := newBelfry(2, 1)
			var given, kept wait.Session
			b.puts(0, 0, 1)
			b.takesIn(1, false, &given)
			b.takesIn(1, false, &kept)
			b.add(1, func(p *Proc) {
				b.item(1).StoreRelease(1)
				given.Interrupt(errGiven)
				b.event(p).Wake(1)
			})
			return b.sys
		})
	})
	t.Run("the owner of an entry dies", func(t *testing.T) {
		explored(t, Options{Switches: 2, Deaths: 1, Mortal: 1 << 1, Timeouts: 1}, func() *System {
			b := newBelfry(2, 1)
			b.puts(0, 0, 2)
			b.takes(1, false)
			b.takes(2, false)
			return b.sys
		})
	})
	t.Run("a waker dies", func(t *testing.T) {
		explored(t, Options{Switches: 2, Deaths: 1, Mortal: 1 << 0, Timeouts: 1}, func() *System {
			b := newBelfry(2, 1)
			b.puts(0, 0, 1)
			b.puts(3, 1, 2)
			b.takes(1, false)
			return b.sys
		})
	})
}
