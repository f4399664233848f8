package feed

import (
	"fmt"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Feed is one process's view of a feed. Its methods may be called concurrently; those of Publisher belong to whoever
// holds the lock, those of Subscriber to one goroutine.
type Feed struct {
	area      mem.Area
	size      uint64
	longest   uint64 // payload that fits
	accept    uint64 // longest payload that is read here
	slack     uint64 // how much more than is needed is given up at a time
	overwrite bool
	state     *mem.U32

	tail, freed, bytes *mem.U64
	busy               *mem.U32
	floor              *mem.U64
	used               *mem.U32
	published, room    wait.Event
	publishedSleeps    *mem.U64
	roomSleeps         *mem.U64
	table              *mem.Span
	tableAt, slots     int

	Lock             *wordlock.Lock
	Sess             *wait.Session
	Owners           wordlock.Owners
	pubSpin, subSpin wait.Spinner
	pubDry           atomic.Uint64 // as Publisher.dry, for shared handles
}

// Config is what a feed is opened over.
type Config struct {
	Ctl       *mem.Span // control words at Base, slots at Table
	Base      int
	Table     int
	Slots     int
	Area      *mem.Span
	State     *mem.U32
	Overwrite bool
	Owners    wordlock.Owners
	Sess      *wait.Session
	Mode      wait.Mode
}

// Open views a feed. It panics on sizes that its caller did not check (see CheckArea, CheckSlots).
func Open(c Config) *Feed {
	for _, err := range []error{CheckArea(uint64(c.Area.Len())), CheckSlots(uint64(c.Slots))} {
		if err != nil {
			panic(err)
		}
	}
	u32 := func(off int) *mem.U32 { return c.Ctl.U32(c.Base + off) }
	u64 := func(off int) *mem.U64 { return c.Ctl.U64(c.Base + off) }
	f := &Feed{
		area: mem.NewArea(c.Area), size: uint64(c.Area.Len()), overwrite: c.Overwrite, state: c.State,
		tail: u64(offTail), freed: u64(offFreed), bytes: u64(offBytes), busy: u32(offBusy), floor: u64(offFloor), used: u32(offUsed),
		published: wait.NewEvent(u32(Published)), room: wait.NewEvent(u32(Room)), publishedSleeps: u64(Published + sleepsAt), roomSleeps: u64(Room + sleepsAt),
		table: c.Ctl, tableAt: c.Table, slots: c.Slots,
		Lock: wordlock.New(c.Ctl, c.Base+PublisherLock, c.Owners, c.Sess),
		Sess: c.Sess, Owners: c.Owners,
	}
	f.longest = min(f.size-recordHead-recordHead, 1<<32-1)
	f.accept = f.longest
	f.slack = f.size / 16
	f.Lock.Stop = func() error { return f.check(true) }
	_ = c.Ctl.Bytes(c.Table, c.Slots*SlotSize) // it is inside
	f.pubSpin.SetMode(c.Mode)
	f.subSpin.SetMode(c.Mode)
	return f
}

// MaxPayload is the longest message that fits.
func (f *Feed) MaxPayload() int { return int(f.longest) }

// Overwrites reports whether publishers overwrite what slow subscribers have not read.
func (f *Feed) Overwrites() bool { return f.overwrite }

func (f *Feed) word(pos uint64) *mem.U64 { return f.area.Word(pos) }

func recordSize(n int) uint64 { return recordHead + pad(uint64(n)) }

// check is why nothing can be published (put) or read at all, by the state word.
func (f *Feed) check(put bool) error {
	s := f.state.Load()
	if s&(Removed|Closed) == 0 {
		return nil
	}
	if s&Removed != 0 {
		return errs.ErrRemoved
	}
	if put {
		return errs.ErrClosed
	}
	return nil
}

// Close lets nobody publish any more; subscribers read what is there. Closing twice is fine.
func (f *Feed) Close() {
	f.state.Or(Closed)
	f.published.WakeAll()
	f.room.WakeAll()
	f.Lock.WakeAll()
}

// IsClosed reports whether Close was called, in any process.
func (f *Feed) IsClosed() bool { return f.state.Load()&Closed != 0 }

// Fits reports an error if no message of n bytes can ever be published.
func (f *Feed) Fits(n int) error {
	if n < 0 || n > f.MaxPayload() {
		return fmt.Errorf("%w: a message of %d bytes, at most %d fit", errs.ErrTooLarge, n, f.MaxPayload())
	}
	return nil
}

// Accept bounds the messages that are read through this view, before its first use; 0 is no bound.
func (f *Feed) Accept(n int) {
	if n > 0 {
		f.accept = min(f.longest, uint64(n))
	}
}

// parse checks a header word and returns the whole size of its record.
func (f *Feed) parse(h uint64) (size uint64, err error) {
	if h&(1<<numShift-1)>>32 != 1 || payloadLen(h) > f.longest {
		return 0, fmt.Errorf("%w: record header %#x in a topic of %d bytes", errs.ErrCorrupt, h, f.size)
	}
	return recordHead + pad(payloadLen(h)), nil
}

// span checks that from..to can be positions of one moment.
func (f *Feed) span(from, to uint64) error {
	if from&7 != 0 || to&7 != 0 || to-from > f.size {
		return fmt.Errorf("%w: topic positions %#x and %#x are not within %d bytes of each other", errs.ErrCorrupt, from, to, f.size)
	}
	return nil
}

// passed reports that pos is no longer to be read.
func (f *Feed) passed(pos uint64) bool { return before(pos, f.floor.Load()) }

const (
	burstLeast = 16  // messages without a wait between that make a burst
	burstPause = 200 // pause hints
)

// burst is called when a side runs dry after n messages without a wait. If those were many, the other side is at work
// as well: it lets that get ahead for a moment. The result says that a moment went by.
func burst(n uint64, s *wait.Spinner) bool {
	if n < burstLeast || !s.Useful() {
		return false
	}
	mem.Pause(burstPause)
	return true
}
