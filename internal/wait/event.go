package wait

import (
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap/internal/bell"
	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Event is one 32-bit word in shared memory: a generation, and bits. Two say "somebody may sleep on
// the futex" and "somebody may have armed its bell". The second has entries beside the word (package
// bell), if the event has room for them.
//
// A waiter calls Arm, checks its condition once more, sleeps, and starts over. A waker publishes
// (with StoreRelease or stronger), then calls Wake.
//
// One of the two sides needs a fence between its store and its load. As long as nobody sleeps, wakers have
// none, and the first sleeper pays for both sides with a heavy fence, which interrupts every processor that
// runs a process of Shiplap: it takes longer than all the rest of a sleep. So this sleeper also asks
// wakers to fence from then on (fences), and once its heavy fence has made sure that every waker has seen
// that, it says so (allFence): then sleepers need no more than a full fence. A waker that has fenced
// many times for nobody takes both bits back.
//
//	sleeper                                  waker
//	set the sleeper's bit and fences         publish
//	heavy fence                              if any bit is set: full fence, look again
//	if the word is unchanged: set allFence   nobody sleeps, for the time QuietMost: clear both
//	later ones, if allFence is set: set the
//	sleeper's bit, no more
//
// Unchanged means that the sleeper's bit was set all the time, so nobody has cleared fences: that is done
// only while no such bit is set, and each time these go the generation is another one.
type Event struct {
	word  *mem.U32
	line  *bell.Line     // nil: futexes only
	quiet *atomic.Uint32 // how often this process has fenced for nobody
}

const (
	onFutex  = 1
	onBell   = 2
	fences   = 4 // wakers fence before they look
	allFence = 8 // and every one of them does that

	anybody    = onFutex | onBell
	generation = 16
)

// Word is what to sleep on.
func (e Event) Word() *mem.U32 { return e.word }

// NewEvent views a word on which goroutines sleep with futexes only.
func NewEvent(word *mem.U32) Event { return WithLine(word, nil) }

// A Ringer is an Owners whose processes have bells.
type Ringer interface {
	// Bell is that of this process, nil if it has none.
	Bell() *bell.Bell
}

// EventAt views an event with entries for bells, which take the bell.LineSize bytes from off on. If
// owners is no Ringer, goroutines of this process sleep with futexes only.
func EventAt(s *mem.Span, off int, owners any) Event {
	e := NewEvent(s.U32(off))
	if r, ok := owners.(Ringer); ok {
		if b := r.Bell(); b != nil {
			e.line = bell.LineAt(s, off, b)
		}
	}
	return e
}

// WithLine is an event with entries at other places than usual.
func WithLine(word *mem.U32, l *bell.Line) Event { return Event{word, l, new(atomic.Uint32)} }

// Armed reports that somebody may sleep.
func (e Event) Armed() bool { return e.word.Load()&anybody != 0 }

// Arm announces a sleeper on the futex and returns what the word then holds. What was published
// before Arm returned is visible to the caller's next look; what is published later wakes it.
func (e Event) Arm() uint32 { return e.announce(onFutex) }

// announce sets a bit. A bell's entry has been made before.
func (e Event) announce(bit uint32) uint32 {
	for {
		v := e.word.Load()
		if v&allFence != 0 {
			if v&bit != 0 || e.word.CAS(v, v|bit) { // the CAS is a full fence; a bit that is set needs none
				return v | bit
			}
			continue
		}
		v, was := v|bit|fences, v
		if !e.word.CAS(was, v) {
			continue
		}
		mem.Heavy() // pairs with the publish of wakers that have not seen the bits, which no fence follows
		if e.word.CAS(v, v|allFence) {
			v |= allFence
		}
		return v
	}
}

// Wake lets up to n sleepers look again. Without sleepers it is one load.
func (e Event) Wake(n int) {
	if e.word.Load()&(anybody|fences) != 0 {
		e.fenceAndWake(n)
	}
}

// fenceAndWake looks for sleepers after a fence. It is also for wakers that have seen a sleeper: others, which
// arm from now on without a heavy fence, must find what was published.
func (e Event) fenceAndWake(n int) {
	mem.Full()
	v := e.word.Load()
	if v&anybody != 0 {
		e.wakeSlow(v, n)
		return
	}
	if v&fences != 0 && e.quiet.Add(1)%QuietMost == 0 {
		e.word.CAS(v, v&^(fences|allFence))
	}
}

// WakeAll lets every sleeper look again.
func (e Event) WakeAll() { e.Wake(futex.All) }

// Rouse is WakeAll that does not rely on other wakers, one of which may have died between its CAS
// and its last wake-up.
func (e Event) Rouse() {
	e.wakeBoth(anybody)
	v := e.word.Load()
	e.word.CAS(v, v&^anybody+generation)
	e.wakeBoth(anybody)
}

func (e Event) wakeSlow(v uint32, n int) {
	futexes, bells := v&onFutex != 0, v&onBell != 0 && e.line != nil
	first := futexes && bells && e.line.Turn()
	if first {
		n -= Wake(e.word, n)
	}
	if bells && n > 0 {
		n -= e.line.Wake(n)
	}
	if futexes && !first && n > 0 {
		n -= Wake(e.word, n)
	}
	if n == 0 {
		return // as many as there is work for
	}
	// Fewer slept. Take the bits back: whoever has armed and is on its way to sleep on the futex
	// finds the word changed. But it may fall asleep between our look at the futex and this CAS, on
	// the very value; and an entry may have come since we looked at it, by a process that saw the
	// bit before it was taken back: hence one more call for all.
	next := v&^anybody + generation
	if e.line == nil {
		next = v&^onFutex + generation // the entries are not ours to look at
	}
	if e.word.CAS(v, next) {
		e.wakeBoth(v)
	}
}

// wakeBoth wakes all sleepers of the kinds whose bits are set.
func (e Event) wakeBoth(bits uint32) {
	if bits&onFutex != 0 {
		Wake(e.word, futex.All)
	}
	if bits&onBell != 0 && e.line != nil {
		e.line.Wake(futex.All)
	}
}
