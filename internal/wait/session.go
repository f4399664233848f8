package wait

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/bell"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Session is what the blocked calls of one handle have in common: they end together. The zero value
// is ready.
type Session struct {
	// Check, if set before first use, is asked before each sleep for a reason to end the wait. It is cheap
	// and may be called from any goroutine.
	Check func() error
	// Verify, if set before first use, is asked before a contended lock is waited for, and when it was got: a look
	// at the file system that Check cannot afford.
	Verify func() error

	// ManyAwake says that the process has other goroutines to run while one waits here: that one does not sleep in the
	// kernel, where it would keep a processor of the Go scheduler for a while.
	ManyAwake atomic.Bool

	mu    sync.Mutex
	first *Call
	err   error
}

// Gone is what Check says.
func (s *Session) Gone() error {
	if s.Check == nil {
		return nil
	}
	return s.Check()
}

// Verified is what Verify says.
func (s *Session) Verified() error {
	if s.Verify == nil {
		return nil
	}
	return s.Verify()
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

func (s *Session) pokeAll() {
	for c := s.first; c != nil; c = c.next {
		c.poke()
	}
}

// Call is one blocking call. It belongs to one goroutine.
type Call struct {
	s          *Session
	ctx        context.Context
	w          *futex.Waiter
	b          *bell.Sleeper
	poke       func() // both of them
	stop       func() bool
	prev, next *Call

	until Until
	word  *mem.U32 // what the next sleep is on
	seen  uint32
	bound time.Duration // of the next sleep, 0 if nothing asks for less than usual

	armed   *mem.U32 // the event that was armed last, for the futex
	armedAt uint32
	rings   *bell.Line // the event on whose line the next sleep is, nil if it is on word

	deps    []dependency
	index   map[uint32]int // of deps by token, if those are many
	round   uint32
	renewed bool // the last Look named a process that was not watched yet
	looked  bool
	slept   bool
	seat    bool // it may sleep on a futex although it has a bell
	drowsy  bool // nothing woke it when it did
}

// calls pools Calls, each with a Waiter of its own: a Poke that comes too late is a spurious wake-up of the next
// user.
var calls = sync.Pool{New: func() any {
	w, b := futex.Get(), bell.NewSleeper()
	return &Call{w: w, b: b, poke: func() { // a late one does not look at the Call
		w.Poke()
		b.Poke()
	}}
}}

// begin registers a call; end must follow.
func (s *Session) begin(ctx context.Context) *Call {
	c := calls.Get().(*Call)
	c.clearPoke()
	c.s, c.ctx = s, ctx
	if ctx.Done() != nil {
		c.stop = context.AfterFunc(ctx, c.poke)
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

// end forgets the call.
func (c *Call) end() {
	c.b.Leave() // after a fault in the memory that it waits on
	c.leaveSeat()
	c.dropAll()
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
	c.b.Forget()
	*c = Call{w: c.w, b: c.b, poke: c.poke, deps: c.deps}
	calls.Put(c)
}

// Err is why the call must not wait any longer: its context or its handle is done.
func (c *Call) Err() error {
	if err := c.ctx.Err(); err != nil {
		return context.Cause(c.ctx)
	}
	c.s.mu.Lock()
	err := c.s.err
	c.s.mu.Unlock()
	if err == nil {
		err = c.s.Gone()
	}
	return err
}

// Ready is what the futex layer asks about one of many sleepers.
func (c *Call) Ready() bool { return c.until.Stale() || c.s.Gone() != nil }

func (c *Call) clearPoke() {
	c.w.ClearPoke()
	c.b.ClearPoke()
}

// sleep sleeps once, on what the last Look said.
func (c *Call) sleep() error {
	c.slept = true
	if c.rings != nil {
		c.b.Park(c.bound, c)
		c.b.Leave() // a ring that did not come is used by the next Look all the same
		c.clearPoke()
		return nil
	}
	if c.b.Leave() {
		c.until.Abandon()
	}
	bound := MaxSleep
	switch {
	case c.bound > 0:
		bound = min(c.bound, MaxSleep)
	case futex.Crowded():
		bound = crowdedSleep
	}
	switch sleepFutex(c.w, c.word, c.seen, bound, c) {
	case futex.Poked:
		c.clearPoke() // the next Look sees what the poke was for
	case futex.TimedOut:
		c.drowsy = true
		c.leaveSeat()
	case futex.Fault:
		return fmt.Errorf("%w: the memory of a wait word is not there any more", errs.ErrCorrupt)
	}
	return nil
}
