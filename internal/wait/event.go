package wait

import (
	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Event is one 32-bit word in shared memory: a generation, and in bit 0 "somebody may sleep".
//
// A waiter calls Arm, checks its condition once more, sleeps on the word while it holds what Arm
// returned, and starts over. A waker publishes (with StoreRelease or stronger), then calls Wake.
type Event struct{ word *mem.U32 }

const sleepers = 1

// Word is what to sleep on.
func (e Event) Word() *mem.U32 { return e.word }

// NewEvent views a word.
func NewEvent(word *mem.U32) Event { return Event{word} }

// Armed reports that somebody may sleep.
func (e Event) Armed() bool { return e.word.Load()&sleepers != 0 }

// Arm announces a sleeper and returns what the word then holds. What was published before Arm
// returned is visible to the caller's next look; what is published later wakes it.
func (e Event) Arm() uint32 {
	v := e.word.Load()
	for v&sleepers == 0 && !e.word.CAS(v, v|sleepers) {
		v = e.word.Load()
	}
	mem.Heavy() // pairs with the waker's publish, which is not followed by a fence
	return v | sleepers
}

// Wake lets up to n sleepers look again. Without sleepers it is one load.
func (e Event) Wake(n int) {
	if v := e.word.Load(); v&sleepers != 0 {
		e.wakeSlow(v, n)
	}
}

// WakeAll lets every sleeper look again.
func (e Event) WakeAll() { e.Wake(futex.All) }

// Rouse is WakeAll that does not rely on other wakers, one of which may have died between its CAS and its last
// wake-up.
func (e Event) Rouse() {
	Wake(e.word, futex.All)
	v := e.word.Load()
	e.word.CAS(v, (v|sleepers)+1)
	Wake(e.word, futex.All)
}

func (e Event) wakeSlow(v uint32, n int) {
	if Wake(e.word, n) == n {
		return // as many as there is work for
	}
	// Fewer slept. Take the bit back: whoever has armed and is on his way to sleep finds the word
	// changed. But he may fall asleep between our look at the futex and this CAS, on the very value:
	// hence one more call for all.
	if e.word.CAS(v, (v|sleepers)+1) {
		Wake(e.word, futex.All)
	}
}
