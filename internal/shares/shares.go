// Package shares keeps, inside an object, how much of it each process holds: one word a member slot, so
// that what the dead held can be told from what the living hold, and taken away, without trusting
// any counter.
//
// An entry is a u64: the holder's token below, a number above. An entry whose token is dead counts for
// nothing. A process writes only the entry of its own slot; others replace it by 0 once its token is dead.
// A bitmap says which slots were ever used, so that few lines are read.
package shares

import (
	"context"
	"math/bits"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

const (
	// Slots is the number of entries: of members that a domain can have.
	Slots = 1024
	// BitmapSize is what the bitmap takes, in bytes.
	BitmapSize = Slots / 8
)

// Place is where an object keeps a table: its bitmap among the control words, its entries from byte 8192 on.
type Place struct {
	Lock   string // the lock beside which tools show it
	Bitmap int
	Stride int
}

// The tables that tools show.
var (
	Readers = Place{Lock: "writer", Bitmap: 4352, Stride: 64}
	Permits = Place{Lock: "queue", Bitmap: 4480, Stride: 8}
)

// EntriesAt is where in the file the entries begin.
const EntriesAt = 8192

// Size is what the entries take.
func (p Place) Size() int { return Slots * p.Stride }

// Read lists, from the whole object in one span, who holds something, the dead too.
func (p Place) Read(s *mem.Span) (all []Entry) {
	each(s, p.Bitmap, s, EntriesAt, p.Stride, func(_ *mem.U64, v uint64) bool {
		all = append(all, split(v))
		return true
	})
	return all
}

// Table is a view of the entries.
type Table struct {
	bits   *mem.Span
	bitsAt int
	span   *mem.Span
	stride int
	owners wordlock.Owners
	me     uint32
	own    *mem.U64
	slot   int
	met    func(token uint32) // told of each holder that is looked at, if not nil
}

// New views a table: the bitmap at bitsAt of one span, and entries every stride bytes from the start of
// another. slot is this process's.
func New(bitmap *mem.Span, bitsAt int, entries *mem.Span, stride int, owners wordlock.Owners, slot int) *Table {
	return &Table{
		bits: bitmap, bitsAt: bitsAt, span: entries, stride: stride, owners: owners, me: owners.Self(),
		own: entries.U64(slot * stride), slot: slot,
	}
}

// Entry is what one process holds.
type Entry struct {
	Token  uint32
	Number uint32
}

func split(v uint64) Entry { return Entry{uint32(v), uint32(v >> 32)} }

// Add adds to the own number. It is a full fence.
func (t *Table) Add(delta int32) (now uint32) {
	return t.Update(func(n uint32) uint32 { return n + uint32(delta) })
}

// Update replaces the own number by what f makes of it, at once. It is a full fence.
func (t *Table) Update(f func(n uint32) uint32) (now uint32) {
	for {
		v := t.own.Load()
		e := split(v)
		if e.Token != t.me { // of one who had the slot before us, and is gone
			t.mark()
			e.Number = 0
		}
		e.Number = f(e.Number)
		if t.own.CAS(v, uint64(t.me)|uint64(e.Number)<<32) {
			return e.Number
		}
	}
}

// Left is the number in the own entry if it was left by one who had the slot before us, and is gone; Add and Update
// forget it.
func (t *Table) Left() uint32 {
	e := split(t.own.Load())
	if e.Token == t.me {
		return 0
	}
	return e.Number
}

// mark says that the slot is in use, before its entry is.
func (t *Table) mark() {
	w := t.bits.U64(t.bitsAt + t.slot/64*8)
	if bit := uint64(1) << (t.slot % 64); w.Load()&bit == 0 {
		for v := w.Load(); !w.CAS(v, v|bit); v = w.Load() {
		}
	}
}

// each visits the entries that are not zero, until f returns false.
func (t *Table) each(f func(w *mem.U64, v uint64) bool) {
	each(t.bits, t.bitsAt, t.span, 0, t.stride, func(w *mem.U64, v uint64) bool {
		if t.met != nil {
			t.met(uint32(v))
		}
		return f(w, v)
	})
}

func each(bitmap *mem.Span, bitsAt int, entries *mem.Span, at, stride int, f func(w *mem.U64, v uint64) bool) {
	for i := range Slots / 64 {
		for m := bitmap.U64(bitsAt + 8*i).Load(); m != 0; m &= m - 1 {
			w := entries.U64(at + (64*i+bits.TrailingZeros64(m))*stride)
			if v := w.Load(); v>>32 != 0 && !f(w, v) {
				return
			}
		}
	}
}

// DiedWith is the number that a process had when it died; 0 if it lives, or left first. Death is asked first: a process
// that lives may give back what it holds and leave the domain between the two looks, and is no dead holder then.
func (t *Table) DiedWith(token uint32) (number uint32) {
	if !t.owners.Dead(token) {
		return 0
	}
	if e := split(t.span.U64(int(token%Slots) * t.stride).Load()); e.Token == token {
		return e.Number
	}
	return 0
}

// diedWith reports whether an entry, looked at again after the death of its process, has a number that counts.
func diedWith(w *mem.U64, token uint32, counts func(uint32) bool) bool {
	e := split(w.Load())
	return e.Token == token && e.Number != 0 && counts(e.Number)
}

// All lists who holds something, the dead too.
func (t *Table) All() (all []Entry) {
	t.each(func(_ *mem.U64, v uint64) bool {
		all = append(all, split(v))
		return true
	})
	return all
}

// Reap clears the entries of the dead and returns how many there were.
func (t *Table) Reap() (n int) {
	t.each(func(w *mem.U64, v uint64) bool {
		if t.owners.Dead(uint32(v)) && w.CAS(v, 0) {
			n++
		}
		return true
	})
	return n
}

// AnyDead reports whether somebody dead has an entry whose number counts. On its way it clears entries of the
// dead whose number is past.
func (t *Table) AnyDead(counts, past func(number uint32) bool) (found bool) {
	t.each(func(w *mem.U64, v uint64) bool {
		n := uint32(v >> 32)
		switch {
		case counts(n):
			found = t.owners.Dead(uint32(v)) && diedWith(w, uint32(v), counts)
		case past(n) && t.owners.Dead(uint32(v)):
			w.CAS(v, 0)
		}
		return !found
	})
	return found
}

// Sum adds the numbers of all entries.
func (t *Table) Sum() (sum uint64) {
	t.each(func(_ *mem.U64, v uint64) bool {
		sum += v >> 32
		return true
	})
	return sum
}

// Living finds somebody who holds something and lives, and clears entries of the dead on its way.
func (t *Table) Living() (found bool) {
	t.each(func(w *mem.U64, v uint64) bool {
		if t.owners.Dead(uint32(v)) {
			w.CAS(v, 0)
			return true
		}
		found = true
		return false
	})
	return found
}

// watchFrom is how long a wait has lasted before it has deaths told: most are over by then.
const watchFrom = 8 * time.Millisecond

// Wait waits until done says so: something was published with the event, or somebody in the table died. What
// done says is final, also when the wait has to end: it may have taken something. done looks at the table that it
// is given: those whom it meets there are those whose deaths are told.
func (t *Table) Wait(ctx context.Context, sess *wait.Session, ev wait.Event, done func(*Table) (bool, error)) error {
	if ok, err := done(t); ok || err != nil {
		return err
	}
	w := &waiting{view: *t, ev: ev, done: done, bound: time.Millisecond}
	err := sess.Wait(ctx, w)
	if w.took {
		return nil
	}
	return err
}

// waiting is one blocked Wait.
type waiting struct {
	view  Table
	ev    wait.Event
	done  func(*Table) (bool, error)
	bound time.Duration
	seen  uint32
	took  bool // done said yes when the wait had to end
}

// Look asks done. Whom it meets it believes to live, so their deaths matter; and so do those of all who hold
// something, whom it may have had no reason to look at.
func (w *waiting) Look(c *wait.Call) (over bool, err error) {
	w.seen = w.ev.Arm()
	c.On(w.ev.Word(), w.seen)
	told := w.bound > watchFrom || wait.Crowded()
	if w.view.met = nil; told {
		w.view.met = func(token uint32) { c.Depend(w.view.owners, token) }
	}
	if over, err = w.done(&w.view); over || err != nil {
		return over, err
	}
	if told {
		w.view.each(func(*mem.U64, uint64) bool { return true })
	}
	c.Bound(w.bound)
	w.bound = min(2*w.bound, wait.MaxSleep)
	return false, nil
}

// Stale reports that something was published.
func (w *waiting) Stale() bool { return w.ev.Word().Load() != w.seen }

// Abandon asks done once more: the wake-up was perhaps for us.
func (w *waiting) Abandon() {
	w.view.met = nil
	ok, err := w.done(&w.view)
	w.took = ok && err == nil
	if !ok {
		w.ev.Wake(1)
	}
}
