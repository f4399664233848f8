package table

import (
	"context"

	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Stats is a table at one moment, or nearly so: the counters are read one by one.
type Stats struct {
	Geometry
	Entries   int   // keys, those included that have expired and were not reclaimed yet
	Cleared   int   // entries that were cleared and not reclaimed yet
	Expiring  int   // entries with an expiry, the cleared ones included
	Overflows int   // overflow buckets
	Reserved  int64 // bytes of the file that are set aside
	Heap      int64 // offset of the heap
	Top       int64 // offset of what was never used
	Free      int64 // bytes in free blocks before Top
	Spare     int64 // bytes in blocks that wait for an entry of their size, at most one of a size in each stripe
	Lists     []List
	Revision  uint64
	Sets      uint64
	Deletes   uint64
	Expired   uint64
	Evicted   uint64
	Hits      uint64 // that readers have told of
	Misses    uint64
	Sleeps    uint64
	Writers   []wordlock.State // of each stripe
	Taker     wordlock.State   // who takes or frees a block
}

// List is a row of free blocks of about one size.
type List struct {
	Least  int64 // bytes of the smallest that can be in it
	Blocks int
}

// Largest is the size, in bytes, of a block that can be had for certain.
func (s *Stats) Largest() int64 {
	n := s.Size - s.Top
	if k := len(s.Lists); k > 0 {
		n = max(n, s.Lists[k-1].Least)
	}
	return n
}

// Stats reads the counters; it takes no lock.
func (t *Table) Stats() (s Stats, err error) {
	word := func(off int) uint64 { return t.span.U64(off).Load() }
	s = Stats{
		Geometry: t.geo, Heap: int64(t.heap) * Granule, Top: int64(uint32(t.top.Load())) * Granule, Revision: t.Revision(),
		Hits: word(offHits), Misses: word(offMisses), Sleeps: word(offSleeps), Taker: wordlock.Inspect(t.span, HeapLock),
	}
	for i := range t.stripes {
		p := &t.stripes[i]
		c, x := p.counts.Load(), p.extras.Load()
		s.Entries, s.Cleared, s.Expiring, s.Overflows = s.Entries+int(uint32(c)), s.Cleared+int(c>>32), s.Expiring+int(uint32(x)), s.Overflows+int(x>>32)
		s.Sets += p.word(offSets).Load()
		s.Deletes += p.word(offDeletes).Load()
		s.Expired += p.word(offExpired).Load()
		s.Evicted += p.word(offEvicted).Load()
		s.Writers = append(s.Writers, wordlock.Inspect(t.span, WriterLock(i)))
		for n := range maxSpare {
			if word(p.spareAt(uint32(n+1))) != 0 {
				s.Spare += int64(n+1) * Granule
			}
		}
	}
	reserved, free := t.reserved.Load(), t.free.Load()
	if s.Top < s.Heap || s.Top > s.Size || reserved > uint64(s.Size) || free > uint64(t.end-t.heap) {
		return s, corrupt("the heap goes from %d to %d of %d bytes, %d are set aside, %d lines free", s.Heap, s.Top, s.Size, reserved, free)
	}
	s.Reserved, s.Free = int64(reserved), int64(free)*Granule
	for c := range lists {
		if l := word(listAt(c)); uint32(l) != 0 {
			s.Lists = append(s.Lists, List{int64(classLeast(c)) * Granule, int(l >> 32)})
		}
	}
	return s, nil
}

// CountReads tells of reads that found something and of reads that did not.
func (t *Table) CountReads(hits, misses uint64) {
	if hits != 0 {
		t.span.U64(offHits).Add(hits)
	}
	if misses != 0 {
		t.span.U64(offMisses).Add(misses)
	}
}

// Check reads the whole table, with all locks, and finds out whether everything in it is as it has to be: every block is
// an entry in the one slot where its key leads to, an overflow bucket of one bucket, or free and in its list; and
// the counters say so.
func (t *Table) Check(ctx context.Context) error {
	if err := t.acquireAll(ctx); err != nil {
		return err
	}
	defer t.unlockAll()
	c := checker{state: map[uint32]uint32{}}
	for i := range t.stripes {
		if err := c.stripe(&t.stripes[i]); err != nil {
			return err
		}
	}
	if err := c.lists(t); err != nil {
		return err
	}
	return c.heap(t)
}

// checker knows what the slots, chains and lists say of the blocks.
type checker struct {
	state                   map[uint32]uint32
	live, cleared, expiring uint32 // of a stripe
	overflows               uint32
	free, entries           uint32
}

func (c *checker) claim(g, state uint32) error {
	if _, twice := c.state[g]; twice {
		return corrupt("two words lead to the block at granule %d", g)
	}
	c.state[g] = state
	return nil
}

func (c *checker) stripe(s *stripe) error {
	c.live, c.cleared, c.expiring, c.overflows = 0, 0, 0, 0
	if err := c.buckets(s); err != nil {
		return err
	}
	for n := uint32(1); n <= maxSpare; n++ {
		if g, err := s.spare(n); err != nil {
			return err
		} else if g != 0 {
			if err := c.claim(g, entry); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *checker) buckets(s *stripe) error {
	for i := range int(s.own()) {
		bucket := s.first() + i*bucketSize
		part, link := s.mainSlots(bucket), s.span.U64(bucket).Load()
		for {
			for k := range part.n {
				if word := s.span.U64(part.at + 8*k).Load(); uint32(word) != 0 {
					if err := c.slot(s, bucket, word); err != nil {
						return err
					}
				}
			}
			if link>>32 == 0 {
				break
			}
			var ok bool
			if part, ok = s.over(link); !ok {
				return corrupt("no overflow bucket at granule %d", link>>32)
			}
			if err := c.claim(uint32(link>>32), overflow); err != nil {
				return err
			}
			c.overflows++
			link = s.span.U64(part.linkAt()).Load()
		}
	}
	if v := uint64(c.live) | uint64(c.cleared)<<32; v != s.counts.Load() {
		return corrupt("%d entries and %d cleared ones are there, %d and %d were counted", c.live, c.cleared, uint32(s.counts.Load()), s.counts.Load()>>32)
	}
	if v := uint64(c.expiring) | uint64(c.overflows)<<32; v != s.extras.Load() {
		return corrupt("%d entries that expire and %d overflow buckets are there, %d and %d were counted",
			c.expiring, c.overflows, uint32(s.extras.Load()), s.extras.Load()>>32)
	}
	return nil
}

func (c *checker) slot(s *stripe, bucket int, word uint64) error {
	e, ok := s.entry(word)
	if !ok || e.key > MaxKey {
		return corrupt("no entry at granule %d", uint32(word))
	}
	key := make([]byte, e.key)
	s.span.LoadBytes(key, e.keyAt())
	h := s.hash(string(key))
	if s.bucket(h) != bucket || h>>tagShift != word>>tagShift || (word&slotExpires != 0) != (e.expires != 0) {
		return corrupt("the entry of %q is in a slot that is not its own", key)
	}
	if e.rev > s.revision.Load() {
		return corrupt("the entry of %q has revision %d, its stripe %d", key, e.rev, s.revision.Load())
	}
	if e.rev > s.dead() {
		c.live++
	} else {
		c.cleared++
	}
	if e.expires != 0 {
		c.expiring++
		next, lap, hand := s.word(offNext).Load(), s.word(offLap).Load(), s.word(offHand).Load()
		if e.expires < next || e.expires < lap && uint64(bucket-s.first())/bucketSize < hand && hand < s.own() {
			return corrupt("the entry of %q expires at %d, and nobody looks for it before %d, %d", key, e.expires, next, lap)
		}
	}
	return c.claim(uint32(word), entry)
}

func (c *checker) lists(t *Table) error {
	for i := range lists {
		l := t.span.U64(listAt(i)).Load()
		n, before := uint32(0), uint32(0)
		for g := uint32(l); g != 0; n++ {
			size, state, _, err := t.block(t.heapRow.begin(), g)
			if err != nil {
				return err
			}
			links := t.span.U64(linksAt(g)).Load()
			if state != free || classOf(size) != i || uint32(links>>32) != before {
				return corrupt("list %d: the block at granule %d has %d granules in state %d, behind %d", i, g, size, state, links>>32)
			}
			if err := c.claim(g, free); err != nil {
				return err
			}
			c.free += size
			before, g = g, uint32(links)
		}
		if n != uint32(l>>32) {
			return corrupt("list %d has %d blocks, %d were counted", i, n, l>>32)
		}
		if bit := t.span.U64(bitAt(i)).Load() >> (i % 64) & 1; (bit == 1) != (n > 0) {
			return corrupt("list %d has %d blocks, and its bit is %d", i, n, bit)
		}
	}
	if f := t.free.Load(); f != uint64(c.free) {
		return corrupt("%d granules are free, %d were counted", c.free, f)
	}
	return nil
}

func (c *checker) heap(t *Table) error {
	top, last := uint32(t.top.Load()), uint32(t.top.Load()>>32)
	if uint64(top)*Granule > t.reserved.Load() {
		return corrupt("the heap is used up to %d, %d bytes are set aside", int64(top)*Granule, t.reserved.Load())
	}
	size, state := uint32(0), uint32(entry)
	for g := t.heap; g < top; g += size {
		behind := state
		n, st, before, err := t.block(t.heapRow.begin(), g)
		if err != nil {
			return err
		}
		if before != size {
			return corrupt("the block at granule %d says that %d granules are before it, and it is %d", g, before, size)
		}
		if st == free && behind == free {
			return corrupt("two free blocks side by side at granule %d", g)
		}
		if said, ok := c.state[g]; !ok || said != st {
			return corrupt("the block at granule %d is in state %d, and nothing leads to it (%v)", g, st, ok)
		}
		size, state = n, st
		c.entries++
	}
	if size != last || top > t.heap && state == free {
		return corrupt("the last block has %d granules in state %d, %d were noted", size, state, last)
	}
	if int(c.entries) != len(c.state) {
		return corrupt("%d blocks, and %d words that lead to some", c.entries, len(c.state))
	}
	return nil
}
