package row

import (
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

func (t *Topic) slot32(i, off int) *mem.U32 { return t.table.U32(t.tableAt + i*SlotSize + off) }

func (t *Topic) slot64(i, off int) *mem.U64 { return t.table.U64(t.tableAt + i*SlotSize + off) }

// inUse is how many slots there are to look at.
func (t *Topic) inUse() int { return int(min(t.used.Load(), uint32(t.slots))) }

// reap frees the slots of the dead whose cursors are before need, and reports whether there were any.
func (t *Topic) reap(freed, need uint64) (any bool) {
	t.each(freed, need, func(i int, token uint32) {
		if t.Owners.Dead(token) && t.slot32(i, slotToken).CAS(token, 0) {
			any = true
		}
	})
	return any
}

// each visits the slots whose cursors are before need.
func (t *Topic) each(freed, need uint64, visit func(i int, token uint32)) {
	for i := range t.inUse() {
		token := t.slot32(i, slotToken).Load()
		if token == 0 || token&joining != 0 || t.slot64(i, slotCursor).Load()-freed >= need-freed {
			continue
		}
		visit(i, token)
	}
}

// claim takes a free slot, or one whose subscriber died.
func (t *Topic) claim() (int, error) {
	for _, dead := range []bool{false, true} {
		for i := range t.slots {
			w := t.slot32(i, slotToken)
			token := w.Load()
			if token != 0 && !(dead && t.Owners.Dead(token&^joining)) {
				continue
			}
			for u := t.used.Load(); u <= uint32(i); u = t.used.Load() {
				t.used.CAS(u, uint32(i)+1)
			}
			if w.CAS(token, t.Owners.Self()|joining) {
				return i, nil
			}
		}
	}
	return 0, fmt.Errorf("%w: the topic has %d subscribers, which is the most it was made for", errs.ErrFull, t.slots)
}

// free gives a slot back, if it is still ours.
func (t *Topic) free(i int) {
	w := t.slot32(i, slotToken)
	if token := w.Load(); token&^joining == t.Owners.Self() {
		w.Store(0)
		t.notFull.WakeAll()
	}
}
