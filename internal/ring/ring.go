package ring

import (
	"fmt"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Bits of the state word, which the owner of the ring provides.
const (
	Removed uint32 = 1 << 0
	Closed  uint32 = 1 << 1 // no more puts
	Deaf    uint32 = 1 << 2 // nobody will take what is put
)

// Ring is one process's view of a ring. Its methods may be called concurrently; those of Producer
// and Consumer belong to whoever holds the lock of the side.
type Ring struct {
	area    mem.Area
	size    uint64
	longest uint64   // payload that fits
	accept  uint64   // longest payload that is copied out here
	hdr     uint64   // bytes before the payload: 8, or 16 with acknowledgement
	state   *mem.U32 // closed, deaf
	owner   *mem.U32 // removed

	tail, puts, bytes, high, seen *mem.U64
	taken, gets, partial          *mem.U64
	cursor, leases, repeats       *mem.U64
	busy, again                   *mem.U32
	notEmpty, notFull             wait.Event
	emptySleeps, fullSleeps       *mem.U64

	ProducerLock, ConsumerLock *wordlock.Lock
	Sess                       *wait.Session
	Owners                     wordlock.Owners
	putSpin, getSpin           wait.Spinner
	putsDry, getsDry           atomic.Uint64 // as Producer.dry and Consumer.dry, for shared handles
	anyRecord                  emptiness
	anyReady                   readiness
	announced                  atomic.Int64 // when this process last had sleepers look who holds records

	// ProducersGone and ConsumersGone, if set, are asked by those who wait on an empty or a full
	// ring for a reason why that is in vain: the other end of a pipe is gone. They name to the call
	// the process whose death would be such a reason.
	ProducersGone, ConsumersGone func(*wait.Call) error
}

// Config is what a ring is opened over.
type Config struct {
	Ctl    *mem.Span // control words at Base
	Base   int
	Area   *mem.Span
	State  *mem.U32 // Closed and Deaf of this ring
	Object *mem.U32 // Removed of the object it belongs to; may be the same word
	Ack    bool
	Owners wordlock.Owners
	Sess   *wait.Session
	Mode   wait.Mode
}

// Open views a ring. It panics on sizes that its caller did not check (see CheckArea).
func Open(c Config) *Ring {
	if err := CheckArea(uint64(c.Area.Len())); err != nil {
		panic(err)
	}
	u64 := func(off int) *mem.U64 { return c.Ctl.U64(c.Base + off) }
	r := &Ring{
		area: mem.NewArea(c.Area), size: uint64(c.Area.Len()), hdr: wordSize, state: c.State, owner: c.Object,
		tail: u64(offTail), puts: u64(offPuts), bytes: u64(offBytes), high: u64(offHigh), seen: u64(offSeen),
		taken: u64(offTaken), gets: u64(offGets), partial: u64(offPartial),
		cursor: u64(offCursor), leases: u64(offLeases), repeats: u64(offRepeats),
		busy: c.Ctl.U32(c.Base + offBusy), again: c.Ctl.U32(c.Base + offAgain),
		notEmpty: wait.NewEvent(c.Ctl.U32(c.Base + NotEmpty)), notFull: wait.NewEvent(c.Ctl.U32(c.Base + NotFull)),
		emptySleeps: u64(NotEmpty + sleepsAt), fullSleeps: u64(NotFull + sleepsAt),
		ProducerLock: wordlock.New(c.Ctl, c.Base+ProducerLock, c.Owners, c.Sess),
		ConsumerLock: wordlock.New(c.Ctl, c.Base+ConsumerLock, c.Owners, c.Sess),
		Sess:         c.Sess,
		Owners:       c.Owners,
	}
	r.ProducerLock.Stop = func() error { return r.check(true) }
	r.ConsumerLock.Stop = func() error { return r.Drained(r.taken.Load()) }
	if c.Ack {
		r.hdr = 2 * wordSize
	}
	r.anyRecord.r, r.anyReady.r = r, r
	r.longest = uint64(r.MaxPayload())
	r.accept = r.longest
	r.putSpin.SetMode(c.Mode)
	r.getSpin.SetMode(c.Mode)
	return r
}

// CheckArea reports whether an area may have that many bytes.
func CheckArea(n uint64) error {
	if n < MinArea || n > MaxArea || n&(n-1) != 0 {
		return fmt.Errorf("%w: a ring of %d bytes: not a power of two from %d to %d", errs.ErrCorrupt, n, MinArea, MaxArea)
	}
	return nil
}

// MaxPayload is the longest message that fits.
func (r *Ring) MaxPayload() int { return int(min(r.size-r.hdr-wordSize, 1<<32-1)) }

// Ack reports whether deliveries are acknowledged.
func (r *Ring) Ack() bool { return r.hdr > wordSize }

func (r *Ring) recordSize(n int) uint64 { return r.hdr + pad(uint64(n)) }

func (r *Ring) word(pos uint64) *mem.U64 { return r.area.Word(pos) }

// check is why nothing can be put (put) or taken at all, by the state word.
func (r *Ring) check(put bool) error {
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

func (r *Ring) flags() uint32 { return r.state.Load() | r.owner.Load() }

// Close lets nobody put any more; consumers drain what is there. Closing twice is fine.
func (r *Ring) Close() {
	r.state.Or(Closed)
	r.WakeEverybody()
	r.ProducerLock.WakeAll() // behind an exclusive handle
	r.ConsumerLock.WakeAll()
}

// Deafen tells producers that nobody will take what they put.
func (r *Ring) Deafen() {
	r.state.Or(Deaf)
	r.WakeEverybody()
}

// WakeEverybody lets all who wait look around.
func (r *Ring) WakeEverybody() {
	r.notEmpty.WakeAll()
	r.notFull.WakeAll()
}

// IsClosed reports whether Close was called, in any process.
func (r *Ring) IsClosed() bool { return r.state.Load()&Closed != 0 }

// parse checks a header word and returns the whole size of its record.
func (r *Ring) parse(h uint64) (size uint64, err error) {
	if h&(1<<seqShift-1)>>32 != 1 {
		return 0, fmt.Errorf("%w: record header %#x", errs.ErrCorrupt, h)
	}
	size = r.hdr + pad(payloadLen(h))
	if size+wordSize > r.size {
		return 0, fmt.Errorf("%w: a record of %d bytes in a ring of %d", errs.ErrCorrupt, payloadLen(h), r.size)
	}
	return size, nil
}

// Accept bounds the messages that are copied out through this view, before its first use; 0 is no bound.
func (r *Ring) Accept(n int) {
	if n > 0 {
		r.accept = min(r.longest, uint64(n))
	}
}

// accepts is an error if this view does not take messages of n bytes. Such a message stays where it is.
func (r *Ring) accepts(n uint64) error {
	if n > r.accept {
		return fmt.Errorf("%w: the next message has %d bytes, this handle accepts %d; it stays in the ring", errs.ErrTooLarge, n, r.accept)
	}
	return nil
}

// span checks that from..to can be positions of one moment.
func (r *Ring) span(from, to uint64) error {
	if from&7 != 0 || to&7 != 0 || to-from > r.size {
		return fmt.Errorf("%w: ring positions %#x and %#x are not within %d bytes of each other", errs.ErrCorrupt, from, to, r.size)
	}
	return nil
}

// walk follows committed records from pos to the tail.
func (r *Ring) walk(pos uint64) (tail uint64, last uint64, n uint64, err error) {
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
			return 0, 0, 0, fmt.Errorf("%w: the records of the ring have no end", errs.ErrCorrupt)
		}
		last = h
	}
}

