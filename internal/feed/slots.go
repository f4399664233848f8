package feed

import (
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

func (f *Feed) slot32(i, off int) *mem.U32 { return f.table.U32(f.tableAt + i*SlotSize + off) }

func (f *Feed) slot64(i, off int) *mem.U64 { return f.table.U64(f.tableAt + i*SlotSize + off) }

// inUse is how many slots there are to look at.
func (f *Feed) inUse() int { return int(min(f.used.Load(), uint32(f.slots))) }

// least is the position that the slowest subscriber is at, tail if nobody is before it. Cursors before freed are those
// of newcomers who will go on from floor.
func (f *Feed) least(freed, tail uint64) uint64 {
	low := tail
	for i := range f.inUse() {
		if t := f.slot32(i, slotToken).Load(); t == 0 || t&joining != 0 {
			continue
		}
		if c := f.slot64(i, slotCursor).Load(); c-freed < low-freed {
			low = c
		}
	}
	return low
}

// behind is least, after those who are before need and dead have been taken away.
func (f *Feed) behind(freed, tail, need uint64) uint64 {
	low := f.least(freed, tail)
	if before(low, need) && f.reap(freed, need) {
		low = f.least(freed, tail)
	}
	return low
}

// reap frees the slots of the dead whose cursors are before need, and reports whether there were any.
func (f *Feed) reap(freed, need uint64) (any bool) {
	f.each(freed, need, func(i int, t uint32) {
		if f.Owners.Dead(t) && f.slot32(i, slotToken).CAS(t, 0) {
			any = true
		}
	})
	return any
}

// each visits the slots whose cursors are before need.
func (f *Feed) each(freed, need uint64, visit func(i int, token uint32)) {
	for i := range f.inUse() {
		t := f.slot32(i, slotToken).Load()
		if t == 0 || t&joining != 0 || f.slot64(i, slotCursor).Load()-freed >= need-freed {
			continue
		}
		visit(i, t)
	}
}

// claim takes a free slot, or one whose subscriber died.
func (f *Feed) claim() (int, error) {
	for _, dead := range []bool{false, true} {
		for i := range f.slots {
			w := f.slot32(i, slotToken)
			t := w.Load()
			if t != 0 && !(dead && f.Owners.Dead(t&^joining)) {
				continue
			}
			for u := f.used.Load(); u <= uint32(i); u = f.used.Load() {
				f.used.CAS(u, uint32(i)+1)
			}
			if w.CAS(t, f.Owners.Self()|joining) {
				return i, nil
			}
		}
	}
	return 0, fmt.Errorf("%w: the topic has %d subscribers, which is the most it was made for", errs.ErrFull, f.slots)
}

// free gives a slot back, if it is still ours.
func (f *Feed) free(i int) {
	w := f.slot32(i, slotToken)
	if t := w.Load(); t&^joining == f.Owners.Self() {
		w.Store(0)
		f.room.WakeAll()
	}
}
