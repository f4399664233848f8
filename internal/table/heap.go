package table

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// The heap: boundary tags and lists by size, as in Masmano, Ripoll, Crespo and Real, "TLSF: a new dynamic memory allocator for
// real-time systems" (2004). Two free blocks never stand side by side, and none stands at the top. So whatever
// sizes were in use, what is free again is one piece, and taking and freeing look at a bounded number of blocks.

// errNoRoom: no block is large enough, and the file's end is reached.
var errNoRoom = errors.New("no room")

// noRoom: that, or the file system has none.
func noRoom(err error) bool {
	return err == errNoRoom || err != nil && errors.Is(err, errs.ErrNoSpace)
}

// block is the checked first word of the block at g: it lies in the used part of the heap.
func (t *Table) block(r *row, g uint32) (size, state, before uint32, err error) {
	top := uint32(r.load(offTop))
	if g < t.heap || g >= top || top > t.end {
		return 0, 0, 0, corrupt("a block at granule %d, the heap goes from %d to %d", g, t.heap, top)
	}
	w := r.load(int(g) * Granule)
	size, state, before = uint32(w)&sizeMask, uint32(w)>>stateShift, uint32(w>>32)
	if size == 0 || size > top-g || before > g-t.heap || state > overflow {
		return 0, 0, 0, corrupt("the block at granule %d has %d granules in state %d, behind one of %d", g, size, state, before)
	}
	return size, state, before, nil
}

func blockWord(size, state, before uint32) uint64 {
	return uint64(size|state<<stateShift) | uint64(before)<<32
}

func at(g uint32) int      { return int(g) * Granule }
func linksAt(g uint32) int { return int(g)*Granule + 8 }
func listAt(c int) int     { return offLists + 8*c }
func bitAt(c int) int      { return offBitmap + c/64*8 }

// take takes a block of n granules, which pending[i], until then 0, names from then on; errNoRoom if
// there is none.
func (s *stripe) take(n, state uint32, i int) (uint32, error) {
	t := s.Table
	if err := s.lockHeap(); err != nil {
		return 0, err
	}
	defer s.unlockHeap()
	r := t.heapRow.begin()
	g, err := t.takeFree(r, n, state, few)
	if err == errNoRoom {
		g, err = t.takeTop(r, n, state)
	}
	if noRoom(err) {
		if f, e := t.takeFree(r, n, state, many); e != errNoRoom {
			g, err = f, e
		}
	}
	if err != nil {
		return 0, err
	}
	r.add(s.base+offPending+8*i, uint64(g))
	r.commit()
	return g, nil
}

// How many blocks of a list that may be too small are looked at: first, and where there is no other room.
const (
	few  = 32
	many = 4096
)

// takeFree finds a free block of at least n granules, and gives back what is too much.
func (t *Table) takeFree(r *row, n, state uint32, look int) (uint32, error) {
	g, err := t.search(r, n, look)
	if err != nil {
		return 0, err
	}
	size, st, before, err := t.block(r, g)
	if err != nil {
		return 0, err
	}
	if st != free || size < n {
		return 0, corrupt("the free block at granule %d has %d granules in state %d, %d are wanted", g, size, st, n)
	}
	if err := t.unlink(r, g, size); err != nil {
		return 0, err
	}
	r.put(at(g), blockWord(n, state, before))
	if rest := size - n; rest > 0 {
		f := g + size
		fsize, fstate, fbefore, err := t.block(r, f)
		if err != nil {
			return 0, err
		}
		if fbefore != size {
			return 0, corrupt("the block at granule %d says that %d granules are before it, and it is %d", f, fbefore, size)
		}
		r.put(at(f), blockWord(fsize, fstate, rest))
		r.put(at(g+n), blockWord(rest, free, n))
		if err := t.link(r, g+n, rest); err != nil {
			return 0, err
		}
	}
	r.put(offFree, r.load(offFree)-uint64(n))
	return g, nil
}

