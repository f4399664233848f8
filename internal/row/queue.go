package row

import (
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Queue is a row whose consumers compete: each record goes to one of them. Queues, pipes and channels are made
// of it. Its methods may be called concurrently; those of Producer and Consumer belong to whichever goroutine holds
// the lock of the side.
type Queue struct {
	Row
	taken, gets, partial    *mem.U64
	cursor, leases, repeats *mem.U64
	again                   *mem.U32

	ConsumerLock *wordlock.Lock
	mover
	anyRecord emptiness
	anyReady  readiness
	announced atomic.Int64 // when this process last had sleepers look who holds records
}

// OpenQueue views a queue, with acknowledgement (ack) or without. It panics on sizes that its caller did not check
// (see CheckArea).
func OpenQueue(c Config, ack bool) *Queue {
	u64 := func(off int) *mem.U64 { return c.Ctl.U64(c.Base + off) }
	q := &Queue{
		taken: u64(offTaken), gets: u64(offGets), partial: u64(offPartial),
		cursor: u64(offCursor), leases: u64(offLeases), repeats: u64(offRepeats),
		again:        c.Ctl.U32(c.Base + offAgain),
		ConsumerLock: wordlock.New(c.Ctl, c.Base+ConsumerLock, c.Owners, c.Sess),
	}
	q.queue, q.head, q.ahead, q.rouse = q, wordSize, wordSize, 1
	if ack {
		q.head = wideHead
	}
	q.open(c, NotEmpty, NotFull, offTail, offBytes, offBusy)
	q.freed, q.seen = q.taken, u64(offSeen)
	q.puts, q.high = u64(offPuts), u64(offHigh)
	q.openMoves(c)
	q.ConsumerLock.Stop = func() error { return q.Drained(q.taken.Load()) }
	q.anyRecord.q, q.anyReady.q = q, q
	return q
}

// Ack reports whether deliveries are acknowledged.
func (r *Row) Ack() bool { return r.queue != nil && r.head > wordSize }

// Drained says why an empty queue will stay so, nil while it may not: it was removed, or it was closed
// and no producer that had not noticed yet has put anything at pos, which is the tail.
func (q *Queue) Drained(pos uint64) error {
	if final, err := q.final(); err != nil || !final {
		return err
	}
	if q.word(pos).LoadHint() != 0 || q.taken.Load() != pos {
		return nil // the second: others took it, and what stands there now is anything
	}
	return errs.ErrClosed
}

// QueueStats is a queue as seen from outside, taken without locking.
type QueueStats struct {
	Puts, Gets   uint64 // records put, and taken or acknowledged
	Depth        uint64 // records in it, those handed out but not acknowledged included
	Bytes        uint64 // payload bytes put in all
	Used         uint64 // bytes in use now, headers included
	Size         uint64 // bytes of the area
	HighWater    uint64 // most bytes ever in use, to 1/64 of Size
	PutSleeps    uint64 // how often a producer slept because it was full
	GetSleeps    uint64 // how often a consumer slept because it was empty
	Deliveries   uint64 // with acknowledgement: handed out
	Redeliveries uint64 // of those, not for the first time
	Buried       uint64 // handed out as often as they may be, and moved to another queue
	Dropped      uint64 // the same, dropped
	Closed       bool
}

// Stats looks at the queue. Counters of an operation in flight may be missing.
func (q *Queue) Stats() (QueueStats, error) {
	s := QueueStats{
		Puts: q.puts.Load(), Gets: q.gets.Load(), Bytes: q.bytes.Load(), Size: q.size, HighWater: q.high.Load(),
		PutSleeps: q.fullSleeps.Load(), GetSleeps: q.emptySleeps.Load(),
		Deliveries: q.leases.Load(), Redeliveries: q.repeats.Load(),
		Buried: q.buried.Load(), Dropped: q.dropped.Load(), Closed: q.IsClosed(),
	}
	for range 1000 { // positions move while we look; a quiet moment comes soon
		taken := q.taken.Load()
		tail := q.tail.Load()
		if tail-taken > q.size { // the tail lags after a death
			tail = taken
		}
		end, _, n, err := q.walk(tail)
		if q.taken.Load() != taken {
			continue
		}
		if err != nil {
			return s, err
		}
		s.Used = end - taken
		first := q.word(taken).Load()
		switch {
		case end == taken:
		case first != 0 && n > 0:
			s.Depth = s.Puts + n - extend(s.Gets+1, first) + 1
		case first != 0:
			s.Depth = s.Puts - extend(s.Gets+1, first) + 1
		}
		break
	}
	s.HighWater = max(s.HighWater, s.Used)
	if s.Depth > s.Size/wordSize {
		s.Depth = 0
	}
	return s, nil
}
