package table

import (
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Storing a new entry happens in steps, of which the third is the change:
//
//	step      | does                                         | an error, or a death, leaves
//	----------+----------------------------------------------+-----------------------------------------
//	possible  | could there be room at all?                  | nothing
//	newBlocks | a block for the entry, one for an overflow   | blocks in pending, for the next emptyHands
//	change    | one row: slot, head, log, revision, counters | before its commit as above, then the row,
//	          |                                              | which is done again
//	          | the old block is freed                       | it in pending; the change has happened
//
// Three more tables say where the slot of the new entry stands (slotFor), where its block comes from
// and where the old one goes (exchange).

// blocks are what a new entry takes.
type blocks struct {
	entry uint32 // granule of its block
	spare bool   // that was the spare one of its size; otherwise pending 0 names it
	over  uint32 // granule of a new overflow bucket, which pending 1 names; 0: none is needed
}

// store writes a new entry, whose head is e, and lets the slot point to it.
func (o *op) store(p *place, e *entryHeader, value []byte) (rev uint64, err error) {
	s := o.s
	if err := s.possible(p, e.size); err != nil {
		return 0, err
	}
	b, err := s.newBlocks(p, e.size)
	if err != nil {
		return 0, err
	}
	e.at, e.rev = at(b.entry), s.revision.Load()+1
	s.write(e, o.key, value)
	s.change(p, e, b)
	_ = s.emptyHands() // the change has happened; what could not be freed is freed before the next one
	return e.rev, nil
}

// possible says why there can be no room for n granules, whatever is freed.
func (s *stripe) possible(p *place, n uint32) error {
	if n > s.end-s.heap {
		return fmt.Errorf("%w: an entry of %d bytes in a heap of %d",
			errs.ErrTooLarge, int64(n)*Granule, int64(s.end-s.heap)*Granule)
	}
	if p.full() && p.hops == longest {
		return fmt.Errorf("%w: its bucket has %d keys, which is no chance; delete some",
			errs.ErrFull, mainSlots+longest*overSlots)
	}
	return nil
}

// newBlocks takes what an entry of n granules needs at p. With an error it is in nobody's hands, unless
// that failed, too: then it is freed before anything else.
func (s *stripe) newBlocks(p *place, n uint32) (b blocks, err error) {
	if err := s.emptyHands(); err != nil {
		return b, err
	}
	if b.entry, err = s.spare(n); err != nil {
		return b, err
	}
	if b.spare = b.entry != 0; !b.spare {
		if b.entry, err = s.take(n, entry, 0); err != nil {
			return b, err
		}
	}
	if !p.full() {
		return b, nil
	}
	if b.over, err = s.take(1, overflow, 1); err != nil {
		if e := s.emptyHands(); e != nil {
			return b, e
		}
	}
	return b, err
}

// write writes an entry into its block, which no slot names yet. The block word is there already.
func (s *stripe) write(e *entryHeader, key string, value []byte) {
	s.span.U64(e.at + 8).StoreOrdered(e.rev)
	s.span.U64(e.at + 16).StoreOrdered(e.expires)
	s.span.U64(e.at + 24).StoreOrdered(uint64(e.key) | uint64(e.format)<<24 | uint64(e.value)<<32)
	s.span.StoreString(e.keyAt(), key)
	s.span.StoreBytes(e.valueAt(), value)
}

// change makes the new entry the one that counts, by one row.
func (s *stripe) change(p *place, e *entryHeader, b blocks) {
	slot := uint64(b.entry) | p.hash>>tagShift<<tagShift
	if e.expires != 0 {
		slot |= slotExpires
		s.soon(e.expires)
	}
	r := s.begin()
	head := s.slotFor(r, p, slot, b.over)
	r.add(p.bucket, step(head))
	s.announce(r, p.bucket)
	old := p.entry()
	s.count(r, old, e, false, b.over != 0)
	s.exchange(r, e.size, b, old)
	r.commit()
}

// slotFor adds to a row where the slot of the new entry stands. The link in the head may change with it.
//
//	the key has a slot              | that one; the mark that it was read stays
//	a slot of the chain is free     | that one
//	none is free                    | the first one of a new overflow bucket, at the end of the chain
func (s *stripe) slotFor(r *row, p *place, slot uint64, over uint32) (head uint64) {
	switch {
	case p.slot != 0:
		r.add(p.slot, slot|p.word&slotUsed)
	case over == 0:
		r.add(p.free, slot)
	default:
		s.writeOverflow(at(over), slot)
		if p.last == p.bucket {
			return uint64(over)<<32 | uint64(uint32(p.head))
		}
		r.add(p.last, uint64(over)<<32)
	}
	return p.head
}

// writeOverflow makes a block an overflow bucket of one slot, which no link names yet.
func (s *stripe) writeOverflow(b int, slot uint64) {
	s.span.U64(b + 8).StoreOrdered(0)
	s.span.U64(b + 16).StoreOrdered(slot)
	for i := 1; i < overSlots; i++ {
		s.span.U64(b + 16 + 8*i).StoreOrdered(0)
	}
}

// exchange adds to a row what becomes of the block of n granules that the new entry took, and of
// that of the old entry. An old block becomes the spare one of its size if there is none after the
// row; else pending 0 names it.
//
//	the new block was | the old block      | spare of the new size | spare of the old size | pending 0
//	------------------+--------------------+-----------------------+-----------------------+----------
//	in pending 0      | none               |                       |                       | 0
//	in pending 0      | can be spare       |                       | old                   | 0
//	in pending 0      | cannot be spare    |                       |                       | old
//	spare             | none               | 0                     |                       |
//	spare             | of the same size   | old                   | (the same word)       |
//	spare             | can be spare       | 0                     | old                   |
//	spare             | cannot be spare    | 0                     |                       | old
func (s *stripe) exchange(r *row, n uint32, b blocks, old *entryHeader) {
	gone, spare := uint64(0), b.spare
	if old != nil {
		gone = uint64(old.at / Granule)
		at := s.spareAt(old.size)
		if old.size <= maxSpare && (old.size == n && spare || s.span.U64(at).Load() == 0) {
			r.add(at, gone)
			gone = 0
			spare = spare && old.size != n
		}
	}
	if spare {
		r.add(s.spareAt(n), 0)
	}
	if s.pending[0].Load() != gone {
		r.add(s.base+offPending, gone)
	}
	if b.over != 0 {
		r.add(s.base+offPending+8, 0)
	}
}