// search names a free block of at least n granules. In a list that may hold smaller ones too it looks at some.
func (t *Table) search(r *row, n uint32, look int) (uint32, error) {
	c := classFor(n)
	for w := c / 64; w < lists/64+1; w++ {
		m := r.load(offBitmap + 8*w)
		if w == c/64 {
			m &^= 1<<(c%64) - 1
		}
		if w == lists/64 {
			m &= 1<<(lists%64) - 1
		}
		if m != 0 {
			return uint32(r.load(listAt(64*w + bits.TrailingZeros64(m)))), nil
		}
	}
	g := uint32(0)
	if classOf(n) != c {
		g = uint32(r.load(listAt(classOf(n))))
	}
	for i := 0; g != 0 && i < look; i++ {
		size, _, _, err := t.block(r, g)
		if err != nil {
			return 0, err
		}
		if size >= n {
			return g, nil
		}
		g = uint32(r.load(linksAt(g)))
	}
	return 0, errNoRoom
}

// takeTop takes memory that was not used before, and has more of it set aside if need be.
func (t *Table) takeTop(r *row, n, state uint32) (uint32, error) {
	w := r.load(offTop)
	top, last := uint32(w), uint32(w>>32)
	if top < t.heap || top > t.end || last > top-t.heap {
		return 0, corrupt("the used part of the heap ends at granule %d, with a block of %d", top, last)
	}
	if n > t.end-top {
		return 0, errNoRoom
	}
	if err := t.reserve(top + n); err != nil {
		return 0, err
	}
	r.add(offTop, uint64(top+n)|uint64(n)<<32)
	r.add(at(top), blockWord(n, state, last))
	return top, nil
}

// Growing is a pause for those who wait for the lock: a step is a millisecond or so.
const (
	stepLeast = 64 << 10
	stepMost  = 4 << 20
)

// reserve sees to it that memory is set aside up to the granule.
func (t *Table) reserve(g uint32) error {
	have, want := t.reserved.Load(), uint64(g)*Granule
	if have < uint64(t.geo.heapAt()) || have > uint64(t.geo.Size) || have%PageSize != 0 {
		return corrupt("%d bytes are set aside of %d", have, t.geo.Size)
	}
	if want <= have {
		return nil
	}
	least := (want - have + PageSize - 1) / PageSize * PageSize
	step := max(least, min(max(have/8, stepLeast), stepMost)) / PageSize * PageSize
	step = min(step, uint64(t.geo.Size)-have)
	err := t.grow(int64(have), int64(step))
	if err != nil && step > least {
		step = least
		err = t.grow(int64(have), int64(step))
	}
	if err != nil {
		return fmt.Errorf("%w: grow from %d to %d bytes: %w", errs.ErrFull, have, have+step, err)
	}
	t.reserved.StoreOrdered(have + step) // until here it is as if nothing had happened
	return nil
}

// unlink takes a free block out of its list.
func (t *Table) unlink(r *row, g, size uint32) error {
	c := classOf(size)
	l := r.load(linksAt(g))
	next, prev := uint32(l), uint32(l>>32)
	list := r.load(listAt(c))
	first, count := uint32(list), uint32(list>>32)
	if prev == 0 {
		if first != g {
			return corrupt("the free block at granule %d is not in list %d, which begins with %d", g, c, first)
		}
		first = next
	} else {
		if err := t.checkFree(r, prev); err != nil {
			return err
		}
		p := r.load(linksAt(prev))
		r.put(linksAt(prev), p>>32<<32|uint64(next))
	}
	if next != 0 {
		if err := t.checkFree(r, next); err != nil {
			return err
		}
		r.put(linksAt(next), uint64(uint32(r.load(linksAt(next))))|uint64(prev)<<32)
	}
	r.put(listAt(c), uint64(first)|uint64(count-1)<<32)
	if first == 0 {
		r.put(bitAt(c), r.load(bitAt(c))&^(1<<(c%64)))
	}
	return nil
}

func (t *Table) checkFree(r *row, g uint32) error {
	_, state, _, err := t.block(r, g)
	if err == nil && state != free {
		err = corrupt("the block at granule %d is in a list of free ones, and in state %d", g, state)
	}
	return err
}

