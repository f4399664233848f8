package feed

import "time"

// Reader is a subscriber as seen from outside: a glimpse.
type Reader struct {
	Token    uint32
	Messages uint64 // published and not read
	Bytes    uint64 // the same in bytes of the area
	Received uint64
	Missed   uint64 // overwritten before they were read
	Since    time.Time
}

// Stats is a feed as seen from outside, taken without locking.
type Stats struct {
	Published       uint64 // messages
	Bytes           uint64 // payload bytes published
	Kept            uint64 // messages that a newcomer could still get
	Used            uint64 // bytes of the area that they take
	Size            uint64 // bytes of the area
	PublishSleeps   uint64 // how often a publisher slept because a subscriber was slow
	SubscribeSleeps uint64 // how often a subscriber slept because there was nothing
	Closed          bool
	Readers         []Reader // those of the dead too
}

// Stats looks at the feed. An operation in flight may be missing.
func (f *Feed) Stats() Stats {
	s := Stats{Bytes: f.bytes.Load(), Size: f.size, PublishSleeps: f.roomSleeps.Load(), SubscribeSleeps: f.publishedSleeps.Load(), Closed: f.IsClosed()}
	for range joinTries {
		floor, tail := f.floor.Load(), f.tail.Load()
		oldest, last := f.word(floor+wordSize).LoadHint(), f.word(tail+wordSize).LoadHint()
		if f.floor.Load() == floor && f.tail.Load() == tail {
			s.Published, s.Kept, s.Used = last, last-oldest, tail-floor
			break
		}
	}
	for i := range f.inUse() {
		t := f.slot32(i, slotToken).Load()
		if t == 0 || t&joining != 0 {
			continue
		}
		pos, number := f.slot64(i, slotCursor).Load(), f.slot64(i, slotNumber).Load()
		r := Reader{Token: t, Missed: f.slot64(i, slotMissed).Load(), Received: number - f.slot64(i, slotFirst).Load()}
		r.Received -= min(r.Received, r.Missed)
		r.Messages, r.Bytes = f.lag(pos, number)
		if ns := f.slot64(i, slotSince).Load(); ns < 1<<62 {
			r.Since = time.Unix(0, int64(ns))
		}
		s.Readers = append(s.Readers, r)
	}
	return s
}
