package ring

import (
	"context"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Rings with acknowledgement (D27). The state word of a record, behind its header, is: bits 0-7 the
// state, bits 8-31 how often it was handed out, bits 32-63 the token of who has it.
//
//	ready ── handed out, under the consumer lock ──▶ leased ── Ack ──▶ done ── reclaimed
//	  ▲                                                │
//	  └── Nack ────────────────────────────────────────┤ the holder died: leased to the next
//
// Every arrow is one store or CAS of that word. "taken" moves over done records only.
const (
	stateReady  = 0
	stateLeased = 1
	stateDone   = 2

	countShift = 8
	countMask  = 1<<24 - 1
	tokenShift = 32

	// scanEvery is how many deliveries may go by until the next look for those of the dead while
	// the ring never runs empty.
	scanEvery = 256
)

func leasedState(token uint32, count uint64) uint64 {
	return stateLeased | min(count, countMask)<<countShift | uint64(token)<<tokenShift
}

func stateOf(st uint64) uint64  { return st & 0xff }
func countOf(st uint64) uint64  { return st >> countShift & countMask }
func holderOf(st uint64) uint32 { return uint32(st >> tokenShift) }

// Lease is a record in this process's hands.
type Lease struct {
	Pos     uint64
	Len     int
	Count   int // 1 when it is handed out for the first time
	stateAt uint64
}

// leasing is the taking side while its lock is held.
type leasing struct {
	r      *Ring
	head   uint64 // taken
	cursor uint64
	wait   *leaseWait // learns who holds records, nil where nobody will wait
}

func (l *leasing) resume(r *Ring) error {
	*l = leasing{r: r, head: r.taken.Load(), cursor: r.cursor.Load()}
	if l.cursor-l.head > r.size { // reclaimed over it: a death between two stores
		l.cursor = l.head
		r.cursor.StoreRelease(l.cursor) // it is what consumers wait on
	}
	return r.span(l.head, l.cursor)
}

// record reads the record at pos; ok is false at the tail.
func (l *leasing) record(pos uint64) (h, size uint64, ok bool, err error) {
	h = l.r.word(pos).Load()
	if h == 0 {
		return 0, 0, false, nil
	}
	size, err = l.r.parse(h)
	if err == nil && pos+size-l.head > l.r.size {
		err = fmt.Errorf("%w: the records of the ring have no end", errs.ErrCorrupt)
	}
	return h, size, err == nil, err
}

// take leases one record; errs.ErrEmpty when there is none to be had.
func (l *leasing) take() (Lease, error) {
	r := l.r
	if r.again.Load() != 0 {
		// Before the scan, and with a full fence: a record that is given back later, or that the scan did not see
		// given back, sets it anew. A release store could be seen after the scan, and undo that.
		r.again.Swap(0)
		ls, err := l.scan()
		if err != errs.ErrEmpty {
			r.again.StoreRelease(1) // there may be more
			return ls, err
		}
	}
	if r.leases.Load()%scanEvery == 0 {
		if ls, err := l.scan(); err != errs.ErrEmpty {
			return ls, err
		}
	}
	for {
		h, size, ok, err := l.record(l.cursor)
		if err != nil {
			return Lease{}, err
		}
		if !ok {
			return l.scan()
		}
		pos := l.cursor
		l.cursor += size
		if st := r.word(pos + wordSize).Load(); stateOf(st) == stateReady {
			if err := r.accepts(payloadLen(h)); err != nil {
				return Lease{}, err
			}
			if ls, ok := l.lease(pos, h, st); ok {
				r.cursor.StoreRelease(l.cursor)
				return ls, nil
			}
		}
		r.again.StoreRelease(1) // handed out by somebody who died before he could say so
		r.cursor.StoreRelease(l.cursor)
	}
}

// lease hands a record out, if its state is still what it was. That of a dead holder may not be: it may have settled
// the record after we looked, and died before we asked.
func (l *leasing) lease(pos, h, st uint64) (ls Lease, ok bool) {
	r := l.r
	count := countOf(st) + 1
	if !r.word(pos+wordSize).CAS(st, leasedState(r.Owners.Self(), count)) { // the commit point
		return Lease{}, false
	}
	r.leases.StoreRelease(r.leases.Load() + 1)
	if count > 1 {
		r.repeats.StoreRelease(r.repeats.Load() + 1)
	}
	return Lease{Pos: pos, Len: int(payloadLen(h)), Count: int(count), stateAt: pos + wordSize}, true
}

// scan looks among the records handed out before for one that was given back or whose holder died.
func (l *leasing) scan() (Lease, error) {
	alive := l.r.Owners.Self()
	for pos := l.head; pos != l.cursor; {
		h, size, ok, err := l.record(pos)
		if err != nil {
			return Lease{}, err
		}
		if !ok || pos+size-l.head > l.cursor-l.head {
			return Lease{}, fmt.Errorf("%w: the records of the ring end before the cursor", errs.ErrCorrupt)
		}
		st := l.r.word(pos + wordSize).Load()
		if l.free(st, &alive) {
			if err := l.r.accepts(payloadLen(h)); err != nil {
				return Lease{}, err
			}
			if ls, ok := l.lease(pos, h, st); ok {
				return ls, nil
			}
			l.r.again.Store(1) // somebody looks again
		}
		pos += size
	}
	return Lease{}, errs.ErrEmpty
}

// free reports whether a record in that state can be handed out again. alive is a process that lives: neighbours often
// have the same holder, which spares a system call.
func (l *leasing) free(st uint64, alive *uint32) bool {
	if stateOf(st) != stateLeased {
		return stateOf(st) == stateReady
	}
	holder := holderOf(st)
	if holder == *alive {
		return false
	}
	if l.r.Owners.Dead(holder) {
		return true
	}
	*alive = holder
	if l.wait != nil {
		l.wait.met(holder)
	}
	return false
}

// reclaim moves taken over what is done and reports whether it moved.
func (l *leasing) reclaim() (moved bool, err error) {
	r, n := l.r, 0
	gets := r.gets.Load()
	for l.head != l.cursor {
		h, size, ok, err := l.record(l.head)
		if err != nil {
			return n > 0, err
		}
		if ok && size > l.cursor-l.head {
			return n > 0, fmt.Errorf("%w: a record of the ring reaches over the cursor", errs.ErrCorrupt)
		}
		if !ok || stateOf(r.word(l.head+wordSize).Load()) != stateDone {
			break
		}
		gets = extend(gets, h)
		r.taken.StoreRelease(l.head + size) // the commit point
		l.head += size
		n++
	}
	if n > 0 {
		r.gets.StoreRelease(gets)
		r.notFull.WakeAll()
		if l.head == l.cursor && r.IsClosed() {
			r.notEmpty.WakeAll() // that was the last: those who wait in case it is given back may end
		}
	}
	return n > 0, nil
}

// TryLease hands out one record; errs.ErrEmpty when there is none now, errs.ErrBusy when another process
// is taking.
func (r *Ring) TryLease() (Lease, error) {
	if ok, _ := r.ConsumerLock.TryLock(); !ok {
		return Lease{}, errs.ErrBusy
	}
	ls, err := r.leaseUnlock(nil)
	if err == nil {
		r.announce()
	}
	return ls, err
}

func (r *Ring) leaseUnlock(w *leaseWait) (Lease, error) {
	defer r.unlockConsumer()
	if err := r.check(false); err != nil {
		return Lease{}, err
	}
	var l leasing
	if err := l.resume(r); err != nil {
		return Lease{}, err
	}
	if l.wait = w; w != nil {
		w.rescan()
	}
	ls, err := l.take()
	if err != errs.ErrEmpty {
		return ls, err
	}
	if _, err := l.reclaim(); err != nil {
		return ls, err
	}
	// If nobody has anything, the end of a closed ring is final. If somebody has, Drained repairs what a dead producer left:
	// those who wait do not sleep before that (see stuck).
	if err := r.Drained(l.cursor); err != nil {
		return ls, err
	}
	return ls, errs.ErrEmpty
}

// Lease hands out one record, waiting for it. errs.ErrClosed says that none will ever come.
func (r *Ring) Lease(ctx context.Context) (Lease, error) {
	ls, err := r.leaseNow(ctx, nil)
	if err != errs.ErrEmpty {
		return ls, err
	}
	w := leaseWaits.Get().(*leaseWait)
	defer leaseWaits.Put(w)
	*w = leaseWait{r: r, alive: w.alive[:0]}
	for {
		ready := r.getSpin.Poll(&r.anyReady)
		ls, err := r.leaseNow(ctx, w) // the last look before a sleep has to know who holds what
		if err != errs.ErrEmpty {
			return ls, err
		}
		if ready {
			continue // others were faster
		}
		if err := r.Sess.Wait(ctx, w); err != nil {
			return Lease{}, err
		}
	}
}

func (r *Ring) leaseNow(ctx context.Context, w *leaseWait) (Lease, error) {
	if ctx.Err() != nil {
		return Lease{}, context.Cause(ctx)
	}
	if _, err := r.ConsumerLock.Lock(ctx); err != nil {
		return Lease{}, err
	}
	ls, err := r.leaseUnlock(w)
	if err == nil {
		r.announce()
	}
	return ls, err
}

// readiness is what a consumer waits for where records are leased.
type readiness struct{ r *Ring }

func (w *readiness) Ready() bool {
	r := w.r
	pos := r.cursor.Load()
	return r.again.Load() != 0 || pos&7 != 0 || r.word(pos).LoadHint() != 0 || r.flags()&Removed != 0 ||
		r.IsClosed() && r.taken.Load() == pos && r.busy.Load() == 0
}

// Payload is the memory of a leased record, in place. It stays until the lease is settled.
func (r *Ring) Payload(ls Lease) []byte { return r.view(ls.Pos+r.hdr, ls.Len) }

// Settle ends a lease: done takes the record away for good, otherwise it goes to the next consumer.
// errs.ErrConflict when it is not ours (any more).
func (r *Ring) Settle(ls Lease, done bool) error {
	mine := leasedState(r.Owners.Self(), uint64(ls.Count))
	to := uint64(stateReady | ls.Count<<countShift)
	if done {
		to = stateDone
	}
	if !r.word(ls.stateAt).CAS(mine, to) { // the commit point
		return fmt.Errorf("%w: the delivery was settled before", errs.ErrConflict)
	}
	if !done {
		r.again.Store(1)
		r.notEmpty.Wake(1)
		return nil
	}
	if _, err := r.tryReclaim(); err != nil {
		return err
	}
	if r.IsClosed() {
		r.notEmpty.WakeAll() // perhaps it was the last
	}
	return nil
}

// tryReclaim takes back the memory of done records, unless somebody else is taking: see unlockConsumer.
func (r *Ring) tryReclaim() (freed bool, err error) {
	if ok, _ := r.ConsumerLock.TryLock(); !ok {
		return false, nil
	}
	defer r.unlockConsumer()
	var l leasing
	if err := l.resume(r); err != nil {
		return false, err
	}
	return l.reclaim()
}
