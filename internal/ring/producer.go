package ring

import (
	"context"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// Producer is the putting side while its lock is held: a private copy of where things stand. Not for
// concurrent use.
type Producer struct {
	r     *Ring
	pos   uint64 // the tail
	puts  uint64
	bytes uint64
	high  uint64
	taken uint64 // as last seen
	next  uint64 // end of the batch being written, pos when there is none
	first uint64 // header of its first record
	count uint64 // its records
	sum   uint64 // its payload bytes
	want  uint64 // bytes that a sleeping Wait needs
	dry   uint64 // puts when the ring was last full
}

// Resume learns where the tail is. It must be called after the lock was taken, whoever had it before
// and however that ended.
func (p *Producer) Resume(r *Ring) error {
	p.r = r
	taken := r.taken.Load()
	hint := r.tail.Load()
	p.puts, p.bytes, p.high, p.taken = r.puts.Load(), r.bytes.Load(), r.high.Load(), taken
	start := hint
	if hint-taken > r.size { // records were committed and taken after the hint: a death
		start = taken
		p.puts = max(p.puts, r.gets.Load())
	}
	if err := r.span(taken, start); err != nil {
		return err
	}
	end, last, n, err := r.walk(start)
	if err != nil {
		return err
	}
	if n > 0 {
		p.puts = extend(p.puts, last)
	}
	if start != hint || n > 0 {
		r.puts.StoreRelease(p.puts)
		r.tail.StoreRelease(end)
	}
	p.pos, p.next, p.count, p.sum = end, end, 0, 0
	p.busyOff()
	return r.span(taken, end)
}

// resumeShared is Resume where the tail is right as a rule, without a look at the consumers' line.
func (p *Producer) resumeShared(r *Ring) error {
	hint, seen := r.tail.Load(), r.seen.Load()
	if (hint|seen)&7 != 0 || hint-seen > r.size || r.word(hint).Load() != 0 {
		return p.Resume(r)
	}
	*p = Producer{r: r, pos: hint, next: hint, taken: seen,
		puts: r.puts.Load(), bytes: r.bytes.Load(), high: r.high.Load()}
	return nil
}

func (p *Producer) busyOff() {
	if p.r.busy.Load() != 0 {
		p.r.busy.StoreRelease(0)
	}
}

// room makes sure that need more bytes, and the word behind them, are free.
func (p *Producer) room(need uint64) error {
	end := p.next + need + wordSize
	if end-p.taken <= p.r.size {
		return nil
	}
	if err := p.look(); err != nil {
		return err
	}
	if end-p.taken <= p.r.size {
		return nil
	}
	return errs.ErrFull
}

// look reads how far the consumers are.
func (p *Producer) look() error {
	taken := p.r.taken.Load()
	if err := p.r.span(taken, p.pos); err != nil {
		return err
	}
	if p.taken != taken {
		p.taken = taken
		p.r.seen.StoreRelease(taken)
	}
	return nil
}

// Fits reports an error if no message of n bytes can ever be put.
func (r *Ring) Fits(n int) error {
	if n < 0 || n > r.MaxPayload() {
		return fmt.Errorf("%w: a message of %d bytes, at most %d fit", errs.ErrTooLarge, n, r.MaxPayload())
	}
	return nil
}

// Add writes one message behind the batch; Commit makes the batch visible. errs.ErrFull when there is
// no room now.
func (p *Producer) Add(b []byte) error {
	if err := p.reserve(len(b)); err != nil {
		return err
	}
	p.r.area.CopyIn(p.next+p.r.hdr, b)
	p.finish(len(b))
	return nil
}

// Reserve is the memory of one message of n bytes behind the batch, to be filled in place; AddReserved
// follows. On the heap it may be a copy.
func (p *Producer) Reserve(n int) ([]byte, error) {
	if err := p.reserve(n); err != nil {
		return nil, err
	}
	return p.r.view(p.next+p.r.hdr, n), nil
}

// AddReserved ends the filling of what Reserve gave, of which the first n bytes count.
func (p *Producer) AddReserved(b []byte, n int) {
	if p.r.area.Slice(p.next+p.r.hdr, len(b)) == nil {
		p.r.area.CopyIn(p.next+p.r.hdr, b[:n]) // the view was a copy
	}
	p.finish(n)
}

func (p *Producer) reserve(n int) error {
	if err := p.r.Fits(n); err != nil {
		return err
	}
	return p.room(p.r.recordSize(n))
}

// finish puts a header before the n bytes behind the batch, or, if it is the first, keeps it for the
// commit; and sees to I1.
func (p *Producer) finish(n int) {
	end := p.next + p.r.recordSize(n)
	p.r.word(end).StoreRelease(0)
	if p.r.hdr > wordSize {
		p.r.word(p.next + wordSize).StoreRelease(stateReady)
	}
	p.count++
	p.sum += uint64(n)
	if h := header(n, p.puts+p.count); p.next == p.pos {
		p.first = h
	} else {
		p.r.word(p.next).StoreRelease(h)
	}
	p.next = end
}

// Commit makes the batch visible, all of it at once, and wakes consumers. An error says that nothing
// was: the ring was closed or removed.
func (p *Producer) Commit() error {
	r := p.r
	if p.count == 0 {
		return nil
	}
	r.busy.StoreRelease(1) // pairs with Heavy in drained
	if err := r.check(true); err != nil {
		r.busy.StoreRelease(0)
		r.notEmpty.WakeAll() // consumers of a closed ring wait for this
		p.Drop()
		return err
	}
	r.word(p.pos).StoreRelease(p.first) // the commit point
	p.pos = p.next
	p.puts += p.count
	p.bytes += p.sum
	r.puts.StoreRelease(p.puts) // before tail: who finds the tail behind counts the records from here
	r.tail.StoreRelease(p.pos)
	r.bytes.StoreRelease(p.bytes)
	r.busy.StoreRelease(0)
	if p.pos-p.taken > p.high+r.size/64 {
		p.raiseHigh()
	}
	n := int(p.count)
	p.count, p.sum = 0, 0
	r.notEmpty.Wake(n)
	return nil
}

func (p *Producer) raiseHigh() {
	if p.look() != nil {
		return // the next put reports it
	}
	if used := p.pos - p.taken; used > p.high {
		p.high = used
		p.r.high.StoreRelease(used)
	}
}

// Drop forgets the batch.
func (p *Producer) Drop() { p.next, p.count, p.sum = p.pos, 0, 0 }

const (
	burstLeast = 16  // messages without a wait between that make a burst
	burstPause = 200 // pause hints
)

// burst is called when a side runs dry after n messages without a wait. If those were many, the other
// side is at work as well: it lets that get ahead for a moment, instead of taking the line that it is
// about to write away from it at every message. The result says that a moment went by.
func burst(n uint64, s *wait.Spinner) bool {
	if n < burstLeast || !s.Useful() {
		return false
	}
	mem.Pause(burstPause)
	return true
}

// Pending is the number of records in the batch.
func (p *Producer) Pending() int { return int(p.count) }

// Ready reports whether a sleeping Wait should look again.
func (p *Producer) Ready() bool {
	// Signed: without the lock, others may have put and taken beyond our tail meanwhile.
	return int64(p.pos+p.want-p.r.taken.Load()) <= int64(p.r.size) || p.r.flags()&(Removed|Closed|Deaf) != 0
}

// Wait waits until a message of n bytes may fit behind the tail.
func (p *Producer) Wait(ctx context.Context, n int) error {
	p.want = p.r.recordSize(n) + wordSize
	return p.r.await(ctx, p, &p.r.putSpin, true)
}

// PutNow is Add and Commit of one message in one piece, for the frequent case: there is room as far as
// is known, and nothing is out of the ordinary. Otherwise it does nothing and returns false.
func (p *Producer) PutNow(b []byte) bool {
	r := p.r
	n := uint64(len(b))
	end := p.pos + r.hdr + pad(n)
	if end+wordSize-p.taken > r.size || n > r.longest || p.next != p.pos {
		return false
	}
	r.area.Word(end).StoreRelease(0)
	if r.hdr > wordSize {
		r.area.Word(p.pos + wordSize).StoreRelease(stateReady)
	}
	r.area.CopyIn(p.pos+r.hdr, b)
	r.busy.StoreRelease(1) // pairs with Heavy in Drained
	if r.flags() != 0 {
		r.busy.StoreRelease(0)
		r.notEmpty.WakeAll() // consumers of a closed ring wait for this
		return false
	}
	p.puts++
	r.area.Word(p.pos).StoreRelease(header(int(n), p.puts)) // the commit point
	p.pos, p.next = end, end
	p.bytes += n
	r.puts.StoreRelease(p.puts) // before tail, as in Commit
	r.tail.StoreRelease(end)
	r.bytes.StoreRelease(p.bytes)
	r.busy.StoreRelease(0)
	if end-p.taken > p.high+r.size/64 {
		p.raiseHigh()
	}
	r.notEmpty.Wake(1)
	r.area.PrefetchWrite(end + lineSize) // while the consumer is still busy with this message
	return true
}

const lineSize = 64

// Put is the whole of putting one message, for the holder of an exclusive handle.
func (p *Producer) Put(ctx context.Context, b []byte) error {
	if p.PutNow(b) {
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

// PutAll puts messages in order, as many as fit at a time, each such part as one commit, for the
// holder of an exclusive handle. It returns how many were put.
func (p *Producer) PutAll(ctx context.Context, msgs [][]byte) (n int, err error) {
	for _, m := range msgs {
		if err := p.r.Fits(len(m)); err != nil {
			return 0, err
		}
	}
	for n < len(msgs) {
		k, err := p.AddMany(msgs[n:])
		n += k
		if err == errs.ErrFull {
			err = p.waitRoom(ctx, len(msgs[n]))
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// WriteAll puts a stream of bytes in pieces, so that the other side can read the first while we
// write the next. It returns how many bytes were put.
func (p *Producer) WriteAll(ctx context.Context, b []byte) (n int, err error) {
	piece := int(min(p.r.size/4, streamPiece)) - 2*wordSize
	for n < len(b) {
		k := min(piece, len(b)-n)
		if err := p.Put(ctx, b[n:n+k]); err != nil {
			return n, err
		}
		n += k
	}
	return n, nil
}

// streamPiece is the longest record of a byte stream.
const streamPiece = 32 << 10

// drained is what Drain waits for.
type drained struct{ p *Producer }

func (d drained) Ready() bool { return d.p.r.taken.Load() == d.p.pos }

// Drain waits until everything that was put is taken.
func (p *Producer) Drain(ctx context.Context) error {
	for !(drained{p}).Ready() {
		if err := p.look(); err != nil {
			return err
		}
		if s := p.r.flags(); s&Removed != 0 {
			return errs.ErrRemoved
		} else if s&Deaf != 0 && !(drained{p}).Ready() {
			return errs.ErrPeerGone
		}
		if err := p.r.await(ctx, drained{p}, &p.r.putSpin, true); err != nil {
			return err
		}
	}
	return nil
}

// ReserveWait is Reserve, waiting for room.
func (p *Producer) ReserveWait(ctx context.Context, n int) ([]byte, error) {
	for {
		b, err := p.Reserve(n)
		if err != errs.ErrFull {
			return b, err
		}
		if err := p.waitRoom(ctx, n); err != nil {
			return nil, err
		}
	}
}

// waitRoom is Wait, preceded by taking back what acknowledged records occupy.
func (p *Producer) waitRoom(ctx context.Context, n int) error {
	if err := p.r.check(true); err != nil {
		return err
	}
	went := burst(p.puts-p.dry, &p.r.putSpin)
	p.dry = p.puts
	p.want = p.r.recordSize(n) + wordSize
	if went && p.Ready() { // not look: on the way of shared handles the lock is not held any more
		return nil
	}
	if p.r.Ack() {
		if freed, err := p.r.tryReclaim(); err != nil || freed {
			return err
		}
	}
	return p.Wait(ctx, n)
}
