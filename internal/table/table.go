package table

import (
	"context"
	"fmt"
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
	buckets int    // offset of the first
	heap    uint32 // granule of the first block
	end     uint32 // granule behind the last block that the file has room for
	owners  wordlock.Owners
	sess    *wait.Session
	stop    func() error
	grow    func(off, n int64) error
	now     func() int64

	lock    *wordlock.Lock
	binding *wordlock.Lock
	event   wait.Event

	armed, revision, cleared, reserved, counts, extras, top, free *mem.U64
	pending                                                       [2]*mem.U64

	row      row  // of the holder of the lock
	evicting bool // his, too: what he takes away becomes free, and not spare
}

// Init writes what is not zero in a new table, of which the first reserved bytes are set aside.
func Init(s *mem.Span, geo Geometry, reserved int64) {
	s.U64(offReserved).Store(uint64(reserved))
	s.U64(offTop).Store(uint64(geo.heapAt() / Granule))
}

// Open views a table.
func Open(c Config) *Table {
	u := c.Span.U64
	t := &Table{
		span: c.Span, geo: c.Geo, mask: c.Geo.Buckets - 1, buckets: int(c.Geo.bucketsAt()),
		heap: uint32(c.Geo.heapAt() / Granule), end: uint32(c.Geo.Size / Granule),
		owners: c.Owners, sess: c.Sess, stop: c.Stop, grow: c.Grow, now: c.Now,
		armed: u(offArmed), revision: u(offRevision), cleared: u(offCleared), reserved: u(offReserved),
		counts: u(offCounts), extras: u(offExtras), top: u(offTop), free: u(offFree),
		pending: [2]*mem.U64{u(offPending), u(offPending + 8)},
		event:   wait.NewEvent(c.Span.U32(Changed)),
	}
	if t.now == nil {
		t.now = func() int64 { return time.Now().UnixNano() }
	}
	t.lock = wordlock.New(c.Span, WriterLock, c.Owners, c.Sess)
	t.binding = wordlock.New(c.Span, BindingLock, c.Owners, c.Sess)
	t.lock.Stop, t.binding.Stop = c.Stop, c.Stop
	return t
}

func corrupt(format string, a ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errs.ErrCorrupt}, a...)...)
}

// acquire takes the writer lock and finishes what a dead holder left.
func (t *Table) acquire(ctx context.Context) error {
	if _, err := t.lock.Lock(ctx); err != nil {
		return err
	}
	return t.acquired()
}

func (t *Table) acquired() error {
	if t.armed.Load()|t.pending[0].Load()|t.pending[1].Load() == 0 {
		return nil
	}
	if err := t.recover(); err != nil {
		t.lock.Unlock()
		return err
	}
	return nil
}

// Settle finishes what a dead writer left, if there is one, and reports whether it did: who waits for changes looks for
// those that were made but not told.
func (t *Table) Settle() (did bool, err error) {
	if !t.lock.Held() {
		return false, nil
	}
	ok, recovered := t.lock.TryLock()
	if !ok {
		return false, nil
	}
	if err := t.acquired(); err != nil {
		return false, err
	}
	t.lock.Unlock()
	if recovered {
		t.event.WakeAll()
	}
	return recovered, nil
}

// Revision is the number of changes so far.
func (t *Table) Revision() uint64 { return t.revision.Load() }

// Len is the number of entries, those included that have expired and were not reclaimed yet.
func (t *Table) Len() int { return int(uint32(t.counts.Load())) }

func (t *Table) hash(key string) uint64 { return sipHash(&t.geo.Seed, key) }

// bucket is the offset of the bucket of a hash.
func (t *Table) bucket(h uint64) int { return t.buckets + int(h&t.mask)*bucketSize }

// Event is what watchers sleep on.
func (t *Table) Event() wait.Event { return t.event }

// Sleeps counts those who did.
func (t *Table) Sleeps() *mem.U64 { return t.span.U64(offSleeps) }