// view is the n bytes at pos; where they are not contiguous, a copy.
func (r *Ring) view(pos uint64, n int) []byte {
	b := r.area.Slice(pos, n)
	if b == nil {
		b = make([]byte, n)
		r.area.CopyOut(b, pos)
	}
	return b
}

// Stats is a ring as seen from outside, taken without locking.
type Stats struct {
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
	InFlight     uint64 // handed out and neither acknowledged nor given back
	Closed       bool
}

// Stats looks at the ring. Counters of an operation in flight may be missing.
func (r *Ring) Stats() (Stats, error) {
	s := Stats{
		Puts: r.puts.Load(), Gets: r.gets.Load(), Bytes: r.bytes.Load(), Size: r.size, HighWater: r.high.Load(),
		PutSleeps: r.fullSleeps.Load(), GetSleeps: r.emptySleeps.Load(),
		Deliveries: r.leases.Load(), Redeliveries: r.repeats.Load(), Closed: r.IsClosed(),
	}
	for range 1000 { // positions move while we look; a quiet moment comes soon
		taken := r.taken.Load()
		tail := r.tail.Load()
		if tail-taken > r.size { // the tail lags after a death
			tail = taken
		}
		end, _, n, err := r.walk(tail)
		if r.taken.Load() != taken {
			continue
		}
		if err != nil {
			return s, err
		}
		s.Used = end - taken
		first := r.word(taken).Load()
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
