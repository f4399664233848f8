package row

import (
	"context"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Room for what is put. In a queue it comes from the consumers: taken moves on. In a topic the producer itself moves
// floor over the oldest records, and freed after it, as far as the subscribers are.

// room makes sure that the bytes up to end, and the words behind them, may be written.
func (p *Producer) room(end uint64) error {
	r := p.r
	if end += r.ahead; end-p.freed <= r.size {
		return nil
	}
	if r.topic != nil {
		return r.topic.makeRoom(p, end-r.size)
	}
	if err := p.look(); err != nil {
		return err
	}
	if end-p.freed <= r.size {
		return nil
	}
	return errs.ErrFull
}

// look reads how far the consumers of a queue are.
func (p *Producer) look() error {
	taken := p.r.freed.Load()
	if err := p.r.span(taken, p.pos); err != nil {
		return err
	}
	if p.freed != taken {
		p.freed = taken
		p.r.seen.StoreRelease(taken)
	}
	return nil
}

// Ready reports whether a sleeping wait for room should look again.
func (p *Producer) Ready() bool {
	r := p.r
	if r.flags()&(Removed|Closed|Deaf) != 0 {
		return true
	}
	// Signed: without the lock, others may have put and taken beyond our tail meanwhile.
	if r.topic != nil {
		return r.topic.overwrite || !before(r.topic.least(p.freed, p.pos), p.want)
	}
	return !before(r.freed.Load(), p.want)
}

// waitRoom waits until a message of n bytes may fit behind the tail, after it has taken back what acknowledged records
// occupy. On the way of shared handles the lock is not held any more.
func (p *Producer) waitRoom(ctx context.Context, n int) error {
	r := p.r
	if err := r.check(true); err != nil {
		return err
	}
	if ctx.Err() != nil { // also where hostile bytes make us come back again and again
		return context.Cause(ctx)
	}
	if r.topic != nil && r.topic.overwrite {
		return nil
	}
	p.want = p.pos + r.recordSize(n) + r.ahead - r.size
	went := burst(p.number-p.dry, &r.putSpin)
	p.dry = p.number
	if went && p.Ready() { // not look: the lock may not be held
		return nil
	}
	if r.Ack() {
		if freed, err := r.queue.tryReclaim(); err != nil || freed {
			return err
		}
	}
	return r.await(ctx, p, p)
}

// makeRoom gives up the oldest records of a topic, so that what lies before need may be overwritten; errs.ErrFull if a
// subscriber has to read before that, or if the records are those of the batch.
func (t *Topic) makeRoom(p *Producer, need uint64) error {
	if before(p.pos, need) {
		return errs.ErrFull
	}
	floor := t.floor.Load()
	if floor&7 != 0 || floor-p.freed > t.size || before(p.pos, floor) {
		return fmt.Errorf("%w: positions %#x, %#x and %#x are not in order", errs.ErrCorrupt, p.freed, floor, p.pos)
	}
	if before(floor, need) {
		most := p.pos
		if !t.overwrite {
			if most = t.behind(p.freed, p.pos, need); before(most, need) {
				return errs.ErrFull // and what is there stays, for newcomers
			}
		}
		if before(need+t.slack, most) {
			most = need + t.slack
		}
		to, err := t.giveUp(p.pos, floor, need, most)
		if err != nil {
			return err
		}
		t.floor.Swap(to) // a full fence: before the look at the cursors, and before what is written over it
		floor = to
	}
	freed := floor
	if !t.overwrite {
		if most := t.behind(p.freed, p.pos, floor); before(most, freed) {
			freed = most &^ 7
		}
	}
	if before(p.freed, freed) {
		p.freed = freed
		t.freed.StoreRelease(freed)
	}
	if before(p.freed, need) {
		return errs.ErrFull
	}
	return nil
}

// giveUp walks over records from pos to a boundary at or behind need, and on while the next one is not behind most.
func (t *Topic) giveUp(tail, pos, need, most uint64) (uint64, error) {
	for pos != tail {
		size, err := t.parse(t.word(pos).Load())
		if err != nil {
			return 0, err
		}
		next := pos + size
		if before(tail, next) {
			return 0, fmt.Errorf("%w: a record reaches over the tail", errs.ErrCorrupt)
		}
		if !before(pos, need) && before(most, next) {
			break
		}
		pos = next
	}
	return pos, nil
}

// least is the position that the slowest subscriber is at, tail if nobody is before it. Cursors before freed are those
// of newcomers who will go on from floor.
func (t *Topic) least(freed, tail uint64) uint64 {
	low := tail
	for i := range t.inUse() {
		if w := t.slot32(i, slotToken).Load(); w == 0 || w&joining != 0 {
			continue
		}
		if c := t.slot64(i, slotCursor).Load(); c-freed < low-freed {
			low = c
		}
	}
	return low
}

// behind is least, after those who are before need and dead have been taken away.
func (t *Topic) behind(freed, tail, need uint64) uint64 {
	low := t.least(freed, tail)
	if before(low, need) && t.reap(freed, need) {
		low = t.least(freed, tail)
	}
	return low
}
