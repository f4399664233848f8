package row

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// A record is worn if it was handed out as often as it may be and is free again. It is not handed out any more. Whoever looks for a
// record to lease, or gives one back, moves it to where Bury says, or drops it. Where that fails for now, because the
// place is full, or busy, the record stays, and "worn" has those who wait look again.

// isWorn reports whether a record that was handed out count times is not to be handed out again. The count saturates,
// at more than any limit.
func (q *Queue) isWorn(count uint64) bool { return q.limit > 0 && count >= min(q.limit, countMask) }

func (q *Queue) setWorn(worn bool) {
	switch was := q.worn.Load() != 0; {
	case worn && !was:
		q.worn.StoreRelease(1)
	case !worn && was:
		q.worn.StoreRelease(0)
	}
}

// bury takes a worn record away and reports whether it is gone. It is ours first: its last holder may have acknowledged it
// since we looked.
func (l *leasing) bury(pos, h, st uint64) (gone bool) {
	q := l.q
	w := q.word(pos + wordSize)
	mine := leasedState(q.Owners.Self(), countOf(st))
	if !w.CAS(st, mine) {
		q.again.Store(1) // somebody looks again
		return true
	}
	if q.Bury == nil {
		w.CAS(mine, stateDone) // the commit point
		q.dropped.StoreRelease(q.dropped.Load() + 1)
		return true
	}
	if l.pending == 0 && q.Bury(func(to Target) error { return l.move(pos, h, to) }) == nil {
		q.buried.StoreRelease(q.buried.Load() + 1)
		return true
	}
	q.setWorn(true)
	w.CAS(mine, stateReady|countOf(st)<<countShift)
	return false
}

// tryBury takes worn records away. If another process is taking, it leaves that to the other one.
func (q *Queue) tryBury() error {
	if ok, _ := q.ConsumerLock.TryLock(); !ok {
		return nil
	}
	defer q.unlockConsumer()
	var l leasing
	if err := l.resume(q); err != nil {
		return err
	}
	l.wornOnly = true
	if _, err := l.scan(); err != errs.ErrEmpty {
		return err
	}
	_, err := l.reclaim()
	return err
}

func (q *Queue) prepare() {
	if q.Prepare != nil {
		q.Prepare()
	}
}

// MoveLease takes a leased record to another queue, in place of Settle. It does not wait for that: errs.ErrFull when it has
// no room, errs.ErrBusy when somebody has its producer lock, or when an earlier move cannot be finished. With an error the
// lease is still ours, unless it was settled before, which is errs.ErrConflict.
func (q *Queue) MoveLease(ctx context.Context, ls Lease, to Target) error {
	if to.Queue.id == q.id {
		return fmt.Errorf("%w: a message is moved to its own queue", errs.ErrConflict)
	}
	q.prepare()
	if _, err := q.ConsumerLock.Lock(ctx); err != nil {
		return err
	}
	defer q.unlockConsumer()
	var l leasing
	if err := l.resume(q); err != nil {
		return err
	}
	if l.pending != 0 {
		return errs.ErrBusy
	}
	if q.word(ls.stateAt()).Load() != leasedState(q.Owners.Self(), uint64(ls.Count)) {
		return fmt.Errorf("%w: the delivery was settled before", errs.ErrConflict)
	}
	h, _, ok, err := l.record(ls.Pos)
	if err != nil {
		return err
	}
	if !ok {
		return errs.ErrCorrupt
	}
	if err := l.move(ls.Pos, h, to); err != nil {
		return err
	}
	_, err = l.reclaim()
	return err
}

// AwaitRoom waits until a message of n bytes may be put, by somebody who does not hold the producer lock then.
func (q *Queue) AwaitRoom(ctx context.Context, n int) error {
	if err := q.check(true); err != nil {
		return err
	}
	if _, err := q.ProducerLock.Lock(ctx); err != nil {
		return err
	}
	var p Producer
	err := q.roomUnlock(&p, n)
	if err == errs.ErrFull {
		err = q.waitShared(ctx, p, n)
	}
	return err
}

func (q *Queue) roomUnlock(p *Producer, n int) error {
	defer q.ProducerLock.Unlock()
	if err := p.resumeShared(&q.Row); err != nil {
		return err
	}
	return p.reserve(n)
}

// Moving is the target of a move that has begun and not ended, as its mover wrote it down.
func (q *Queue) Moving() (name string, id uint64, ok bool) {
	if q.names.span == nil || q.moving.Load() == 0 {
		return "", 0, false
	}
	name, id = q.names.get()
	return name, id, true
}

// moveName is where a queue says where its moves go.
type moveName struct {
	span *mem.Span
	at   int
}

const (
	nameID    = 0  // u64 the identity of the target
	nameLen   = 8  // u64 bytes of its name
	nameBytes = 16 // the name

	// NameSize is the size of such a place, LongestName what fits.
	NameSize    = 272
	LongestName = NameSize - nameBytes - 1
)

// set is called with the consumer lock held, while no move has begun.
func (n moveName) set(name string, id uint64) {
	var b [NameSize - nameBytes]byte
	copy(b[:], name)
	for i := 0; i < len(b); i += wordSize {
		n.span.U64(n.at + nameBytes + i).StoreRelease(binary.LittleEndian.Uint64(b[i:]))
	}
	n.span.U64(n.at + nameLen).StoreRelease(uint64(len(name)))
	n.span.U64(n.at + nameID).StoreRelease(id)
}

func (n moveName) get() (name string, id uint64) {
	var b [NameSize - nameBytes]byte
	for i := 0; i < len(b); i += wordSize {
		binary.LittleEndian.PutUint64(b[i:], n.span.U64(n.at+nameBytes+i).Load())
	}
	return string(b[:min(n.span.U64(n.at+nameLen).Load(), LongestName)]), n.span.U64(n.at + nameID).Load()
}
