package wait

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Spinner decides how long one side of one handle polls before it sleeps. It lives in the process,
// and may be used by several goroutines at once.
//
// A sleep and the wake-up that ends it cost as much as some tens of microseconds of polling, so
// that is the most it ever spends. While polls succeed the budget follows the time they took; each
// failure halves it, down to nothing. From nothing a long poll is tried now and then, ever more
// rarely while it fails: two processes that answer each other at once get out of a phase in which
// both slept, and nobody burns a CPU that the other side needs.
//
// A goroutine that polls for more than an instant lets others of its process run now and then, and does not
// poll while as many others do as may: it sleeps instead. Not more often than every spinTurn: where a processor of the
// process is idle, runtime.Gosched wakes a thread for it, which takes some microseconds of what is being waited for.
type Spinner struct {
	mode   Mode
	budget atomic.Int32 // in pause hints
	idle   atomic.Int32 // waits since the budget fell to nothing
	period atomic.Int32 // of the tries from nothing
}

const (
	spinMost   = 50 * time.Microsecond
	spinLeast  = 3 * time.Microsecond
	spinLong   = 10 * time.Millisecond // mode Spin
	spinTurn   = 20 * time.Microsecond // until others of the process get their turn
	eager      = 16                    // polls before the first pause hint
	clockEvery = 64                    // polls between two looks at the clock, in mode Spin
	glances    = 300
	tryFirst   = 8
	trySeldom  = 1024
	growFactor = 4
)

// polling is how many goroutines of this process poll with pauses, in mode Adaptive.
var polling atomic.Int32

// pollers is how many may: the others would take processors from each other, and from those that have something to do.
var pollers = sync.OnceValue(func() int32 { return int32(max(1, runtime.NumCPU()/2)) })

var spinLimits = sync.OnceValue(func() (l struct{ least, most, long, turn int32 }) {
	if runtime.NumCPU() == 1 {
		return l // whoever we wait for needs this CPU
	}
	p := mem.PauseTime()
	l.least, l.most, l.long = int32(spinLeast/p)+1, int32(spinMost/p)+1, int32(spinLong/p)+1
	l.turn = int32(spinTurn/p) + 1
	return l
})

// SetMode prepares the spinner; before first use.
func (s *Spinner) SetMode(m Mode) {
	s.mode = m
	s.budget.Store(spinLimits().most)
	s.period.Store(tryFirst)
}

// poll is the state of one poll loop: see Poll.
type poll struct {
	s        *Spinner
	i, limit int32
	turn     int32         // when others get their turn
	counted  bool          // in polling
	end      time.Duration // in mode Spin, from the first look at the clock on
}

// Glance polls a word that another process is about to set, without a pause and for less than a
// microsecond, and reports whether it is set. It is the first part of waiting where polling is Useful.
func Glance(w *mem.U64) bool {
	for range glances {
		if w.Load() != 0 {
			return true
		}
	}
	return false
}

// Useful reports whether polling has paid lately.
func (s *Spinner) Useful() bool { return s.mode != Sleep && s.budget.Load() > 0 }

// start begins a poll; stop must follow.
func (s *Spinner) start() poll {
	l := spinLimits()
	switch s.mode {
	case Sleep:
		return poll{s: s}
	case Spin:
		return poll{s: s, limit: l.long + eager, turn: l.turn}
	}
	n := s.budget.Load()
	if n == 0 && l.most > 0 {
		if s.idle.Add(1) >= s.period.Load() {
			s.idle.Store(0)
			n = l.most
		}
	}
	if n > 0 {
		n += eager
	}
	return poll{s: s, limit: n, turn: l.turn}
}

// next spends a moment; false says that it is time to sleep.
func (p *poll) next() bool {
	if p.i >= p.limit {
		p.miss()
		return false
	}
	if p.i++; p.i <= eager {
		return true
	}
	if p.i == eager+1 && !p.enter() {
		return false // which says nothing of whether it would have paid
	}
	mem.Pause(1)
	if p.i >= p.turn && !mem.IsReproducible() {
		p.turn = p.i + spinLimits().turn
		runtime.Gosched()
	}
	if p.i%clockEvery == 0 && p.s.mode == Spin && p.late() {
		p.limit = p.i
	}
	return true
}

// enter counts the goroutine among those that poll, unless those are enough.
func (p *poll) enter() bool {
	if p.s.mode == Spin {
		return true
	}
	if polling.Add(1) > pollers() {
		polling.Add(-1)
		return false
	}
	p.counted = true
	return true
}

// stop ends a poll.
func (p *poll) stop() {
	if p.counted {
		p.counted = false
		polling.Add(-1)
	}
}

// late reports that the time of a long poll is over. The count of pauses does not say it: a virtual machine may be
// taken off its processor for pausing much, a process for using it up.
func (p *poll) late() bool {
	if mem.IsReproducible() {
		return false
	}
	now := Now()
	if p.end == 0 {
		p.end = now + spinLong
	}
	return now >= p.end
}

// Poll polls until ready or until it is time to sleep, which false says.
func (s *Spinner) Poll(r interface{ Ready() bool }) bool {
	p := s.start()
	defer p.stop() // also if the memory faults
	for {
		if r.Ready() {
			p.hit()
			return true
		}
		if !p.next() {
			return false
		}
	}
}

// hit tells that the condition came true while polling.
func (p *poll) hit() {
	if p.i <= eager || p.s.mode != Adaptive {
		return // too quick to learn from
	}
	l := spinLimits()
	want := min(max(growFactor*(p.i-eager), l.least), l.most)
	b := p.s.budget.Load()
	if want < b {
		want = max(want, b-b/8)
	}
	if want != b {
		p.s.budget.Store(want)
		p.s.period.Store(tryFirst)
	}
}

func (p *poll) miss() {
	if p.s.mode != Adaptive || p.limit == 0 {
		return
	}
	b := p.s.budget.Load()
	if b == 0 {
		p.s.period.Store(min(2*p.s.period.Load(), trySeldom))
		return
	}
	if b /= 2; b < spinLimits().least {
		b = 0
	}
	p.s.budget.Store(b)
}
