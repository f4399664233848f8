package table

import (
	"context"
	"fmt"
	"math"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Where there is no room: spare blocks are freed, then what has expired or was cleared is
// reclaimed, then, if the table evicts, entries go that nobody has read since the clock's hand came
// by the last time. Each turn with the lock does a piece of that and tries again before others get
// their turns, so that they do not take the room that it has made.

// room is how far a change has got in making room for itself.
type room struct {
	piece   bool   // done in this turn
	swept   uint64 // buckets of its stripe
	others  int    // stripes that were tidied for it
	busy    bool   // the next one of these is being changed
	tidied  uint64 // buckets of that
	clocked uint64 // buckets since the last entry was evicted
	evicted uint64 // entries
	next    uint32 // granule where the last turn stopped, 0: none
}

// makeRoom does something towards n granules. Without an error there may be room now; errAgain asks
// for another turn; any other error says why there will be no room.
func (o *op) makeRoom(n uint32, p *place, cause error) error {
	s := o.s
	if !s.geo.Evict && s.Table.room(&o.now) < uint64(n) {
		return s.full(n, cause)
	}
	if any, err := s.flush(); any || err != nil {
		return err
	}
	if o.room.piece {
		return errAgain
	}
	o.room.piece = true
	if o.room.swept < s.own() && (s.due(&o.now) || o.room.swept > 0) {
		seen, _, err := s.sweep(pieceBuckets, pieceEntries, &o.now)
		o.room.swept += uint64(seen)
		return err
	}
	if o.room.others < len(s.stripes)-1 {
		return o.tidyOther()
	}
	if !s.geo.Evict || o.room.clocked > 3*s.geo.Buckets || o.room.evicted > uint64(s.end-s.heap) {
		return s.full(n, cause)
	}
	s.evicting = true
	defer func() { s.evicting = false }()
	return o.evict(n, p)
}

// room is how many granules there are at most, in however many pieces, or could be: without end if
// something can be reclaimed. It is a look without locks. Where it does not do, nobody's spare
// blocks are taken for a change that will fail, again and again.
func (t *Table) room(now *int64) (granules uint64) {
	granules = t.free.Load() + uint64(t.end-uint32(t.top.Load()))
	for i := range t.stripes {
		s := &t.stripes[i]
		if s.due(now) || s.pending[0].Load()|s.pending[1].Load() != 0 {
			return math.MaxUint64
		}
		for n := range uint64(maxSpare) {
			if s.span.U64(s.spareAt(uint32(n+1))).Load() != 0 {
				granules += n + 1
			}
		}
	}
	return granules
}

// other is the stripe that is to give room next.
func (o *op) other() *stripe {
	t := o.s.Table
	return &t.stripes[(o.s.i+1+o.room.others)%len(t.stripes)]
}

// tidyOther frees what another stripe has for nothing, a piece of it. It must not wait for it:
// whoever changes that may wait for ours.
func (o *op) tidyOther() error {
	s := o.other()
	ok, _, err := s.tryAcquire(o.s.ctx)
	if err != nil {
		return err
	}
	if !ok {
		o.room.busy = true
		return errAgain
	}
	defer s.unlock()
	return o.tidy(s)
}

// waitForOther is tidyOther between two turns, when it may wait.
func (o *op) waitForOther(ctx context.Context) error {
	if !o.room.busy {
		return nil
	}
	o.room.busy = false
	s := o.other()
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.unlock()
	return o.tidy(s)
}

func (o *op) tidy(s *stripe) error {
	if _, err := s.flush(); err != nil {
		return err
	}
	if o.room.tidied < s.own() && (s.due(&o.now) || o.room.tidied > 0) {
		seen, n, err := s.sweep(pieceBuckets, pieceEntries, &o.now)
		if o.room.tidied += uint64(seen); err != nil || o.room.tidied < s.own() && seen+n > 0 {
			return err
		}
		if _, err := s.flush(); err != nil {
			return err
		}
	}
	o.room.others++
	o.room.tidied = 0
	return nil
}

func (t *Table) full(n uint32, cause error) error {
	if cause != errNoRoom {
		return cause
	}
	free := int64(t.free.Load()+uint64(t.end-uint32(t.top.Load()))) * Granule
	return fmt.Errorf("%w: %d bytes are wanted in one piece, %d are free of %d; delete keys, or make it with a larger MaxBytes or with Evict",
		errs.ErrFull, int64(n)*Granule, free, int64(t.end-t.heap)*Granule)
}

// evict takes one entry away that nobody has read since the clock's hand came by the last time, and
// as many beside it as a block of n granules needs. If all are read all the time, so that two laps
// did not help, it takes the next one.
func (o *op) evict(n uint32, own *place) error {
	s := o.s
	keep := uint32(own.word) // the key that is to be changed goes last
	if g := o.room.next; g != 0 {
		if _, ok, err := s.findBlock(g); ok || err != nil {
			if err != nil {
				return err
			}
			return o.evictFrom(g, n, keep)
		}
		o.room.next = 0
	}
	clock := s.word(offClock)
	for range pieceBuckets {
		i := clock.Load()
		if i >= s.geo.Buckets {
			i = 0
		}
		any := o.room.clocked >= 2*s.geo.Buckets
		if any && !o.needsOld() {
			keep = 0
		}
		word, ok, err := s.victim(s.buckets+int(i)*bucketSize, keep, any)
		if err != nil {
			return err
		}
		if ok {
			return o.evictFrom(uint32(word), n, keep)
		}
		clock.StoreOrdered((i + 1) & s.mask)
		o.room.clocked++
	}
	return nil
}

// needsOld reports whether the change is one of what the key has. Without that there would be nothing to change: it does
// not make room for itself by taking that away.
func (o *op) needsOld() bool {
	return o.same || o.add || o.c.Expiry == Keep || o.c.Condition == IfPresent || o.c.Condition == IfSame
}

// victim is an entry of a bucket to evict, not the one at keep: one without the mark of having been read, or, if any
// will do, the first. While there is one the marks of the others stay, and so does the clock's hand. If there is none the
// marks are taken away, and the hand moves on: so what is read before it comes by the next time stays.
func (s *stripe) victim(bucket int, keep uint32, any bool) (word uint64, ok bool, err error) {
	marked := false
	err = s.eachSlot(bucket, func(w *mem.U64) (more bool) {
		slot := w.Load()
		switch {
		case uint32(slot) == keep:
		case any || slot&slotUsed == 0:
			word, ok = slot, true
		default:
			marked = true
		}
		return !ok
	})
	if err != nil || ok || !marked {
		return word, ok, err
	}
	return 0, false, s.eachSlot(bucket, func(w *mem.U64) (more bool) {
		if slot := w.Load(); slot&slotUsed != 0 && uint32(slot) != keep {
			w.CAS(slot, slot&^slotUsed)
		}
		return true
	})
}

// eachSlot calls f with the slots of a bucket that have an entry, for the holder of the lock, as long as f wants more.
func (s *stripe) eachSlot(bucket int, f func(w *mem.U64) (more bool)) error {
	part, link := s.mainSlots(bucket), s.span.U64(bucket).Load()
	for hops := 0; ; hops++ {
		for i := range part.n {
			w := s.span.U64(part.at + 8*i)
			if uint32(w.Load()) != 0 && !f(w) {
				return nil
			}
		}
		if link>>32 == 0 {
			return nil
		}
		var ok bool
		if part, ok = s.over(link); !ok || hops > longest {
			return corrupt("a bucket's overflow is at granule %d, where no bucket is", link>>32)
		}
		link = s.span.U64(part.linkAt()).Load()
	}
}

// evictFrom evicts what the block at granule g holds, and its neighbours, those behind it and then
// those before it, until n granules are free in one piece. It stops at the entry at keep, and when
// it has done enough for one turn.
func (o *op) evictFrom(g, n, keep uint32) error {
	s := o.s
	o.room.next = 0
	for range pieceEntries {
		p, last, err := s.tenant(g)
		if err != nil {
			return err
		}
		if keep != 0 && p.e.at == at(keep) {
			return nil
		}
		start, err := s.pieceWithout(g, &p)
		if err != nil {
			return err
		}
		if _, err := s.remove(&p); err != nil {
			return err
		}
		if err := s.emptyHands(); err != nil { // what follows looks at the piece that became free
			return err
		}
		s.bump(offEvicted)
		o.room.evicted++
		o.room.clocked = 0
		if !last {
			continue
		}
		w := s.top.Load()
		if top, size := uint32(w), uint32(w>>32); start >= top { // now the other way
			if s.end-top >= n || size == 0 {
				return nil
			}
			g = top - size
			continue
		}
		size, state, _, err := s.block(s.begin(), start)
		if err != nil {
			return err
		}
		if state != free {
			return corrupt("the block at granule %d was freed, and is in state %d", start, state)
		}
		if size >= n {
			return nil
		}
		g = start + size
	}
	o.room.next = g
	return nil
}

// tenant is the entry at granule g, or one of those in the overflow bucket there. last says that
// the block goes with it.
func (s *stripe) tenant(g uint32) (p place, last bool, err error) {
	size, state, _, err := s.block(s.begin(), g)
	if err != nil {
		return p, false, err
	}
	word := uint64(g)
	if state == overflow {
		for i := range overSlots {
			if w := s.span.U64(at(g) + 16 + 8*i).Load(); uint32(w) != 0 {
				word = w
			}
		}
	}
	p, ok, err := s.findBlock(uint32(word))
	if err == nil && (!ok || state == overflow && p.over != at(g)+16) {
		err = corrupt("no slot leads to the block at granule %d, of %d granules in state %d", g, size, state)
	}
	return p, state != overflow || p.alone, err
}

// pieceWithout is where the free piece will begin that has the block at granule g in it, when the
// entry at p is gone, and what goes with that.
func (s *stripe) pieceWithout(g uint32, p *place) (start uint32, err error) {
	if start, err = s.pieceBefore(g); err != nil {
		return 0, err
	}
	other, size := uint32(p.e.at/Granule), p.e.size
	if other == g && p.over != 0 && p.alone {
		other, size = uint32((p.over-16)/Granule), 1
	}
	if other != g && other+size == start {
		return s.pieceBefore(other)
	}
	return start, nil
}

// pieceBefore is where the free block before the block at g begins; g if there is none.
func (s *stripe) pieceBefore(g uint32) (uint32, error) {
	_, _, before, err := s.block(s.begin(), g)
	if err != nil || before == 0 {
		return g, err
	}
	size, state, _, err := s.block(s.begin(), g-before)
	if err != nil {
		return g, err
	}
	if size != before {
		return g, corrupt("the block at granule %d has %d granules, the one behind it says %d", g-before, size, before)
	}
	if state == free {
		return g - before, nil
	}
	return g, nil
}
