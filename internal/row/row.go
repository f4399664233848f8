package row

import (
	"fmt"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Bits of the state word, which the owner of the row provides.
const (
	Removed uint32 = 1 << 0
	Closed  uint32 = 1 << 1 // no more puts
	Deaf    uint32 = 1 << 2 // nobody will take what is put; in queues only
)

// Row is what a queue and a topic have in common, as one process sees it: the area with its records, and
// the side that puts. Its methods may be called concurrently.
type Row struct {
	area     mem.Area
	size     uint64
	longest  uint64   // payload that fits
	accept   uint64   // longest payload that is copied out here
	head     uint64   // bytes before the payload: 8, or 16 with a second word
	ahead    uint64   // bytes that are prepared behind the tail (I1): 8, or 16 with a number
	wordwise bool     // payloads are stored word by word: see copyWords
	rouse    uint64   // how many readers one commit wakes at least
	state    *mem.U32 // closed, deaf
	owner    *mem.U32 // removed

	tail, bytes       *mem.U64
	freed             *mem.U64 // what lies before it may be overwritten: taken in queues
	seen              *mem.U64 // a past value of freed, on the line of the producers
	busy              *mem.U32
	puts, high        *mem.U64 // nil in topics, where the number word counts
	notEmpty, notFull wait.Event
	emptySleeps       *mem.U64
	fullSleeps        *mem.U64

	queue *Queue // one of the two is nil
	topic *Topic

	ProducerLock     *wordlock.Lock
	Sess             *wait.Session
	Owners           wordlock.Owners
	putSpin, getSpin wait.Spinner
	putsDry, getsDry atomic.Uint64 // as Producer.dry and Consumer.dry, for shared handles

	// ProducersGone and ConsumersGone, if set, are asked by those who wait on an empty or a full
	// row for a reason why that is in vain: the other end of a pipe is gone. They name to the call
	// the process whose death would be such a reason.
	ProducersGone, ConsumersGone func(*wait.Call) error
}

// Config is what a row is opened over.
type Config struct {
	Ctl    *mem.Span // control words at Base
	Base   int
	Area   *mem.Span
	State  *mem.U32 // Closed and Deaf of this row
	Object *mem.U32 // Removed of the object it belongs to; may be the same word
	Owners wordlock.Owners
	Sess   *wait.Session
	Mode   wait.Mode

	Moves         *mem.Span // of queues: a table of moves at MovesAt, and a name at NameAt; nil if no records are moved
	MovesAt       int
	NameAt        int
	ID            uint64 // of the object, for moves
	MaxDeliveries uint32 // how often a record is handed out, 0 for no limit
}

// open views the side that puts; its control words are those that queues have at tail, bytes and busy.
func (r *Row) open(c Config, notEmpty, notFull, tail, bytes, busy int) {
	if err := CheckArea(uint64(c.Area.Len())); err != nil {
		panic(err)
	}
	u64 := func(off int) *mem.U64 { return c.Ctl.U64(c.Base + off) }
	event := func(off int) wait.Event { return wait.EventAt(c.Ctl, c.Base+off, c.Owners) }
	r.area, r.size, r.state, r.owner = mem.NewArea(c.Area), uint64(c.Area.Len()), c.State, c.Object
	r.notEmpty, r.notFull = event(notEmpty), event(notFull)
	r.emptySleeps, r.fullSleeps = u64(notEmpty+sleepsAt), u64(notFull+sleepsAt)
	r.tail, r.bytes, r.busy = u64(tail), u64(bytes), c.Ctl.U32(c.Base+busy)
	r.ProducerLock = wordlock.New(c.Ctl, c.Base+ProducerLock, c.Owners, c.Sess)
	r.ProducerLock.Stop = func() error { return r.check(true) }
	r.Sess, r.Owners = c.Sess, c.Owners
	r.longest = min(r.size-r.head-r.ahead, 1<<32-1)
	r.accept = r.longest
	r.putSpin.SetMode(c.Mode)
	r.getSpin.SetMode(c.Mode)
}

// MaxPayload is the longest message that fits.
func (r *Row) MaxPayload() int { return int(r.longest) }

func (r *Row) recordSize(n int) uint64 { return r.head + pad(uint64(n)) }

func (r *Row) word(pos uint64) *mem.U64 { return r.area.Word(pos) }

// check is why nothing can be put (put) or taken at all, by the state word.
func (r *Row) check(put bool) error {
	s := r.flags()
	if s == 0 {
		return nil
	}
	if s&Removed != 0 {
		return errs.ErrRemoved
	}
	if put && s&Closed != 0 {
		return errs.ErrClosed
	}
	if put && s&Deaf != 0 {
		return errs.ErrPeerGone
	}
	return nil
}

func (r *Row) flags() uint32 { return r.state.Load() | r.owner.Load() }

// Close lets nobody put any more; readers get what is there. Closing twice is fine.
func (r *Row) Close() {
	r.state.Or(Closed)
	r.WakeEverybody()
	r.ProducerLock.WakeAll() // behind an exclusive handle
	if r.queue != nil {
		r.queue.ConsumerLock.WakeAll()
	}
}

// Deafen tells producers that nobody will take what they put.
func (r *Row) Deafen() {
	r.state.Or(Deaf)
	r.WakeEverybody()
}

// WakeEverybody lets all who wait look around.
func (r *Row) WakeEverybody() {
	r.notEmpty.WakeAll()
	r.notFull.WakeAll()
}

// IsClosed reports whether Close was called, in any process.
func (r *Row) IsClosed() bool { return r.state.Load()&Closed != 0 }

// Fits reports an error if no message of n bytes can ever be put.
func (r *Row) Fits(n int) error {
	if n < 0 || n > r.MaxPayload() {
		return fmt.Errorf("%w: a message of %d bytes, at most %d fit", errs.ErrTooLarge, n, r.MaxPayload())
	}
	return nil
}

// Accept bounds the messages that are copied out through this view, before its first use; 0 is no bound.
func (r *Row) Accept(n int) {
	if n > 0 {
		r.accept = min(r.longest, uint64(n))
	}
}

// accepts is an error if this view does not take messages of n bytes. Such a message stays where it is.
func (r *Row) accepts(n uint64) error {
	if n > r.accept {
		return fmt.Errorf("%w: the next message has %d bytes, this handle accepts %d; it stays where it is", errs.ErrTooLarge, n, r.accept)
	}
	return nil
}

// parse checks a header word and returns the whole size of its record.
func (r *Row) parse(h uint64) (size uint64, err error) {
	if !isHeader(h) {
		return 0, fmt.Errorf("%w: record header %#x", errs.ErrCorrupt, h)
	}
	if payloadLen(h) > r.longest {
		return 0, fmt.Errorf("%w: a record of %d bytes in an area of %d", errs.ErrCorrupt, payloadLen(h), r.size)
	}
	return r.head + pad(payloadLen(h)), nil
}

// span checks that from..to can be positions of one moment.
func (r *Row) span(from, to uint64) error {
	if from&7 != 0 || to&7 != 0 || to-from > r.size {
		return fmt.Errorf("%w: positions %#x and %#x are not within %d bytes of each other", errs.ErrCorrupt, from, to, r.size)
	}
	return nil
}

// walk follows committed records from pos to the tail.
func (r *Row) walk(pos uint64) (tail uint64, last uint64, n uint64, err error) {
	for from := pos; ; n++ {
		h := r.word(pos).Load()
		if h == 0 {
			return pos, last, n, nil
		}
		size, err := r.parse(h)
		if err != nil {
			return 0, 0, 0, err
		}
		if pos += size; pos-from > r.size {
			return 0, 0, 0, fmt.Errorf("%w: the records have no end", errs.ErrCorrupt)
		}
		last = h
	}
}

// view is the n bytes at pos; where they are not contiguous, a copy.
func (r *Row) view(pos uint64, n int) []byte {
	b := r.area.Slice(pos, n)
	if b == nil {
		b = make([]byte, n)
		r.area.CopyOut(b, pos)
	}
	return b
}

// over reports whether a reader that has found nothing should ask final. A producer that is busy in a
// closed row will wake it.
func (r *Row) over() bool {
	s := r.flags()
	return s&Removed != 0 || s&Closed != 0 && r.busy.Load() == 0
}

// final reports that nothing will be committed any more that is not there already: the row was closed, and
// no producer is left that had not noticed. An error says that the row was removed.
func (r *Row) final() (bool, error) {
	if err := r.check(false); err != nil {
		return false, err
	}
	if !r.IsClosed() {
		return false, nil
	}
	// A producer stores busy, then looks at the state word, then commits. After Heavy it has either
	// seen that the row is closed, or we see it busy, or we see what it committed.
	mem.Heavy()
	if r.busy.Load() != 0 {
		ok, _ := r.ProducerLock.TryLock()
		if !ok {
			mem.Pause(100)
			return false, nil // alive and about to commit or to give up
		}
		if err := r.resumeUnlock(); err != nil { // its owner died: this clears busy
			return false, err
		}
	}
	return true, nil
}

func (r *Row) resumeUnlock() error {
	defer r.ProducerLock.Unlock()
	var p Producer
	return p.Resume(r)
}
