package bell

import (
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Entries is how many processes can have sleepers on one event. The others sleep on futexes.
const Entries = 14

// EntriesAt is where the entries lie, from the event's word on.
const EntriesAt = 16

// LineSize is the memory of an event with entries.
const LineSize = EntriesAt + 8*Entries

// An entry is a token, a ticket and a count: so many goroutines of that process sleep here, which
// it knows by the ticket.
const (
	ticketShift = 32
	ticketMask  = 1<<24 - 1
	countShift  = 56
	countMost   = 255
	oneSleeper  = 1 << countShift
	whose       = oneSleeper - 1
)

// attempts bounds how often an operation tries again because an entry changed under it: hostile
// bytes change for ever.
const attempts = 1000

// Line is one process's view of the entries of an event.
type Line struct {
	word    *mem.U32
	entries []*mem.U64
	bell    *Bell
	turn    atomic.Uint32 // where the next wake-up begins to look
	kinds   atomic.Uint32 // how often there were sleepers of both kinds
}

// NewLine views entries of the event at word.
func NewLine(word *mem.U32, entries []*mem.U64, b *Bell) *Line {
	return &Line{word: word, entries: entries, bell: b}
}

// LineAt views the entries of the event at off.
func LineAt(s *mem.Span, off int, b *Bell) *Line {
	entries := make([]*mem.U64, Entries)
	for i := range entries {
		entries[i] = s.U64(off + EntriesAt + 8*i)
	}
	return NewLine(s.U32(off), entries, b)
}

// add says that one more goroutine sleeps here. It is not ok if all entries are taken.
func (l *Line) add(token, ticket uint32) (ok bool) {
	mine := uint64(token) | uint64(ticket)<<ticketShift
	for range attempts {
		at, old := l.find(mine)
		if at < 0 {
			return false
		}
		v := mine | oneSleeper
		if old&whose == mine {
			v = old + oneSleeper
		}
		if l.entries[at].CAS(old, v) {
			return true
		}
	}
	return false
}

// find returns the entry to add a sleeper to: one of ours, a free one, or one whose owner is dead.
// at is -1 if there is none.
func (l *Line) find(mine uint64) (at int, v uint64) {
	at = -1
	for i, e := range l.entries {
		switch old := e.Load(); {
		case old>>countShift == 0:
			if at < 0 {
				at, v = i, old
			}
		case old&whose == mine && old>>countShift < countMost:
			return i, old
		}
	}
	if at >= 0 {
		return at, v
	}
	for i, e := range l.entries {
		old := e.Load()
		if old>>countShift == 0 || l.bell.home.Dead(uint32(old)) {
			return i, old
		}
	}
	return -1, 0
}

// drop takes one sleeper of ours off again. It is not ok if none is left: a waker has taken it.
func (l *Line) drop(token, ticket uint32) (ok bool) {
	mine := uint64(token) | uint64(ticket)<<ticketShift
	for _, e := range l.entries {
		for range attempts {
			old := e.Load()
			if old&whose != mine || old>>countShift == 0 {
				break
			}
			if e.CAS(old, less(old, 1)) {
				return true
			}
		}
	}
	return false
}

// has reports that a sleeper of ours is there.
func (l *Line) has(token, ticket uint32) bool {
	mine := uint64(token) | uint64(ticket)<<ticketShift
	for _, e := range l.entries {
		if v := e.Load(); v&whose == mine && v>>countShift != 0 {
			return true
		}
	}
	return false
}

// less is an entry with n sleepers less; without any it is free.
func less(v uint64, n int) uint64 {
	if v -= uint64(n) << countShift; v>>countShift == 0 {
		return 0
	}
	return v
}

// Turn is true every other time: the sleepers on the futex are woken first then.
func (l *Line) Turn() bool { return l.kinds.Add(1)&1 == 0 }

// Wake takes up to n sleepers off the entries, rings for each, and returns how many that were. A
// ring that cannot arrive, because its owner is gone, does not count.
func (l *Line) Wake(n int) (woken int) {
	start := int(l.turn.Add(1) % uint32(len(l.entries)))
	for i := range l.entries {
		if woken >= n {
			break
		}
		at := start + i
		if at >= len(l.entries) {
			at -= len(l.entries)
		}
		woken += l.wakeOne(l.entries[at], n-woken)
	}
	return woken
}

func (l *Line) wakeOne(e *mem.U64, n int) (woken int) {
	for range attempts {
		v := e.Load()
		k := min(n, int(v>>countShift))
		if k == 0 {
			return 0
		}
		if e.CAS(v, less(v, k)) {
			if l.bell.ring(uint32(v), uint32(v>>ticketShift)&ticketMask, k) {
				return k
			}
			return 0
		}
	}
	return 0
}
