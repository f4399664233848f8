package feed

import (
	"context"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Publisher is the publishing side while its lock is held: a private copy of where things stand. Not for concurrent
// use.
type Publisher struct {
	f      *Feed
	pos    uint64 // the tail
	number uint64 // of the record that will stand there
	bytes  uint64
	freed  uint64
	next   uint64 // end of the batch being written, pos when there is none
	first  uint64 // header of its first record
	count  uint64 // its records
	sum    uint64 // its payload bytes
	want   uint64 // what a sleeping wait needs freed
	dry    uint64 // number when there was last no room
}

// Resume learns where the tail is. It must be called after the lock was taken, whoever had it before and however that
// ended.
func (p *Publisher) Resume(f *Feed) error {
	hint, freed := f.tail.Load(), f.freed.Load()
	if err := f.span(freed, hint); err != nil {
		return err
	}
	end := hint
	for h := f.word(end).Load(); h != 0; h = f.word(end).Load() {
		size, err := f.parse(h)
		if err != nil {
			return err
		}
		if end += size; end-freed > f.size {
			return fmt.Errorf("%w: the records of the topic have no end", errs.ErrCorrupt)
		}
	}
	if end+recordHead-freed > f.size {
		return fmt.Errorf("%w: the topic is fuller than it can be", errs.ErrCorrupt)
	}
	if end != hint {
		f.tail.StoreRelease(end)
	}
	if f.busy.Load() != 0 {
		f.busy.StoreRelease(0)
	}
	*p = Publisher{f: f, pos: end, next: end, number: f.word(end + wordSize).Load(), bytes: f.bytes.Load(), freed: freed, dry: p.dry}
	return nil
}

// room makes sure that the bytes up to end, and the two words behind them, may be written.
func (p *Publisher) room(end uint64) error {
	if end += recordHead; end-p.freed <= p.f.size {
		return nil
	}
	return p.makeRoom(end - p.f.size)
}

// makeRoom gives up the oldest records, so that what lies before need may be overwritten; errs.ErrFull if a subscriber
// has to read before that, or if the records are those of the batch.
func (p *Publisher) makeRoom(need uint64) error {
	f := p.f
	if before(p.pos, need) {
		return errs.ErrFull
	}
	floor := f.floor.Load()
	if floor&7 != 0 || floor-p.freed > f.size || before(p.pos, floor) {
		return fmt.Errorf("%w: topic positions %#x, %#x and %#x are not in order", errs.ErrCorrupt, p.freed, floor, p.pos)
	}
	if before(floor, need) {
		most := p.pos
		if !f.overwrite {
			if most = f.behind(p.freed, p.pos, need); before(most, need) {
				return errs.ErrFull // and what is there stays, for who comes new
			}
		}
		if before(need+f.slack, most) {
			most = need + f.slack
		}
		to, err := p.over(floor, need, most)
		if err != nil {
			return err
		}
		f.floor.Swap(to) // a full fence: before the look at the cursors, and before what is written over it
		floor = to
	}
	freed := floor
	if !f.overwrite {
		if most := f.behind(p.freed, p.pos, floor); before(most, freed) {
			freed = most &^ 7
		}
	}
	if before(p.freed, freed) {
		p.freed = freed
		f.freed.StoreRelease(freed)
	}
	if before(p.freed, need) {
		return errs.ErrFull
	}
	return nil
}

// over walks over records from pos to a boundary at or behind need, and on while the next one is not behind most.
func (p *Publisher) over(pos, need, most uint64) (uint64, error) {
	for pos != p.pos {
		size, err := p.f.parse(p.f.word(pos).Load())
		if err != nil {
			return 0, err
		}
		next := pos + size
		if before(p.pos, next) {
			return 0, fmt.Errorf("%w: a record of the topic reaches over the tail", errs.ErrCorrupt)
		}
		if !before(pos, need) && before(most, next) {
			break
		}
		pos = next
	}
	return pos, nil
}

// Add writes one message behind the batch; Commit makes the batch visible. errs.ErrFull when there is no room now.
func (p *Publisher) Add(b []byte) error {
	if err := p.f.Fits(len(b)); err != nil {
		return err
	}
	end := p.next + recordSize(len(b))
	if err := p.room(end); err != nil {
		return err
	}
	number := p.number + p.count
	p.f.write(p.next, end, b, number)
	p.count++
	p.sum += uint64(len(b))
	if h := header(len(b), number); p.next == p.pos {
		p.first = h
	} else {
		p.f.word(p.next).StoreRelease(h)
	}
	p.next = end
	return nil
}

// write writes a record but for its header: the two words behind it (I1) and the payload.
func (f *Feed) write(pos, end uint64, b []byte, number uint64) {
	f.word(end).StoreRelease(0)
	f.word(end + wordSize).StoreRelease(number + 1)
	if f.overwrite {
		f.copyIn(pos+recordHead, b)
	} else {
		f.area.CopyIn(pos+recordHead, b)
	}
}

// Commit makes the batch visible, all of it at once, and wakes subscribers. An error says that nothing was: the topic
// was closed or removed.
func (p *Publisher) Commit() error {
	f := p.f
	if p.count == 0 {
		return nil
	}
	f.busy.StoreRelease(1) // pairs with Heavy in Ended
	if err := f.check(true); err != nil {
		f.busy.StoreRelease(0)
		f.published.WakeAll() // subscribers of a closed topic wait for this
		p.Drop()
		return err
	}
	f.word(p.pos).StoreRelease(p.first) // the commit point
	p.pos = p.next
	p.number += p.count
	p.bytes += p.sum
	f.tail.StoreRelease(p.pos)
	f.bytes.StoreRelease(p.bytes)
	f.busy.StoreRelease(0)
	p.count, p.sum = 0, 0
	f.published.WakeAll()
	return nil
}

// Drop forgets the batch.
func (p *Publisher) Drop() { p.next, p.count, p.sum = p.pos, 0, 0 }

// PublishNow is Add and Commit of one message in one piece, for the frequent case: there is room as far as is known, and
// nothing is out of the ordinary. Otherwise it does nothing and returns false.
func (p *Publisher) PublishNow(b []byte) bool {
	f := p.f
	n := uint64(len(b))
	end := p.pos + recordHead + pad(n)
	if end+recordHead-p.freed > f.size || n > f.longest || p.next != p.pos {
		return false
	}
	f.write(p.pos, end, b, p.number)
	f.busy.StoreRelease(1) // pairs with Heavy in Ended
	if f.state.Load()&(Removed|Closed) != 0 {
		f.busy.StoreRelease(0)
		f.published.WakeAll()
		return false
	}
	f.word(p.pos).StoreRelease(header(int(n), p.number)) // the commit point
	p.number++
	p.pos, p.next = end, end
	p.bytes += n
	f.tail.StoreRelease(end)
	f.bytes.StoreRelease(p.bytes)
	f.busy.StoreRelease(0)
	f.published.WakeAll()
	f.area.PrefetchWrite(end + lineSize) // while the subscribers are still busy with this message
	return true
}

const lineSize = 64

// Publish is the whole of publishing one message, for the holder of an exclusive handle.
func (p *Publisher) Publish(ctx context.Context, b []byte) error {
	if p.PublishNow(b) {
		return nil
	}
	for {
		err := p.Add(b)
		if err == nil {
			return p.Commit()
		}
		if err != errs.ErrFull {
			return err
		}
		if err := p.waitRoom(ctx, len(b)); err != nil {
			return err
		}
	}
}

// PublishAll publishes messages in order, as many as fit at a time, each such part as one commit, for the holder of an
// exclusive handle. It returns how many were published.
func (p *Publisher) PublishAll(ctx context.Context, msgs [][]byte) (n int, err error) {
	for _, m := range msgs {
		if err := p.f.Fits(len(m)); err != nil {
			return 0, err
		}
	}
	for n < len(msgs) {
		k, err := p.AddMany(msgs[n:])
		n += k
		if err == errs.ErrFull && k == 0 {
			err = p.waitRoom(ctx, len(msgs[n]))
		}
		if err != nil && err != errs.ErrFull {
			return n, err
		}
	}
	return n, nil
}

// AddMany adds what fits and commits it. errs.ErrFull says that n < len(msgs); with n > 0 there may be room at once.
func (p *Publisher) AddMany(msgs [][]byte) (n int, err error) {
	var full error
	for _, m := range msgs {
		if full = p.Add(m); full != nil {
			break
		}
		n++
	}
	if err := p.Commit(); err != nil {
		return 0, err
	}
	return n, full
}

// Ready reports whether a sleeping wait for room should look again.
func (p *Publisher) Ready() bool {
	f := p.f
	return f.state.Load()&(Removed|Closed) != 0 || !before(f.least(p.freed, p.pos), p.want)
}

// waitRoom waits until a message of n bytes may fit behind the tail. On the way of shared handles the lock is not held
// any more.
func (p *Publisher) waitRoom(ctx context.Context, n int) error {
	f := p.f
	if err := f.check(true); err != nil {
		return err
	}
	if ctx.Err() != nil { // also where hostile bytes make us come back again and again
		return context.Cause(ctx)
	}
	p.want = p.pos + recordSize(n) + recordHead - f.size
	went := burst(p.number-p.dry, &f.pubSpin)
	p.dry = p.number
	if went && p.Ready() {
		return nil
	}
	return f.await(ctx, p, &f.pubSpin)
}
