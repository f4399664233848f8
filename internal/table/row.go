package table

// row is a row of stores that happens as a whole: it is collected here, written down in the redo log, armed, done.
// It belongs to the holder of the lock.
type row struct {
	t *Table
	n int
	s [maxRedo]struct {
		off int
		v   uint64
	}
}

// begin starts a row.
func (t *Table) begin() *row {
	t.row.t, t.row.n = t, 0
	return &t.row
}

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
	return r.t.span.U64(off).Load()
}

// commit lets the row happen.
func (r *row) commit() {
	t := r.t
	for i := range r.n {
		t.span.U64(offRedo + 16*i).StoreOrdered(uint64(r.s[i].off))
		t.span.U64(offRedo + 16*i + 8).StoreOrdered(r.s[i].v)
	}
	t.armed.StoreOrdered(uint64(r.n)) // from here on it happens, whoever dies
	for i := range r.n {
		t.span.U64(r.s[i].off).StoreOrdered(r.s[i].v)
	}
	t.armed.StoreOrdered(0)
}

// recover does an armed row once more, and frees what was in the dead one's hands. It may be cut short at any point, and
// done again by the next.
func (t *Table) recover() error {
	if n := t.armed.Load(); n != 0 {
		if n > maxRedo {
			return corrupt("a redo log of %d entries, %d at most are possible", n, maxRedo)
		}
		r := t.begin()
		for i := range int(n) {
			off := t.span.U64(offRedo + 16*i).Load()
			if off < offPending || off >= offRedo && off < redoEnd || off%8 != 0 || off > uint64(t.geo.Size)-8 {
				return corrupt("redo log: a store to offset %d", off)
			}
			r.add(int(off), t.span.U64(offRedo+16*i+8).Load())
		}
		for i := range r.n {
			t.span.U64(r.s[i].off).StoreOrdered(r.s[i].v)
		}
		t.armed.StoreOrdered(0)
	}
	for i, p := range t.pending {
		v := p.Load()
		if v == 0 {
			continue
		}
		if v > uint64(t.end) {
			return corrupt("the block in the writer's hands begins at granule %d of %d", v, t.end)
		}
		if err := t.release(i); err != nil {
			return err
		}
	}
	return nil
}
