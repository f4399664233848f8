package row

import (
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Topic is a row whose subscribers each read all of it, with a cursor of their own. Its methods may be called
// concurrently; those of Producer belong to whichever goroutine holds the lock, those of Subscriber to one goroutine.
type Topic struct {
	Row
	overwrite      bool
	slack          uint64 // how much more than is needed is given up at a time
	floor          *mem.U64
	used           *mem.U32
	table          *mem.Span
	tableAt, slots int
}

// Slots is where the slots of a topic's subscribers are, in the span of the control words.
type Slots struct{ At, N int }

// OpenTopic views a topic, whose publishers overwrite what slow subscribers have not read, or wait for them. It panics
// on sizes that its caller did not check (see CheckArea, CheckSlots).
func OpenTopic(c Config, slots Slots, overwrite bool) *Topic {
	if err := CheckSlots(uint64(slots.N)); err != nil {
		panic(err)
	}
	t := &Topic{
		overwrite: overwrite, floor: c.Ctl.U64(c.Base + topicFloor), used: c.Ctl.U32(c.Base + topicUsed),
		table: c.Ctl, tableAt: slots.At, slots: slots.N,
	}
	_ = c.Ctl.Bytes(slots.At, slots.N*SlotSize) // it is inside
	t.topic, t.head, t.ahead, t.rouse, t.wordwise = t, wideHead, wideHead, everybody, overwrite
	t.open(c, Published, Room, topicTail, topicBytes, topicBusy)
	t.freed = c.Ctl.U64(c.Base + topicFreed)
	t.seen = t.freed // producers alone move it
	t.slack = t.size / 16
	return t
}

// everybody is more readers than there can be.
const everybody = 1<<31 - 1

// Overwrites reports whether publishers overwrite what slow subscribers have not read.
func (t *Topic) Overwrites() bool { return t.overwrite }

// number is that of the record at a boundary, the tail included (I1).
func (t *Topic) number(pos uint64) uint64 { return t.word(pos + wordSize).Load() }

// passed reports that pos is no longer to be read.
func (t *Topic) passed(pos uint64) bool { return before(pos, t.floor.Load()) }

// Ended says why nothing will ever follow, nil while it may: the topic was removed, or it was closed and no publisher
// that had not noticed yet has published anything.
func (s *Subscriber) Ended() error {
	t := s.t
	if final, err := t.final(); err != nil || !final {
		return err
	}
	if t.word(s.pos).Load() != 0 || t.overwrite && t.passed(s.pos) {
		return nil
	}
	return errs.ErrClosed
}
