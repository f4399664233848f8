package object

import (
	"runtime"
	"sync"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Gate lets calls in until it is closed, and runs a function once when it is closed and the last
// one is out (D11).
//
// Each one inside owes one Leave of its own, and nobody takes something out of a table that others look at before it
// is inside: so what it still has to touch is there until it has left, whatever others do meanwhile.
type Gate struct {
	n    mem.U64 // 2 for each one inside, 1 when closed
	once sync.Once
	out  func()
}

// Enter reports whether the gate was open; then Leave must follow. It is short enough to be inlined, as Leave is.
func (g *Gate) Enter() bool {
	if g.n.Add(2)&1 == 0 {
		return true
	}
	g.LeaveN(1)
	return false
}

// EnterN is Enter for n that leave one by one, or some at a time.
func (g *Gate) EnterN(n int) bool {
	if g.n.Add(2*uint64(n))&1 == 0 {
		return true
	}
	g.LeaveN(n)
	return false
}

// Open reports whether the gate was open.
func (g *Gate) Open() bool { return g.n.Load()&1 == 0 }

// Leave is the counterpart of Enter.
func (g *Gate) Leave() {
	if g.n.Add(^uint64(1)) == 1 { // − 2
		g.end()
	}
}

// LeaveN is Leave of n.
//
//go:noinline
func (g *Gate) LeaveN(n int) {
	if g.n.Add(-(2 * uint64(n))) == 1 {
		g.end()
	}
}

// end and LeaveN are rare: inlined they would keep the others from being so.
//
//go:noinline
func (g *Gate) end() { g.once.Do(g.out) }

// Close lets nobody in any more. It reports whether it was this call that closed the gate.
func (g *Gate) Close() bool {
	v := g.n.Load()
	for v&1 == 0 && !g.n.CAS(v, v|1) {
		v = g.n.Load()
	}
	if v == 0 {
		g.end()
	}
	return v&1 == 0
}

// Hold is what a handle holds from inside of a gate: a lock. Whoever ends it owes the gate one Leave, and the lock
// itself; exactly one call of End gets that duty for each Begin. All methods may be called concurrently.
type Hold struct{ v mem.U32 }

const (
	none = iota
	held
	used // by a call of Use
)

// Begin is called by the one that took the lock, and is inside of the gate.
func (h *Hold) Begin() { h.v.StoreRelease(held) }

// Held reports whether something is held.
func (h *Hold) Held() bool { return h.v.Load() != none }

// End reports whether something was held: then the caller gives the lock back and leaves the gate.
func (h *Hold) End() bool { return h.swap(none) }

// Use runs f while it keeps End waiting; f must be quick. It reports false, and does not call f, if nothing is held.
func (h *Hold) Use(f func()) bool {
	if !h.swap(used) {
		return false
	}
	defer h.v.StoreRelease(held)
	f()
	return true
}

// swap replaces held, if need be after a Use of another goroutine.
func (h *Hold) swap(next uint32) bool {
	for !h.v.CAS(held, next) {
		if h.v.Load() == none {
			return false
		}
		mem.Pause(1)
		runtime.Gosched()
	}
	return true
}

// Pin is a gate for a handle that one goroutine uses at a time, without atomic read-modify-writes on
// the way in and out. It is inside of its object's Gate for its whole life.
type Pin struct {
	in     mem.U32
	closed mem.U32
	once   sync.Once
	out    func()
}

const (
	outside uint32 = iota
	inside         // a call
	lent           // a view of the memory is in the user's hands
	orphan         // the same, and the handle is closed
)

// Init sets what runs once when the pin is closed and the last call and view are over.
func (p *Pin) Init(out func()) { p.out = out }

// Enter reports whether the pin is open; then Leave must follow. While a view is lent it stays so.
func (p *Pin) Enter() bool {
	p.in.StoreRelease(inside) // pairs with Heavy in Close
	if p.closed.Load() == 0 {
		return true
	}
	p.in.StoreRelease(outside)
	return false
}

// Leave is the counterpart of Enter.
func (p *Pin) Leave() { p.in.StoreRelease(outside) }

// Lend turns a call that is inside into a lent view, until Return.
func (p *Pin) Lend() { p.in.Store(lent) }

// Return ends a lent view.
func (p *Pin) Return() {
	if p.in.Swap(outside) == orphan {
		p.once.Do(p.out)
	}
}

// Retake turns a lent view into a call that is inside. It is false if the pin was closed meanwhile; then the call is
// over, as after Return.
func (p *Pin) Retake() bool {
	if p.in.CAS(lent, inside) {
		return true
	}
	p.Return()
	return false
}

// Lent reports whether a view is out. Only the goroutine that uses the handle may ask.
func (p *Pin) Lent() bool { return p.in.Load() >= lent }

// IsClosed reports whether Close was called.
func (p *Pin) IsClosed() bool { return p.closed.Load() != 0 }

// Close lets no call in any more and waits for one that is inside; whoever calls it has seen to it
// that such a call does not block. A lent view is not waited for: its Return does the rest. It
// reports whether it was this call that closed the pin.
func (p *Pin) Close() bool {
	if p.closed.Swap(1) != 0 {
		return false
	}
	for {
		mem.Heavy()
		switch p.in.Load() {
		case outside:
			p.once.Do(p.out)
			return true
		case lent:
			if p.in.CAS(lent, orphan) {
				return true
			}
		default:
			mem.Pause(1)
			time.Sleep(20 * time.Microsecond)
		}
	}
}
