package row

import (
	"context"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Queues with acknowledgement (D27). The state word of a record, behind its header, is: bits 0-7 the
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
	// the queue never runs empty.
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
	Pos   uint64
	Count int // 1 when it is handed out for the first time
	parts parts
}

// Len is the length of the record's payload, body and envelope together.
func (ls Lease) Len() int { return int(ls.parts.block) + int(ls.parts.body) }

func (ls Lease) stateAt() uint64 { return ls.Pos + wordSize }

// leasing is the taking side while its lock is held.
type leasing struct {
	q      *Queue
	head   uint64 // taken
	cursor uint64
	wait   *leaseWait // learns who holds records, nil where nobody will wait

	pending  uint64 // what "moving" says, while that move cannot be finished
	wornOnly bool   // scan leases nothing
}

func (l *leasing) resume(q *Queue) error {
	*l = leasing{q: q, head: q.taken.Load(), cursor: q.cursor.Load()}
	if l.cursor-l.head > q.size { // reclaimed over it: a death between two stores
		l.cursor = l.head
		q.cursor.StoreRelease(l.cursor) // it is what consumers wait on
	}
	if err := q.span(l.head, l.cursor); err != nil || q.moving.Load() == 0 {
		return err
	}
	return l.finish()
}

// record reads the record at pos; ok is false at the tail.
func (l *leasing) record(pos uint64) (h, size uint64, ok bool, err error) {
	h = l.q.word(pos).Load()
	if h == 0 {
		return 0, 0, false, nil
	}
	size, err = l.q.parse(h)
	if err == nil && pos+size-l.head > l.q.size {
		err = fmt.Errorf("%w: the records of the queue have no end", errs.ErrCorrupt)
	}
	return h, size, err == nil, err
}

// take leases one record; errs.ErrEmpty when there is none to be had.
func (l *leasing) take() (Lease, error) {
	q := l.q
	if q.again.Load() != 0 {
		// Before the scan, and with a full fence: a record that is given back later, or that the scan did not see
		// given back, sets it anew. A release store could be seen after the scan, and undo that.
		q.again.Swap(0)
		ls, err := l.scan()
		if err != errs.ErrEmpty {
			q.again.StoreRelease(1) // there may be more
			return ls, err
		}
	}
	if q.leases.Load()%scanEvery == 0 {
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
		if st := q.word(pos + wordSize).Load(); stateOf(st) == stateReady && !q.isWorn(countOf(st)) {
			rec, err := l.acceptable(pos, h)
			if err != nil {
				return Lease{}, err
			}
			if ls, ok := l.lease(pos, rec, st); ok {
				q.cursor.StoreRelease(l.cursor)
				return ls, nil
			}
		}
		q.again.StoreRelease(1) // handed out by somebody who died before he could say so
		q.cursor.StoreRelease(l.cursor)
	}
}

// lease hands a record out, if its state is still what it was. That of a dead holder may not be: it may have settled
// the record after we looked, and died before we asked.
func (l *leasing) lease(pos uint64, rec parts, st uint64) (ls Lease, ok bool) {
	q := l.q
	count := countOf(st) + 1
	if !q.word(pos+wordSize).CAS(st, leasedState(q.Owners.Self(), count)) { // the commit point
		return Lease{}, false
	}
	q.leases.StoreRelease(q.leases.Load() + 1)
	if count > 1 {
		q.repeats.StoreRelease(q.repeats.Load() + 1)
	}
	return Lease{Pos: pos, Count: int(count), parts: rec}, true
}

// acceptable looks at a record that is to be handed out.
func (l *leasing) acceptable(pos, h uint64) (parts, error) {
	if err := l.q.accepts(payloadLen(h)); err != nil {
		return parts{}, err
	}
	return l.q.parts(pos, h)
}