// link puts a free block into its list.
func (t *Table) link(r *row, g, size uint32) error {
	c := classOf(size)
	list := r.load(listAt(c))
	first, count := uint32(list), uint32(list>>32)
	if first != 0 {
		if err := t.checkFree(r, first); err != nil {
			return err
		}
		r.put(linksAt(first), uint64(uint32(r.load(linksAt(first))))|uint64(g)<<32)
	} else {
		r.put(bitAt(c), r.load(bitAt(c))|1<<(c%64))
	}
	r.put(linksAt(g), uint64(first))
	r.put(listAt(c), uint64(g)|uint64(count+1)<<32)
	return nil
}

// release frees the block that pending[i] names, with its free neighbours.
func (s *stripe) release(i int) error {
	t := s.Table
	if err := s.lockHeap(); err != nil {
		return err
	}
	defer s.unlockHeap()
	r := t.heapRow.begin()
	pending := s.base + offPending + 8*i
	g := uint32(r.load(pending))
	size, state, before, err := t.block(r, g)
	if err != nil {
		return err
	}
	if state == free {
		return corrupt("the block at granule %d is to be freed, and is free", g)
	}
	freed := r.load(offFree) + uint64(size)
	top := uint32(r.load(offTop))
	if next := g + size; next < top {
		nsize, nstate, nbefore, err := t.block(r, next)
		if err != nil {
			return err
		}
		if nbefore != size {
			return corrupt("the block at granule %d says that %d granules are before it, and it is %d", next, nbefore, size)
		}
		if nstate == free {
			if err := t.unlink(r, next, nsize); err != nil {
				return err
			}
			size += nsize
		}
	}
	if before != 0 {
		psize, pstate, pbefore, err := t.block(r, g-before)
		if err != nil {
			return err
		}
		if psize != before {
			return corrupt("the block at granule %d has %d granules, the one behind it says %d", g-before, psize, before)
		}
		if pstate == free {
			if err := t.unlink(r, g-before, psize); err != nil {
				return err
			}
			g, size, before = g-before, size+psize, pbefore
		}
	}
	if next := g + size; next == top {
		r.put(offTop, uint64(g)|uint64(before)<<32)
		freed -= uint64(size)
	} else {
		nsize, nstate, _, err := t.block(r, next)
		if err != nil {
			return err
		}
		r.put(at(next), blockWord(nsize, nstate, size))
		r.put(at(g), blockWord(size, free, before))
		if err := t.link(r, g, size); err != nil {
			return err
		}
	}
	r.put(offFree, freed)
	r.put(pending, 0)
	r.commit()
	return nil
}

// Spare blocks: the last one of each small size that was freed stays as it is, so that who replaces an entry by one
// of its size neither takes nor frees, but exchanges two blocks.

func (s *stripe) spareAt(n uint32) int { return s.base + offSpare + 8*int(n) }

// spare is the spare block of n granules, 0 if there is none. It becomes an entry's with the row that stores another in
// its word; until then it may be written.
func (s *stripe) spare(n uint32) (uint32, error) {
	if n > maxSpare {
		return 0, nil
	}
	g := s.span.U64(s.spareAt(n)).Load()
	if g == 0 {
		return 0, nil
	}
	if g > uint64(s.end) {
		return 0, corrupt("a spare block at granule %d of %d", g, s.end)
	}
	size, state, _, err := s.block(s.begin(), uint32(g))
	if err == nil && (size != n || state != entry) {
		err = corrupt("the spare block at granule %d has %d granules in state %d, and should have %d", g, size, state, n)
	}
	return uint32(g), err
}

// flush frees the spare blocks, and reports whether there were any.
func (s *stripe) flush() (any bool, err error) {
	for n := uint32(1); n <= maxSpare; n++ {
		g, err := s.spare(n)
		if err != nil {
			return any, err
		}
		if g == 0 {
			continue
		}
		if err := s.emptyHands(); err != nil {
			return any, err
		}
		r := s.begin()
		r.add(s.base+offPending, uint64(g))
		r.add(s.spareAt(n), 0)
		r.commit()
		if err := s.emptyHands(); err != nil {
			return any, err
		}
		any = true
	}
	return any, nil
}
