package wordlock

import (
	"time"

	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// Size is what one lock record takes, aligned to itself.
const Size = 128

const (
	offWord       = 0  // u32 owner and waiters bit
	offRecoveries = 4  // u32 how often a dead owner was replaced
	offSince      = 8  // u64 Unix ns since which it is held, 0 where not recorded (short holds)
	offContended  = 16 // u64 how often somebody had to sleep for it
	offLine       = 24 // u32 token of one who waited long: newcomers let it go first
	offDamaged    = 28 // u32 1 until what the lock protects is repaired; for user locks, see package mutex
	offWaiters    = 32 // 6 × {u32 token, u32 reserved, u64 Unix ns since which it waits}
	waiterSize    = 16
	maxWaiters    = 6
)

const waitersBit = 1 << 31

// State is a lock as seen from outside, taken without locking: a glimpse.
type State struct {
	Owner      uint32 // token, 0 when free
	Contended  bool   // somebody may be asleep on it
	Since      time.Time
	Recoveries uint32
	Damaged    bool // its owner died, and nobody marked the protected state repaired
	Sleeps     uint64
	Waiters    []Waiter
}

// Waiter is a process that waits for a lock. Tokens of the dead may be among them.
type Waiter struct {
	Token uint32
	Since time.Time
}

// Inspect reads the record at off. At most six waiters are recorded.
func Inspect(s *mem.Span, off int) State {
	v := s.U32(off + offWord).Load()
	st := State{
		Owner:      v &^ waitersBit,
		Contended:  v&waitersBit != 0,
		Recoveries: s.U32(off + offRecoveries).Load(),
		Damaged:    s.U32(off+offDamaged).Load() != 0,
		Since:      unixTime(s.U64(off + offSince).Load()),
		Sleeps:     s.U64(off + offContended).Load(),
	}
	for i := range maxWaiters {
		at := off + offWaiters + i*waiterSize
		if t := s.U32(at).Load(); t != 0 {
			st.Waiters = append(st.Waiters, Waiter{t, unixTime(s.U64(at + 8).Load())})
		}
	}
	return st
}

// Damaged is the word that says that what the lock protects is to be repaired.
func (l *Lock) Damaged() *mem.U32 { return l.span.U32(l.off + offDamaged) }

func unixTime(ns uint64) time.Time {
	if ns == 0 || ns > 1<<62 {
		return time.Time{}
	}
	return time.Unix(0, int64(ns))
}

// Bar sends everybody who locks the record at off the slow way, where he asks his session whether the object is
// still there; and wakes those who sleep for it.
func Bar(s *mem.Span, off int) {
	s.U32(off + offLine).Store(barred)
	wait.Wake(s.U32(off+offLine), futex.All)
	wakeAll(s.U32(off + offWord))
}

// wakeAll lets everybody look around who sleeps on a lock word. The word has no generation that would stop one that
// has looked already and is on its way to sleep: so its bit goes, which it sets again when it has looked once more. The
// last wake-up comes in any case: another one that took the bit away may have died before its own.
func wakeAll(word *mem.U32) {
	wait.Wake(word, futex.All)
	if v := word.Load(); v&waitersBit != 0 {
		word.CAS(v, v&^waitersBit)
	}
	wait.Wake(word, futex.All)
}

// barred stands in the line of a removed object. It is nobody's token, hence a dead one's.
const barred = 1 << 31
