package table

import (
	"fmt"
	"math/bits"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Words of the whole table, by their offset in the file. What different sides write lies on lines of its own.
const (
	// BindingLock is the record of the lock under which key locks are given to keys.
	BindingLock = 4096
	// HeapLock is the record of the lock under which blocks are taken and freed.
	HeapLock = BindingLock + wordlock.Size

	offHeapArmed = 4352 // u64 valid entries of the heap's redo log; 0: nothing is under way
	offHeapRedo  = 4416 // 40 × {u64 offset, u64 word}

	// Changed is the event: something was changed.
	Changed     = 5120 // u32
	offSleeps   = 5128 // u64 how often somebody slept for it
	offHits     = 5184 // u64 counters of readers, who tell of many reads at a time
	offMisses   = 5192
	offReserved = 5248 // u64 bytes of the file that are set aside; what readers read is on these lines, which hardly ever change
	offEpoch    = 5256 // u64 how often everything was cleared
	offCleared  = 5312 // 2 × 8 × u64 of epochs that are even, and odd: what has this revision of its stripe or an earlier one counts for nothing
	offTop      = 5440 // u32 granule where the used part of the heap ends, u32 granules of the last block before it
	offFree     = 5448 // u64 granules in free blocks
	offBitmap   = 5456 // 4 × u64 which lists of free blocks have one
	offLists    = 5632 // 240 × {u32 granule of the first free block, u32 how many}
	ctlEnd      = 8192 // the stripes follow
)

// Words of a stripe, by their offset from its beginning.
const (
	offLock      = 0   // the record of the lock that writers hold
	offArmed     = 128 // u64 as for the heap
	offPending   = 136 // 2 × u64 granules of blocks in the lock holder's hands
	offClearing  = 152 // u64 epoch that begins when all stripes are cleared; 0: nothing is being cleared
	offUnsettled = 160 // u64 not 0: a holder died, and who has the lock must look first whether he had the heap's, too
	offRedo      = 192 // 40 × {u64 offset, u64 word}
	offRevision  = 832 // u64 number of changes
	offCounts    = 840 // u32 entries, u32 entries that were cleared and not reclaimed yet
	offExtras    = 848 // u32 entries that expire, u32 overflow buckets
	offNext      = 896 // u64 no entry expires before this time, as all behind written by the lock's holder outside of rows
	offLap       = 904 // u64 the same, of the buckets that the hand has passed
	offHand      = 912 // u64 bucket, counted from the stripe's first, that is looked at next for entries to reclaim
	offClock     = 920 // u64 bucket that is looked at next for entries to evict
	offSets      = 928 // u64 counters
	offDeletes   = 936
	offExpired   = 944
	offEvicted   = 952
	offSpare     = 960 // 17 × u64 granule of a block of 0, 1, 2 … 16 granules that is in nobody's hands; 0: none
	stripeUsed   = offSpare + 17*8
	stripeSize   = 2048
)

// MaxStripes is the largest number of stripes.
const MaxStripes = 8

// WriterLock is the record of the lock of a stripe.
func WriterLock(stripe int) int { return ctlEnd + stripe*stripeSize + offLock }

const (
	// Granule is the unit of the heap: one cache line.
	Granule = 64
	// PageSize is the unit in which memory is reserved.
	PageSize = 4096

	maxRedo    = 40
	lists      = 240
	maxSpare   = 16
	bindBytes  = 64
	bucketSize = 64
	entryHead  = 32
	minHeap    = 16 << 10
	bucketPer  = 64 << 10

	// MaxSize is the largest file.
	MaxSize = 1 << 36
	// MaxKey is the longest key, in bytes.
	MaxKey = 1<<16 - 1
	// MaxValue is the longest value, in bytes.
	MaxValue = 1 << 30
)

// Blocks. The first word of each is u30 size in granules, u2 state, u32 size of the block before it.
const (
	free     = 0
	entry    = 1
	overflow = 2

	sizeMask   = 1<<30 - 1
	stateShift = 30
)

// Slots.
const (
	slotExpires = 1 << 32 // the entry has an expiry
	slotUsed    = 1 << 33 // somebody read it since the clock's hand came by
	tagShift    = 48
)

// Geometry is what is fixed when a table is made.
type Geometry struct {
	Size    int64 // of the file
	Buckets uint64
	Stripes uint64 // of the buckets, each with its own writer
	Log     uint64 // entries of the change logs of all stripes
	Locks   uint64 // key locks
	Evict   bool
	Seed    [2]uint64
}

// Check says whether a table can look like that, wherever the numbers come from.
func (g *Geometry) Check() error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{errs.ErrCorrupt}, a...)...)
	}
	switch {
	case g.Buckets < 8 || g.Buckets > 1<<28 || bits.OnesCount64(g.Buckets) != 1 || int64(g.Buckets) < g.Size/bucketPer:
		return bad("%d buckets for %d bytes", g.Buckets, g.Size)
	case g.Stripes < 1 || g.Stripes > MaxStripes || bits.OnesCount64(g.Stripes) != 1 || g.Evict && g.Stripes > 1:
		return bad("%d stripes", g.Stripes)
	case g.Log < 64*g.Stripes || g.Log > 1<<20 || bits.OnesCount64(g.Log) != 1:
		return bad("change logs of %d entries in %d stripes", g.Log, g.Stripes)
	case g.Locks < 1 || g.Locks > 1<<16:
		return bad("%d key locks", g.Locks)
	case g.Size > MaxSize || g.Size%PageSize != 0 || g.Size < g.heapAt()+minHeap:
		return bad("%d bytes, of which %d are not heap; %d to %d bytes are possible", g.Size, g.heapAt(), g.Least(), int64(MaxSize))
	}
	return nil
}

// Least is the smallest file for that many buckets, log entries and locks.
func (g *Geometry) Least() int64 {
	return (g.heapAt() + minHeap + PageSize - 1) / PageSize * PageSize
}

// Overhead is what lies before the heap, in bytes.
func (g *Geometry) Overhead() int64 { return g.heapAt() }

func (g *Geometry) logAt() int64     { return ctlEnd + int64(stripeSize*g.Stripes) }
func (g *Geometry) locksAt() int64   { return g.logAt() + int64(8*g.Log) }
func (g *Geometry) bindsAt() int64   { return g.locksAt() + int64(wordlock.Size*g.Locks) }
func (g *Geometry) bucketsAt() int64 { return g.bindsAt() + int64(bindBytes*g.Locks) }
func (g *Geometry) heapAt() int64    { return g.bucketsAt() + int64(bucketSize*g.Buckets) }

// pad rounds up to words.
func pad(n int) int { return (n + 7) &^ 7 }

// granules is what an entry takes.
func granules(key, value int) uint32 {
	return uint32((entryHead + pad(key) + value + Granule - 1) / Granule)
}

// classOf is the list in which a free block of n granules is.
func classOf(n uint32) int {
	if n < 16 {
		return int(n)
	}
	fl := bits.Len32(n) - 1
	return 16 + (fl-4)*8 + int(n>>(fl-3)&7)
}

// classFor is the first list in which every block has at least n granules.
func classFor(n uint32) int {
	if n < 16 {
		return int(n)
	}
	return classOf(n + 1<<(bits.Len32(n)-4) - 1)
}

// classLeast is the size of the smallest block in a list.
func classLeast(c int) uint32 {
	if c < 16 {
		return uint32(c)
	}
	fl := 4 + (c-16)/8
	return 1<<fl + uint32((c-16)%8)<<(fl-3)
}
