//go:build explore

package explore

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"runtime/debug"
	"sync"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/bell"
)

type state byte

const (
	runnable state = iota
	asleep
	ended
	dead
)

const (
	notWoken byte = iota
	wokenUp
	wokenPoked
	timedOut
)

// Proc is one process of an experiment, or one goroutine of a process (see System.Process).
type Proc struct {
	ID  int
	run *run

	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	dying bool // unwinding at the end of the schedule

	state    state
	paused   bool
	sleeps   [2]uintptr // what it sleeps on: the private word of its waiter, and another
	bound    time.Duration
	parkedOn *bell.Sleeper // where it sleeps by a bell
	woken    byte
	timeouts int
	history  uint64 // all values it has read
	stores   []store
	debts    debts
}

func (p *Proc) coroutine(body func(*Proc)) iter.Seq[struct{}] {
	return func(yield func(struct{}) bool) {
		p.yield = yield
		defer func() {
			if v := recover(); v != nil && v != errKilled && !p.dying {
				p.run.failed = fmt.Errorf("process %d panics: %v\n%s", p.ID, v, debug.Stack())
			}
		}()
		body(p)
	}
}

// point is a point of scheduling. Behind it the process does its access, undisturbed until the next.
func (p *Proc) point() {
	if p.dying {
		return
	}
	if !p.yield(struct{}{}) {
		p.dying = true
		panic(errKilled)
	}
	p.read(0) // one step further, whatever it reads
}

func (p *Proc) read(v uint64) {
	const prime = 0x9e3779b97f4a7c15
	p.history = (p.history ^ v + 1) * prime
	p.history ^= p.history >> 29
}

// State says that the process remembers nothing but v of what it has read, so that schedules which
// differ in the rest only are explored once.
func (p *Proc) State(v int) { p.history = uint64(v) }

// Read says that v, which the body knows from elsewhere than the words, is part of what the process has read.
func (p *Proc) Read(v uint64) {
	if !p.dying {
		p.read(v)
	}
}

// Leave says that the process has left the domain: its token is dead from here on, and it goes on. With gone its
// memory was unmapped as well: it fails if it touches that.
func (p *Proc) Leave(gone bool) {
	if p.dying {
		return
	}
	p.run.free |= 1 << p.process()
	if gone {
		p.run.unmapped |= 1 << p.process()
	}
}

// Pause lets the others go on, and comes back when one of them has done something.
func (p *Proc) Pause() {
	p.paused = true
	p.point()
}

// Failf ends the schedule as a failure.
func (p *Proc) Failf(format string, a ...any) {
	if p.dying {
		return
	}
	if p.run.failed == nil {
		p.run.failed = fmt.Errorf("process %d: "+format, append([]any{p.ID}, a...)...)
	}
}

func (p *Proc) appendState(b []byte) []byte {
	if p.state >= ended { // what it knew matters no more
		p.history = 0
	}
	b = append(b, byte(p.state), p.woken, byte(p.timeouts))
	if p.paused {
		b = append(b, 1)
	}
	if p.run.x.opt.Watch {
		b = append(b, byte(p.debts.to()))
		if p.debts.owed {
			b = append(b, 1)
		}
	}
	b = binary.LittleEndian.AppendUint64(b, p.history)
	for _, s := range p.stores {
		b = binary.LittleEndian.AppendUint32(b, uint32(p.run.offset(s.addr)))
		b = binary.LittleEndian.AppendUint64(b, s.v)
	}
	return append(b, byte(len(p.stores)))
}

// process is the number of the process that p is a goroutine of.
func (p *Proc) process() int { return p.run.sys.process(p.ID) }

// Owners is who lives in the eyes of p: the tokens are the numbers of the processes plus 1.
func (p *Proc) Owners() Owners { return Owners{p} }

// Owners implements wordlock.Owners.
type Owners struct{ p *Proc }

// Self implements wordlock.Owners.
func (o Owners) Self() uint32 { return uint32(o.p.process()) + 1 }

// Dead asks the kernel.
func (o Owners) Dead(token uint32) bool {
	if token == o.Self() {
		return false
	}
	if active == nil || o.p.dying {
		return true
	}
	o.p.point()
	d := o.p.run.released(token)
	if d {
		o.p.read(1)
	} else {
		o.p.read(0)
	}
	return d
}

// Watch registers a watch, with Options.Watch.
func (o Owners) Watch(token uint32, poke func()) (stop func()) {
	if active == nil || o.p.dying || !o.p.run.x.opt.Watch {
		return func() {}
	}
	o.p.point()
	r := o.p.run
	w := &watch{by: o.p, token: token, poke: poke}
	w.told = r.x.opt.Edge && r.released(token) // that notice went by
	r.watches = append(r.watches, w)
	return func() {
		for i := range r.watches {
			if r.watches[i] == w {
				r.watches = append(r.watches[:i:i], r.watches[i+1:]...)
				return
			}
		}
	}
}

// watch is one process being watched by another.
type watch struct {
	by    *Proc
	token uint32
	poke  func()
	early bool // told before the locks of the dead one were released
	told  bool // told since
}

// Context is a context that a process may cancel, without goroutines that nobody schedules.
type Context struct {
	context.Context
	mu    sync.Mutex
	done  chan struct{}
	err   error
	after []*func()
}

// NewContext returns a Context that is not cancelled.
func NewContext() *Context { return &Context{Context: context.Background(), done: make(chan struct{})} }

// Done implements context.Context.
func (c *Context) Done() <-chan struct{} { return c.done }

// Err implements context.Context.
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := current(); p != nil {
		if c.err != nil {
			p.read(1)
		} else {
			p.read(0)
		}
	}
	return c.err
}

// AfterFunc is what context.AfterFunc calls.
func (c *Context) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.after = append(c.after, &f)
	at := &f
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for i := range c.after {
			if c.after[i] == at {
				c.after = append(c.after[:i], c.after[i+1:]...)
				return true
			}
		}
		return false
	}
}

// Cancel cancels the context, as one step of p.
func (c *Context) Cancel(p *Proc) {
	p.point()
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = context.Canceled
	close(c.done)
	after := c.after
	c.after = nil
	c.mu.Unlock()
	for _, f := range after {
		(*f)()
	}
}

// Deadline implements context.Context.
func (c *Context) Deadline() (t time.Time, ok bool) { return t, false }
