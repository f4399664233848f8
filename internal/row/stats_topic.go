package row

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

// TopicStats is a topic as seen from outside, taken without locking.
type TopicStats struct {
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

// Stats looks at the topic. An operation in flight may be missing.
func (t *Topic) Stats() TopicStats {
	s := TopicStats{Bytes: t.bytes.Load(), Size: t.size, PublishSleeps: t.fullSleeps.Load(), SubscribeSleeps: t.emptySleeps.Load(), Closed: t.IsClosed()}
	for range joinTries {
		floor, tail := t.floor.Load(), t.tail.Load()
		oldest, last := t.word(floor+wordSize).LoadHint(), t.word(tail+wordSize).LoadHint()
		if t.floor.Load() == floor && t.tail.Load() == tail {
			s.Published, s.Kept, s.Used = last, last-oldest, tail-floor
			break
		}
	}
	for i := range t.inUse() {
		token := t.slot32(i, slotToken).Load()
		if token == 0 || token&joining != 0 {
			continue
		}
		pos, number := t.slot64(i, slotCursor).Load(), t.slot64(i, slotNumber).Load()
		r := Reader{Token: token, Missed: t.slot64(i, slotMissed).Load(), Received: number - t.slot64(i, slotFirst).Load()}
		r.Received -= min(r.Received, r.Missed)
		r.Messages, r.Bytes = t.lag(pos, number)
		if ns := t.slot64(i, slotSince).Load(); ns < 1<<62 {
			r.Since = time.Unix(0, int64(ns))
		}
		s.Readers = append(s.Readers, r)
	}
	return s
}
