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
	mask    uint64 // of a hash: the number of its bucket
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
	binding *wordlock.Lock // under which keys get lock records
	event   wait.Event     // that something has changed

	heapLock *wordlock.Lock
	heapRow  row      // of the heap's redo log; the heap lock's holder fills it
	reserved *mem.U64 // how many bytes of the file are set aside: nobody touches one behind them
	epoch    *mem.U64 // how often everything was cleared: the store that raises it commits a Clear
	top      *mem.U64 // granule behind the last block, and the size of that
	free     *mem.U64 // granules in free blocks

	// clearedIn are the revisions up to which entries count for nothing, in even and in odd epochs,
	// for each stripe. A Clear writes those of the next epoch, which nobody reads yet.
	clearedIn [2][MaxStripes]*mem.U64
}

// stripe is a part of the buckets: one writer at a time changes something in it. Its words are in
// shared memory; only the holder of its lock stores to them, and readers and watchers load some of
// them without it.
type stripe struct {
	*Table
	i    int // its number
	base int // offset of its words
	lock *wordlock.Lock

	// How many stores of the redo log are to be done. The store that makes it more than 0 commits
	// the row: from then on it happens, whoever dies. 0: nothing is under way.
	armed *mem.U64

	// Blocks that are in nobody's hands but the lock holder's: taken and in no slot yet, or out of
	// a slot and not free yet. 0 is for entries, 1 for overflow buckets. See emptyHands for the
	// rule that keeps blocks from being lost.
	pending [2]*mem.U64

	// The epoch for which the stripe is being cleared, 0: none. If it is the present one the clear
	// has been committed, and the lock's holder has still to count and announce it in this stripe;
	// if not, the one that cleared died before its commit.
	clearing *mem.U64

	// Not 0: a holder died, perhaps with the heap's lock as well, or a fault cut its row of the
	// heap short. A row of the heap may be about pending: before it is done, by the next holder of
	// the heap's lock, the stripe's does nothing else.
	unsettled *mem.U64

	// The number of changes so far, which is the revision of the last one. It goes up within the
	// row of each change.
	revision *mem.U64

	// Two numbers of 32 bits each. counts: entries that count, expired ones included; those that
	// were cleared and not reclaimed. extras: entries that expire; overflow buckets. They change
	// within the rows, so they are exact.
	counts, extras *mem.U64

	// What follows belongs to the holder of the lock, and is in this process only.

	ctx      context.Context // ends its waits for the heap's lock; noWait: it does not wait for that
	row      row             // of the stripe's redo log
	evicting bool            // what it takes away becomes free, and not spare
	began    uint64          // revision when it got the lock; watchers are told if it has moved
	ring     bool            // it has the lock from a dead holder, which may not have told of a change
}

// Init writes what is not zero in a new table, of which the first reserved bytes are set aside.
func Init(s *mem.Span, geo Geometry, reserved int64) {
	s.U64(offReserved).Store(uint64(reserved))
	s.U64(offTop).Store(uint64(geo.heapAt() / Granule))
}

// Reserved is how many bytes of the file are set aside, by what the table says: all that its
// readers look at.
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