// scan looks among the records handed out before for one that was given back or whose holder died.
func (l *leasing) scan() (Lease, error) {
	alive, worn := l.q.Owners.Self(), l.pending != 0
	for pos := l.head; pos != l.cursor; {
		h, size, ok, err := l.record(pos)
		if err != nil {
			return Lease{}, err
		}
		if !ok || pos+size-l.head > l.cursor-l.head {
			return Lease{}, fmt.Errorf("%w: the records of the queue end before the cursor", errs.ErrCorrupt)
		}
		st := l.q.word(pos + wordSize).Load()
		switch free := pos+1 != l.pending && l.free(st, &alive); {
		case free && l.q.isWorn(countOf(st)):
			if !l.bury(pos, h, st) {
				worn = true
			}
		case free && !l.wornOnly:
			rec, err := l.acceptable(pos, h)
			if err != nil {
				return Lease{}, err
			}
			if ls, ok := l.lease(pos, rec, st); ok {
				return ls, nil
			}
			l.q.again.Store(1) // somebody looks again
		}
		pos += size
	}
	l.q.setWorn(worn)
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
	if l.q.Owners.Dead(holder) {
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
	q, n := l.q, 0
	gets := q.gets.Load()
	for l.head != l.cursor {
		h, size, ok, err := l.record(l.head)
		if err != nil {
			return n > 0, err
		}
		if ok && size > l.cursor-l.head {
			return n > 0, fmt.Errorf("%w: a record of the queue reaches over the cursor", errs.ErrCorrupt)
		}
		if !ok || stateOf(q.word(l.head+wordSize).Load()) != stateDone {
			break
		}
		gets = extend(gets, h)
		q.taken.StoreRelease(l.head + size) // the commit point
		l.head += size
		n++
	}
	if n > 0 {
		q.gets.StoreRelease(gets)
		q.notFull.WakeAll()
		if l.head == l.cursor && q.IsClosed() {
			q.notEmpty.WakeAll() // that was the last: those who wait in case it is given back may end
		}
	}
	return n > 0, nil
}

// TryLease hands out one record; errs.ErrEmpty when there is none now, errs.ErrBusy when another process
// is taking.
func (q *Queue) TryLease() (Lease, error) {
	q.prepare()
	if ok, _ := q.ConsumerLock.TryLock(); !ok {
		return Lease{}, errs.ErrBusy
	}
	ls, err := q.leaseUnlock(nil)
	if err == nil {
		q.announce()
	}
	return ls, err
}

func (q *Queue) leaseUnlock(w *leaseWait) (Lease, error) {
	defer q.unlockConsumer()
	if err := q.check(false); err != nil {
		return Lease{}, err
	}
	var l leasing
	if err := l.resume(q); err != nil {
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
	// If nobody has anything, the end of a closed queue is final. If somebody has, Drained repairs what a dead producer left:
	// those who wait do not sleep before that (see stuck).
	if err := q.Drained(l.cursor); err != nil {
		return ls, err
	}
	return ls, errs.ErrEmpty
}

// Lease hands out one record, waiting for it. errs.ErrClosed says that none will ever come.
func (q *Queue) Lease(ctx context.Context) (Lease, error) {
	ls, err := q.leaseNow(ctx, nil)
	if err != errs.ErrEmpty {
		return ls, err
	}
	w := leaseWaits.Get().(*leaseWait)
	defer leaseWaits.Put(w)
	*w = leaseWait{q: q, alive: w.alive[:0]}
	for {
		ready := q.getSpin.Poll(&q.anyReady)
		ls, err := q.leaseNow(ctx, w) // the last look before a sleep has to know who holds what
		if err != errs.ErrEmpty {
			return ls, err
		}
		if ready {
			continue // others were faster
		}
		if err := q.Sess.Wait(ctx, w); err != nil {
			return Lease{}, err
		}
	}
}

func (q *Queue) leaseNow(ctx context.Context, w *leaseWait) (Lease, error) {
	if ctx.Err() != nil {
		return Lease{}, context.Cause(ctx)
	}
	q.prepare()
	if _, err := q.ConsumerLock.Lock(ctx); err != nil {
		return Lease{}, err
	}
	ls, err := q.leaseUnlock(w)
	if err == nil {
		q.announce()
	}
	return ls, err
}

// readiness is what a consumer waits for where records are leased. In a closed queue that includes a record that is done
// and was not taken back: the process that acknowledged it found the consumer lock taken, and the holder of that lock may
// have reclaimed before, or its store of taken is not visible yet. The consumer takes it back itself then, and so learns
// whether that was the last one.
type readiness struct{ q *Queue }

func (w *readiness) Ready() bool {
	q := w.q
	pos := q.cursor.Load()
	return q.again.Load() != 0 || pos&7 != 0 || q.word(pos).LoadHint() != 0 || q.flags()&Removed != 0 ||
		q.IsClosed() && q.busy.Load() == 0 && w.mayEnd(pos)
}

// mayEnd reports that nobody has a record, or that the oldest one is done. It looks at taken once: between two looks it
// could move from a record that is done to the end.
func (w *readiness) mayEnd(cursor uint64) bool {
	at := w.q.taken.Load()
	return at == cursor || w.q.doneAt(at)
}

// Body is the memory of a leased record's body, in place. It stays until the lease is settled.
func (q *Queue) Body(ls Lease) []byte { return q.body(ls.Pos, ls.parts) }

// Block sets *block to a copy of the envelope of a leased record, empty if it has none.
func (q *Queue) Block(ls Lease, block *[]byte) { q.copyBlock(block, ls.Pos, ls.parts) }

// Settle ends a lease: done takes the record away for good, otherwise it goes to the next consumer.
// errs.ErrConflict when it is not ours (any more).
func (q *Queue) Settle(ls Lease, done bool) error {
	mine := leasedState(q.Owners.Self(), uint64(ls.Count))
	to := uint64(stateReady | ls.Count<<countShift)
	if done {
		to = stateDone
	}
	if !q.word(ls.stateAt()).CAS(mine, to) { // the commit point
		return fmt.Errorf("%w: the delivery was settled before", errs.ErrConflict)
	}
	if !done {
		q.again.Store(1)
		q.notEmpty.Wake(1)
		if q.isWorn(uint64(ls.Count)) {
			return q.tryBury()
		}
		return nil
	}
	if _, err := q.tryReclaim(); err != nil {
		return err
	}
	if q.IsClosed() {
		q.notEmpty.WakeAll() // perhaps it was the last
	}
	return nil
}

// tryReclaim takes back the memory of done records, unless somebody else is taking: see unlockConsumer.
func (q *Queue) tryReclaim() (freed bool, err error) {
	if ok, _ := q.ConsumerLock.TryLock(); !ok {
		return false, nil
	}
	defer q.unlockConsumer()
	var l leasing
	if err := l.resume(q); err != nil {
		return false, err
	}
	return l.reclaim()
}
