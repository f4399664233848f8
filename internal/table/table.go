package table

import (
	"context"
	"fmt"
	"math/bits"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Config is what a table lives in.
type Config struct {
	Span   *mem.Span // the whole file
	Geo    Geometry  // checked
	Owners wordlock.Owners
	Sess   *wait.Session
	Stop   func() error             // why not to wait for locks any longer
	Grow   func(off, n int64) error // sets memory of the file aside
	Now    func() int64             // Unix ns; nil: the clock
}

// Table is one process's view. All methods may be called concurrently.
type Table struct {
	span    *mem.Span
	geo     Geometry
	mask    uint64
	shift   int    // of a bucket's number to that of its stripe
	buckets int    // offset of the first
	heap    uint32 // granule of the first block
	end     uint32 // granule behind the last block that the file has room for
	owners  wordlock.Owners
	sess    *wait.Session
	stop    func() error
	grow    func(off, n int64) error
	now     func() int64

	stripes []stripe
	binding *wordlock.Lock
	event   wait.Event

	heapLock        *wordlock.Lock
	heapRow         row // of the holder of that
	reserved, epoch *mem.U64
	top, free       *mem.U64
	clearedIn       [2][MaxStripes]*mem.U64
}

// stripe is a part of the buckets: one writer at a time changes something in it.
type stripe struct {
	*Table
	i    int
	base int // offset of its words
	lock *wordlock.Lock

	armed, clearing, unsettled, revision, counts, extras *mem.U64
	pending                                              [2]*mem.U64

	// Of the holder of the lock.
	ctx      context.Context // for the heap's lock; nil: it does not wait for that
	row      row
	evicting bool   // what it takes away becomes free, and not spare
	began    uint64 // revision when it got the lock
	ring     bool   // it has the lock from a dead holder, which may not have told of a change
}

// Init writes what is not zero in a new table, of which the first reserved bytes are set aside.
func Init(s *mem.Span, geo Geometry, reserved int64) {
	s.U64(offReserved).Store(uint64(reserved))
	s.U64(offTop).Store(uint64(geo.heapAt() / Granule))
}

// Reserved is how many bytes of the file are set aside, by what the table says: all that its readers look at.
func Reserved(s *mem.Span, geo Geometry) int64 {
	return int64(min(max(s.U64(offReserved).Load(), uint64(geo.heapAt())), uint64(geo.Size)))
}

// Open views a table.
func Open(c Config) *Table {
	u := c.Span.U64
	t := &Table{
		span: c.Span, geo: c.Geo, mask: c.Geo.Buckets - 1, buckets: int(c.Geo.bucketsAt()),
		heap: uint32(c.Geo.heapAt() / Granule), end: uint32(c.Geo.Size / Granule),
		owners: c.Owners, sess: c.Sess, stop: c.Stop, grow: c.Grow, now: c.Now,
		shift:    bits.Len64(c.Geo.Buckets/c.Geo.Stripes) - 1,
		reserved: u(offReserved), epoch: u(offEpoch), top: u(offTop), free: u(offFree),
		event: wait.NewEvent(c.Span.U32(Changed)),
	}
	if t.now == nil {
		t.now = func() int64 { return time.Now().UnixNano() }
	}
	lock := func(off int) *wordlock.Lock {
		l := wordlock.New(c.Span, off, c.Owners, c.Sess)
		l.Stop = c.Stop
		return l
	}
	t.binding, t.heapLock = lock(BindingLock), lock(HeapLock)
	t.heapRow = row{span: c.Span, armed: u(offHeapArmed), redo: offHeapRedo}
	t.stripes = make([]stripe, c.Geo.Stripes)
	for i := range t.stripes {
		base := ctlEnd + i*stripeSize
		u := func(off int) *mem.U64 { return c.Span.U64(base + off) }
		t.stripes[i] = stripe{
			Table: t, i: i, base: base, lock: lock(WriterLock(i)),
			armed: u(offArmed), clearing: u(offClearing), unsettled: u(offUnsettled), revision: u(offRevision),
			counts: u(offCounts), extras: u(offExtras), pending: [2]*mem.U64{u(offPending), u(offPending + 8)},
		}
		t.stripes[i].row = row{span: c.Span, armed: u(offArmed), redo: base + offRedo}
		for odd := range t.clearedIn {
			t.clearedIn[odd][i] = c.Span.U64(offCleared + 8*(MaxStripes*odd+i))
		}
	}
	return t
}

func corrupt(format string, a ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errs.ErrCorrupt}, a...)...)
}

// word is a word of the stripe.
func (s *stripe) word(off int) *mem.U64 { return s.span.U64(s.base + off) }

// Revision is the number of changes so far.
func (t *Table) Revision() (rev uint64) {
	for i := range t.stripes {
		rev += t.stripes[i].revision.Load()
	}
	return rev
}

// Len is the number of entries, those included that have expired and were not reclaimed yet.
func (t *Table) Len() (n int) {
	for i := range t.stripes {
		n += int(uint32(t.stripes[i].counts.Load()))
	}
	return n
}

func (t *Table) hash(key string) uint64 { return sipHash(&t.geo.Seed, key) }

// stripeOf is the stripe of a hash, or of a bucket's number.
func (t *Table) stripeOf(h uint64) *stripe { return &t.stripes[int(h&t.mask)>>t.shift] }

// number is that of the bucket at an offset.
func (t *Table) number(bucket int) uint64 { return uint64(bucket-t.buckets) / bucketSize }

// cleared says up to which revision the entries of a stripe count for nothing, since the epoch began.
func (t *Table) cleared(stripe int, epoch uint64) uint64 { return t.clearedIn[epoch&1][stripe].Load() }

// bucket is the offset of the bucket of a hash.
func (t *Table) bucket(h uint64) int { return t.buckets + int(h&t.mask)*bucketSize }

// Event is what watchers sleep on.
func (t *Table) Event() wait.Event { return t.event }

// Sleeps counts those who did.
func (t *Table) Sleeps() *mem.U64 { return t.span.U64(offSleeps) }
