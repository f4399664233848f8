package row

import (
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Producer is the putting side while its lock is held: a private copy of where things stand. Not for
// concurrent use.
type Producer struct {
	r      *Row
	pos    uint64 // the tail
	number uint64 // of the record that will stand there
	bytes  uint64
	high   uint64
	freed  uint64 // as last seen
	next   uint64 // end of the batch being written, pos when there is none
	first  uint64 // header of its first record
	count  uint64 // its records
	sum    uint64 // its payload bytes
	want   uint64 // position up to which a sleeping wait needs the area free
	dry    uint64 // number when there was last no room
}

// Resume learns where the tail is. It must be called after the lock was taken, whoever had it before
// and however that ended.
func (p *Producer) Resume(r *Row) error {
	freed := r.freed.Load()
	hint := r.tail.Load()
	*p = Producer{r: r, freed: freed, dry: p.dry}
	p.counters(hint)
	start := hint
	if r.queue != nil && hint-freed > r.size { // records were committed and taken after the hint: a death
		start = freed
		p.number = max(p.number, r.queue.gets.Load()+1)
	}
	if err := r.span(freed, start); err != nil {
		return err
	}
	end, last, n, err := r.walk(start)
	if err != nil {
		return err
	}
	if end+r.ahead-freed > r.size {
		return fmt.Errorf("%w: records from %#x to %#x in an area of %d bytes", errs.ErrCorrupt, freed, end, r.size)
	}
	if r.topic != nil {
		p.number = r.topic.number(end)
	} else if n > 0 {
		p.number = extend(p.number-1, last) + 1
	}
	if end != hint {
		if r.puts != nil {
			r.puts.StoreRelease(p.number - 1)
		}
		r.tail.StoreRelease(end)
	}
	p.pos, p.next = end, end
	if r.busy.Load() != 0 {
		r.busy.StoreRelease(0)
	}
	if r.queue != nil && r.seen.Load()&7 != 0 {
		p.settleMoves()
	}
	return nil
}

// resumeShared is Resume where the tail is right as a rule, without a look at the consumers' line.
func (p *Producer) resumeShared(r *Row) error {
	hint, seen := r.tail.Load(), r.seen.Load()
	if (hint|seen)&7 != 0 || hint-seen > r.size || r.word(hint).Load() != 0 {
		return p.Resume(r)
	}
	*p = Producer{r: r, pos: hint, next: hint, freed: seen}
	p.counters(hint)
	return nil
}

// counters reads what is counted along, and the number of the record at tail.
func (p *Producer) counters(tail uint64) {
	r := p.r
	p.bytes = r.bytes.Load()
	if r.topic != nil {
		p.number, p.high = r.topic.number(tail), noHigh
		return
	}
	p.number, p.high = r.puts.Load()+1, r.high.Load()
}

// noHigh is a high water that is never reached, where none is kept.
const noHigh = 1 << 63

// PutNow is Add and Commit of one message in one piece, for the frequent case: there is room as far as
// is known, and nothing is out of the ordinary. Otherwise it does nothing and returns false.
func (p *Producer) PutNow(b []byte) bool {
	r := p.r
	n := uint64(len(b))
	end := p.pos + r.head + pad(n)
	if end+r.ahead-p.freed > r.size || n > r.longest || p.next != p.pos {
		return false
	}
	r.word(end).StoreRelease(0) // I1
	if r.head > wordSize {
		r.second(p.pos, end, p.number)
	}
	if r.wordwise {
		r.topic.copyWords(p.pos+r.head, b)
	} else {
		r.area.CopyIn(p.pos+r.head, b)
	}
	if p.commit(header(int(n), p.number), end, 1, n) != nil {
		return false
	}
	r.area.PrefetchWrite(end + lineSize) // while the readers are still busy with this message
	return true
}

const lineSize = 64

// Add writes one message behind the batch; Commit makes the batch visible. errs.ErrFull when there is
// no room now.
func (p *Producer) Add(b []byte) error { return p.add(0, b) }

// add writes a record whose header has some bits more.
func (p *Producer) add(bits uint64, b []byte) error {
	if err := p.reserve(len(b)); err != nil {
		return err
	}
	if p.r.wordwise {
		p.r.topic.copyWords(p.next+p.r.head, b)
	} else {
		p.r.area.CopyIn(p.next+p.r.head, b)
	}
	p.finish(bits, len(b))
	return nil
}

// AddMany adds what fits and commits it. errs.ErrFull says that n < len(msgs).
func (p *Producer) AddMany(msgs [][]byte) (n int, err error) {
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

// Reserve is the memory of one message of n bytes behind the batch, to be filled in place; AddReserved
// follows. On the heap it may be a copy. In queues only: a topic that overwrites stores word by word.
func (p *Producer) Reserve(n int) ([]byte, error) {
	if err := p.reserve(n); err != nil {
		return nil, err
	}
	return p.r.view(p.next+p.r.head, n), nil
}

// AddReserved ends the filling of what Reserve gave, of which the first n bytes count.
func (p *Producer) AddReserved(b []byte, n int) {
	if p.r.area.Slice(p.next+p.r.head, len(b)) == nil {
		p.r.area.CopyIn(p.next+p.r.head, b[:n]) // the view was a copy
	}
	p.finish(0, n)
}

func (p *Producer) reserve(n int) error {
	if err := p.r.Fits(n); err != nil {
		return err
	}
	return p.room(p.next + p.r.recordSize(n))
}

// finish ends the record of n bytes behind the batch. Its header is stored, or, if it is the first, kept
// for the commit.
func (p *Producer) finish(bits uint64, n int) {
	end := p.next + p.r.recordSize(n)
	number := p.number + p.count
	p.r.word(end).StoreRelease(0) // I1
	if p.r.head > wordSize {
		p.r.second(p.next, end, number)
	}
	p.count++
	p.sum += uint64(n)
	if h := header(n, number) | bits; p.next == p.pos {
		p.first = h
	} else {
		p.r.word(p.next).StoreRelease(h)
	}
	p.next = end
}

// second stores the second word that belongs to the record from pos to end: its state, or the number of
// the next one (I1).
func (r *Row) second(pos, end, number uint64) {
	if r.topic != nil {
		r.word(end + wordSize).StoreRelease(number + 1)
		return
	}
	r.word(pos + wordSize).StoreRelease(stateReady)
}

// Commit makes the batch visible, all of it at once, and wakes readers. An error says that nothing
// was: the row was closed or removed.
func (p *Producer) Commit() error {
	if p.count == 0 {
		return nil
	}
	return p.commit(p.first, p.next, p.count, p.sum)
}

// commit makes count records of sum bytes visible, up to end, by storing the header of the first one.
func (p *Producer) commit(first, end, count, sum uint64) error {
	r := p.r
	r.busy.StoreRelease(1) // pairs with Heavy in final
	if r.flags() != 0 {
		if err := p.refused(); err != nil {
			return err
		}
	}
	r.word(p.pos).StoreRelease(first) // the commit point
	p.pos, p.next = end, end
	p.number += count
	p.bytes += sum
	if r.puts != nil {
		r.puts.StoreRelease(p.number - 1) // before tail: the next producer that finds tail lagging counts from here
	}
	r.tail.StoreRelease(end)
	r.bytes.StoreRelease(p.bytes)
	r.busy.StoreRelease(0)
	if end-p.freed > p.high+r.size/64 {
		p.raiseHigh()
	}
	p.count, p.sum = 0, 0
	r.notEmpty.Wake(int(max(count, r.rouse)))
	return nil
}

// refused drops the batch if the state word says that nothing can be put.
func (p *Producer) refused() error {
	err := p.r.check(true)
	if err != nil {
		p.r.busy.StoreRelease(0)
		p.r.notEmpty.WakeAll() // readers of a closed row wait for this
		p.Drop()
	}
	return err
}

func (p *Producer) raiseHigh() {
	if p.look() != nil {
		return // the next put reports it
	}
	if used := p.pos - p.freed; used > p.high {
		p.high = used
		p.r.high.StoreRelease(used)
	}
}

// Drop forgets the batch.
func (p *Producer) Drop() { p.next, p.count, p.sum = p.pos, 0, 0 }

// Pending is the number of records in the batch.
func (p *Producer) Pending() int { return int(p.count) }
