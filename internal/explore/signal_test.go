//go:build explore

package explore

import (
	"context"
	"fmt"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/shares"
	"github.com/shiplap-ipc/shiplap/lock"
)

// Objects of package lock: a header page, of which only the state word is looked at, control words, a table.
const (
	ctlAt      = object.HeaderSize
	ctlLen     = ctlAt + 512 + 64
	insideAt   = ctlAt + 512 // u32 each process, behind all control words
	permitBits = 4480        // the bitmap of permits
)

func quietState() [2]int { return [2]int{128, 132} }

func handleOn(kind object.Kind, r *mem.Region, params ...uint64) *object.Object {
	h := &object.Header{Kind: kind, Size: ctlLen}
	copy(h.Params[:], params)
	return object.OnHeap(h, r, func() {})
}

// signalling is an experiment with a mutex, a condition variable, and a word that the mutex protects.
type signalling struct {
	mutex, cond *mem.Region
	word        *mem.U32
	sys         *System
}

func newSignalling() *signalling {
	g := &signalling{mutex: mem.NewHeap(mem.Part{Len: ctlLen}), cond: mem.NewHeap(mem.Part{Len: ctlLen})}
	g.word = g.mutex.Span(0).U32(insideAt)
	g.sys = &System{Memory: []*mem.Span{g.mutex.Span(0), g.cond.Span(0)}, Clock: lockClock(ctlAt), Bounded: []int{lineOf(ctlAt)},
		Quiet: [][2]int{quietState()}}
	return g
}

func (g *signalling) handles(p *Proc) (*lock.Mutex, *lock.Cond) {
	m, err := lock.MutexAmong(handleOn(object.Mutex, g.mutex), p.Owners())
	must(err)
	c, err := lock.CondOn(handleOn(object.Cond, g.cond))
	must(err)
	return m, c
}

// taker takes one off the word when there is one.
func (g *signalling) taker() {
	g.sys.Procs = append(g.sys.Procs, func(p *Proc) {
		m, c := g.handles(p)
		if err := m.Lock(context.Background()); err != nil {
			p.Failf("lock: %v", err)
		}
		for g.word.Load() == 0 {
			if err := c.Wait(context.Background(), m); err != nil {
				p.Failf("wait: %v", err)
				return
			}
		}
		g.word.Store(g.word.Load() - 1)
		if err := m.Unlock(); err != nil {
			p.Failf("unlock: %v", err)
		}
	})
}

// giver adds n to the word, and signals: behind the mutex, or before it gives it back.
func (g *signalling) giver(n int, inside bool) {
	g.sys.Procs = append(g.sys.Procs, func(p *Proc) {
		m, c := g.handles(p)
		if err := m.Lock(context.Background()); err != nil {
			p.Failf("lock: %v", err)
		}
		g.word.Store(g.word.Load() + uint32(n))
		signal := c.Signal
		if n > 1 {
			signal = c.Broadcast
		}
		if inside {
			must(signal())
		}
		if err := m.Unlock(); err != nil {
			p.Failf("unlock: %v", err)
		}
		if !inside {
			must(signal())
		}
	})
}

func TestCond(t *testing.T) {
	for _, c := range []struct {
		takers   int
		inside   bool
		switches int
		weak     bool
	}{{1, false, 3, false}, {1, true, 3, false}, {1, false, 2, true}, {2, false, 2, false}} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			explored(t, Options{Switches: c.switches, Buffers: c.weak, Weak: c.weak, AtOnce: true}, func() *System {
				g := newSignalling()
				for range c.takers {
					g.taker()
				}
				g.giver(c.takers, c.inside)
				return g.sys
			})
		})
	}
}

// An event that is set lets everybody go who waits.
func TestFlag(t *testing.T) {
	for _, weak := range []bool{false, true} {
		t.Run(fmt.Sprintf("weak=%v", weak), func(t *testing.T) {
			explored(t, Options{Buffers: weak, Weak: weak, AtOnce: true, Switches: 3}, func() *System {
				r := mem.NewHeap(mem.Part{Len: ctlLen})
				sys := &System{Memory: []*mem.Span{r.Span(0)}, Quiet: [][2]int{quietState()}}
				handle := func() *lock.Event {
					e, err := lock.EventOn(handleOn(object.Event, r))
					must(err)
					return e
				}
				for range 2 {
					sys.Procs = append(sys.Procs, func(p *Proc) {
						if err := handle().Wait(context.Background()); err != nil {
							p.Failf("wait: %v", err)
						}
					})
				}
				sys.Procs = append(sys.Procs, func(p *Proc) { must(handle().Set()) })
				return sys
			})
		})
	}
}

// acquiring has processes take permits of a semaphore, and give them back.
func acquiring(permits uint64, each ...int) func() *System {
	return func() *System {
		r := mem.NewHeap(mem.Part{Len: ctlLen}, mem.Part{Len: shares.Permits.Size()})
		s := r.Span(0)
		s.U32(ctlAt + 320).Store(uint32(permits)) // available
		sys := &System{Memory: []*mem.Span{s, r.Span(1)}, Clock: append(lockClock(ctlAt), lockClock(ctlAt+128)...),
			Bounded: []int{lineOf(ctlAt), lineOf(ctlAt + 128)}, Quiet: [][2]int{quietState(), {permitBits + 8, permitBits + shares.BitmapSize}}}
		for i, n := range each {
			sys.Procs = append(sys.Procs, func(p *Proc) {
				sem, err := lock.SemaphoreAmong(handleOn(object.Semaphore, r, permits), p.Owners(), p.ID)
				must(err)
				if err := sem.Acquire(context.Background(), n); err != nil {
					p.Failf("acquire: %v", err)
					return
				}
				s.U32(insideAt + 4*i).Store(uint32(n))
				held := uint32(n)
				for j := range each {
					if j != i && s.U32(insideAt+4*j).Load() > 0 && !p.Owners().Dead(uint32(j)+1) {
						held += s.U32(insideAt + 4*j).Load()
					}
				}
				if held > uint32(permits) {
					p.Failf("%d permits of %d are held", held, permits)
				}
				s.U32(insideAt + 4*i).Store(0)
				if err := sem.Release(n); err != nil {
					p.Failf("release: %v", err)
				}
			})
		}
		return sys
	}
}

// Without time-outs: permits that are given back, or whose holder died, come to those who wait.
func TestSemaphore(t *testing.T) {
	for _, c := range []struct {
		permits          uint64
		each             []int
		deaths, switches int
		weak             bool
	}{
		{1, []int{1, 1}, 0, 3, false},
		{1, []int{1, 1}, 0, 2, true},
		{1, []int{1, 1}, 1, 2, false},
		{2, []int{1, 1, 2}, 0, 1, false},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			explored(t, Options{Deaths: c.deaths, Watch: c.deaths > 0, Edge: true, Switches: c.switches, Buffers: c.weak, Weak: c.weak, AtOnce: true},
				acquiring(c.permits, c.each...))
		})
	}
}
