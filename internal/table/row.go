package table

import "github.com/shiplap-ipc/shiplap/internal/mem"

// row is a row of stores that happens as a whole: it is collected here, written down in the redo log, armed, done.
// It belongs to the holder of the lock.
type row struct {
	span  *mem.Span
	armed *mem.U64
	redo  int // offset of the redo log
	n     int
	s     [maxRedo]struct {
		off int
		v   uint64
	}
}

// begin starts a row.
func (r *row) begin() *row {
	r.n = 0
	return r
}

func (s *stripe) begin() *row { return s.row.begin() }

// put adds a store; a second one of a word replaces the first, in its place.
func (r *row) put(off int, v uint64) {
	for i := range r.n {
		if r.s[i].off == off {
			r.s[i].v = v
			return
		}
	}
	r.add(off, v)
}

// add is put of a word that the row does not hold yet.
func (r *row) add(off int, v uint64) {
	r.s[r.n].off, r.s[r.n].v = off, v // too many is a bug of ours, and panics
	r.n++
}

// load is the word as it will be.
func (r *row) load(off int) uint64 {
	for i := range r.n {
		if r.s[i].off == off {
			return r.s[i].v
		}
	}
	return r.span.U64(off).Load()
}

// commit lets the row happen.
func (r *row) commit() {
	for i := range r.n {
		r.span.U64(r.redo + 16*i).StoreOrdered(uint64(r.s[i].off))
		r.span.U64(r.redo + 16*i + 8).StoreOrdered(r.s[i].v)
	}
	r.armed.StoreOrdered(uint64(r.n)) // from here on it happens, whoever dies
	r.perform()
}

func (r *row) perform() {
	for i := range r.n {
		r.span.U64(r.s[i].off).StoreOrdered(r.s[i].v)
	}
	r.armed.StoreOrdered(0)
}

// again does an armed row once more. It may be cut short at any point, and done again by the next.
func (r *row) again(t *Table) error {
	n := r.armed.Load()
	if n == 0 {
		return nil
	}
	if n > maxRedo {
		return corrupt("a redo log of %d entries, %d at most are possible", n, maxRedo)
	}
	r.begin()
	for i := range int(n) {
		off := r.span.U64(r.redo + 16*i).Load()
		if !t.storable(off) {
			return corrupt("redo log: a store to offset %d", off)
		}
		r.add(int(off), r.span.U64(r.redo+16*i+8).Load())
	}
	r.perform()
	return nil
}

// storable says whether a row may hold a store to an offset: not to locks, and not to redo logs.
func (t *Table) storable(off uint64) bool {
	switch {
	case off%8 != 0 || off > uint64(t.geo.Size)-8:
		return false
	case off < ctlEnd:
		return off >= offTop
	case off < uint64(t.geo.logAt()):
		off = (off - ctlEnd) % stripeSize
		return off > offArmed && off < offRedo || off >= offRevision && off < stripeUsed
	case off < uint64(t.geo.locksAt()):
		return true
	}
	return off >= uint64(t.geo.bucketsAt())
}
