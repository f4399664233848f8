package wait

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Session is what the blocked calls of one handle have in common: they end together. The zero value
// is ready.
type Session struct {
	// Check, if set before first use, is asked before each sleep for a reason to end the wait.
	Check func() error

	mu    sync.Mutex
	first *Call
	err   error
}

// Interrupt ends all waits of the session, present and future, with err.
func (s *Session) Interrupt(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.pokeAll()
}

// Nudge lets all waits of the session check their conditions again.
func (s *Session) Nudge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pokeAll()
}

func (s *Session) pokeAll() {
	for c := s.first; c != nil; c = c.next {
		c.w.Poke()
	}
}

// Call is one blocking call. It belongs to one goroutine.
type Call struct {
	s          *Session
	ctx        context.Context
	w          *futex.Waiter
	stop       func() bool
	prev, next *Call
	change     *change
}

// change is the condition that a word does not hold a value any more.
type change struct {
	word atomic.Pointer[mem.U32]
	seen atomic.Uint32
}

func (c *change) Ready() bool { return c.word.Load().Load() != c.seen.Load() }

// Crowded reports that so many sleep in this process that a Call.Await more would share a thread.
func Crowded() bool { return futex.Crowded() }

// Await is Sleep for those who wait for nothing but a change of the word. Many of them share a thread; then
// the end of the bound may come late, by MaxSleep.
func (c *Call) Await(word *mem.U32, seen uint32, bound time.Duration) error {
	if c.change == nil {
		c.change = new(change)
	}
	c.change.word.Store(word)
	c.change.seen.Store(seen)
	return c.Sleep(word, seen, min(bound, MaxSleep), c.change)
}

var calls = sync.Pool{New: func() any { return new(Call) }}

// Begin registers a call; End must follow.
func (s *Session) Begin(ctx context.Context) *Call {
	c := calls.Get().(*Call)
	c.s, c.ctx, c.w = s, ctx, futex.Get()
	if ctx.Done() != nil {
		c.stop = context.AfterFunc(ctx, c.w.Poke)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.next = s.first
	if c.next != nil {
		c.next.prev = c
	}
	s.first = c
	return c
}

// End forgets the call.
func (c *Call) End() {
	s := c.s
	s.mu.Lock()
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		s.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	s.mu.Unlock()
	if c.stop != nil {
		c.stop() // a cancellation that runs just now pokes a waiter that is no longer ours: harmless
	}
	c.w.Put()
	*c = Call{change: c.change}
	calls.Put(c)
}

// Nudge lets the call check its condition again. It may be called from other goroutines before End.
func (c *Call) Nudge() { c.w.Poke() }

// Err is why the call must not wait any longer: its context or its handle is done.
func (c *Call) Err() error {
	if err := c.ctx.Err(); err != nil {
		return context.Cause(c.ctx)
	}
	c.s.mu.Lock()
	err := c.s.err
	c.s.mu.Unlock()
	if err == nil && c.s.Check != nil {
		err = c.s.Check()
	}
	return err
}

// Sleep sleeps while the word holds seen, at most for bound. A nil error says nothing about the
// condition. ready, if not nil, must tell cheaply, from any goroutine, whether the condition may hold;
// it is asked every MaxSleep, and it allows many sleepers to share one thread. Without it the sleep
// ends after MaxSleep.
func (c *Call) Sleep(word *mem.U32, seen uint32, bound time.Duration, ready futex.Ready) error {
	if err := c.Err(); err != nil {
		return err
	}
	if ready == nil {
		bound = min(bound, MaxSleep)
	}
	switch sleepFutex(c.w, word, seen, bound, ready) {
	case futex.Poked:
		c.w.ClearPoke()
		return c.Err()
	case futex.Fault:
		return fmt.Errorf("%w: the memory of a wait word is not there any more", errs.ErrCorrupt)
	}
	return nil
}
