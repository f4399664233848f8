package row

import (
	"context"
	"fmt"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// Lagged says that messages were overwritten before they were read.
type Lagged struct {
	N uint64 // how many
}

func (e Lagged) Error() string {
	return fmt.Sprintf("%d messages were overwritten before they were read", e.N)
}

// Subscriber is one reader of a topic. It belongs to one goroutine.
type Subscriber struct {
	t      *Topic
	slot   int
	me     uint32
	token  *mem.U32
	cursor *mem.U64
	next   *mem.U64
	pos    uint64
	number uint64 // of the record at pos
	dry    uint64 // number when there was last nothing to read
}

// joinTries bounds how often somebody who joins is outrun by publishers.
const joinTries = 10_000

// Subscribe takes a slot. It reads what is published from now on, and before that the last messages, as many
// of them as are still there.
func (t *Topic) Subscribe(last uint64) (*Subscriber, error) {
	if err := t.check(false); err != nil {
		return nil, err
	}
	i, err := t.claim()
	if err != nil {
		return nil, err
	}
	s := &Subscriber{t: t, slot: i, me: t.Owners.Self(), token: t.slot32(i, slotToken), cursor: t.slot64(i, slotCursor), next: t.slot64(i, slotNumber)}
	t.slot64(i, slotMissed).StoreRelease(0)
	t.slot64(i, slotSince).StoreRelease(uint64(time.Now().UnixNano()))
	for range joinTries {
		ok, err := s.join(last)
		if err != nil {
			t.free(i)
			return nil, err
		}
		if ok {
			s.dry = s.number
			t.slot64(i, slotFirst).StoreRelease(s.number)
			t.notFull.WakeAll() // the cursor may have stood further back
			return s, nil
		}
	}
	t.free(i)
	return nil, fmt.Errorf("%w: publishers were faster %d times", errs.ErrBusy, joinTries)
}

// join chooses where to start; ok is false if a publisher gave that place up meanwhile.
func (s *Subscriber) join(last uint64) (ok bool, err error) {
	t := s.t
	start := t.floor
	if last == 0 {
		start = t.tail
	}
	s.pos = start.Load()
	tail := t.tail.Load()
	if s.pos&7 != 0 || tail&7 != 0 {
		return false, fmt.Errorf("%w: a topic from %#x to %#x", errs.ErrCorrupt, s.pos, tail)
	}
	s.cursor.StoreRelease(s.pos)
	s.token.Swap(s.me) // from here on publishers wait for us; a full fence: before the look at floor
	if t.passed(s.pos) {
		return false, nil
	}
	s.number = t.word(s.pos + wordSize).Load()
	if last > 0 {
		if err := t.span(s.pos, tail); err != nil && !t.passed(s.pos) {
			return false, err
		}
		most := t.word(tail+wordSize).Load() - s.number
		for ; most > last && s.pos != tail; most-- {
			if s.number%1024 == 0 {
				s.cursor.StoreRelease(s.pos)
			}
			h := t.word(s.pos).Load()
			if t.overwrite && t.passed(s.pos) {
				return false, nil
			}
			size, err := t.parse(h)
			if err != nil {
				return false, err
			}
			if before(tail, s.pos+size) {
				return false, fmt.Errorf("%w: a record of the topic reaches over the tail", errs.ErrCorrupt)
			}
			s.pos += size
			s.number++
		}
	}
	if t.overwrite && t.passed(s.pos) {
		return false, nil
	}
	s.advance(s.pos, s.number)
	return true, nil
}

// advance commits to a position.
func (s *Subscriber) advance(pos, number uint64) {
	s.pos, s.number = pos, number
	s.cursor.StoreRelease(pos) // the commit point
	s.next.StoreRelease(number)
}

// Leave gives the slot back.
func (s *Subscriber) Leave() { s.t.free(s.slot) }

// TakeNow is Take for the frequent case: there is a message, and nothing is out of the ordinary. Otherwise it
// does nothing and returns false.
func (s *Subscriber) TakeNow(dst []byte) ([]byte, bool) {
	t := s.t
	pos := s.pos
	h := t.area.Word(pos).Load()
	n := payloadLen(h)
	if h&^(1<<32-1) != upper(s.number) || n > t.accept || t.state.Load()&Removed != 0 || s.token.Load() != s.me {
		return dst, false
	}
	if !t.overwrite {
		b := t.area.Slice(pos+wideHead, int(n))
		if b == nil {
			return dst, false
		}
		dst = append(dst, b...)
		s.advance(pos+wideHead+pad(n), s.number+1)
		t.notFull.WakeAll()
		return dst, true
	}
	if t.passed(pos) {
		return dst, false
	}
	msg := t.copyOut(dst, pos+wideHead, int(n))
	if t.passed(pos) {
		return dst, false
	}
	s.advance(pos+wideHead+pad(n), s.number+1)
	return msg, true
}

// Take appends the next message to dst; errs.ErrEmpty when there is none, Lagged when the next ones are gone,
// errs.ErrTooLarge for one that is longer than this view accepts, which is passed over. *block becomes a copy
// of its envelope, if block is not nil.
func (s *Subscriber) Take(dst []byte, block *[]byte) ([]byte, error) {
	t := s.t
	if err := t.check(false); err != nil {
		return dst, err
	}
	if s.token.Load() != s.me {
		return dst, fmt.Errorf("%w: the slot of this subscriber was taken by %#x", errs.ErrCorrupt, s.token.Load())
	}
	h := t.word(s.pos).Load()
	if t.overwrite && t.passed(s.pos) {
		return dst, s.skip()
	}
	if h == 0 {
		return dst, errs.ErrEmpty
	}
	size, err := t.parse(h)
	if err == nil && h&^(1<<32-1|hasEnvelope) != upper(s.number) {
		err = fmt.Errorf("%w: header %#x of message %d", errs.ErrCorrupt, h, s.number)
	}
	if err != nil {
		return dst, err
	}
	n := int(payloadLen(h))
	if uint64(n) > t.accept {
		err := fmt.Errorf("%w: message %d has %d bytes, this handle accepts %d; the next call goes on behind it",
			errs.ErrTooLarge, s.number, n, t.accept)
		s.advance(s.pos+size, s.number+1)
		t.notFull.WakeAll()
		return dst, err
	}
	msg, err := t.copyParts(dst, block, s.pos, h)
	if t.overwrite && t.passed(s.pos) {
		return dst, s.skip()
	}
	if err != nil {
		return dst, err
	}
	s.advance(s.pos+size, s.number+1)
	t.notFull.WakeAll()
	return msg, nil
}

// copyParts appends the body of the record at pos to dst. Of one that was overwritten meanwhile, what it
// returns is worth nothing, and so is its error.
func (t *Topic) copyParts(dst []byte, block *[]byte, pos, h uint64) ([]byte, error) {
	rec, err := t.parts(pos, h)
	if err != nil {
		return dst, err
	}
	if !t.overwrite {
		t.copyBlock(block, pos, rec)
		return append(dst, t.body(pos, rec)...), nil
	}
	if block != nil {
		*block = t.copyOut(nil, pos+wideHead, int(rec.block))
	}
	return t.copyOut(dst, pos+wideHead+uint64(rec.block), int(rec.body)), nil
}

// skip goes on at the oldest record that is there, and returns Lagged.
func (s *Subscriber) skip() error {
	t := s.t
	for range joinTries {
		floor := t.floor.Load()
		number := t.word(floor + wordSize).Load()
		if t.floor.Load() != floor {
			continue
		}
		n := number - s.number
		if floor&7 != 0 || n == 0 || n > (floor-s.pos)/wideHead {
			return fmt.Errorf("%w: message %d at %#x follows %d at %#x", errs.ErrCorrupt, number, floor, s.number, s.pos)
		}
		missed := t.slot64(s.slot, slotMissed)
		missed.StoreRelease(missed.Load() + n)
		s.advance(floor, number)
		return Lagged{n}
	}
	return fmt.Errorf("%w: publishers were faster %d times", errs.ErrBusy, joinTries)
}

// Ready reports whether a sleeping wait should look again.
func (s *Subscriber) Ready() bool {
	t := s.t
	if t.word(s.pos).Load() != 0 || t.overwrite && t.passed(s.pos) {
		return true
	}
	st := t.state.Load()
	return st&Removed != 0 || st&Closed != 0 && t.busy.Load() == 0
}

// Get is Take, waiting for a message.
func (s *Subscriber) Get(ctx context.Context, dst []byte) ([]byte, error) {
	if msg, ok := s.TakeNow(dst); ok {
		return msg, nil
	}
	return s.get(ctx, dst, nil)
}

// GetWith is Get, and sets *block to a copy of the message's envelope, empty if it has none.
func (s *Subscriber) GetWith(ctx context.Context, dst []byte, block *[]byte) ([]byte, error) {
	*block = nil
	if msg, ok := s.TakeNow(dst); ok {
		return msg, nil
	}
	return s.get(ctx, dst, block)
}

func (s *Subscriber) get(ctx context.Context, dst []byte, block *[]byte) ([]byte, error) {
	t := s.t
	if s.number-s.dry < burstLeast && t.getSpin.Useful() && wait.Glance(t.area.Word(s.pos)) {
		s.dry = s.number
		if msg, ok := s.TakeNow(dst); ok {
			return msg, nil
		}
	}
	for {
		msg, err := s.Take(dst, block)
		if err != errs.ErrEmpty {
			return msg, err
		}
		if err := s.Ended(); err != nil {
			return dst, err
		}
		went := burst(s.number-s.dry, &t.getSpin)
		s.dry = s.number
		if went && s.Ready() {
			continue
		}
		if err := t.await(ctx, s, nil); err != nil {
			return dst, err
		}
	}
}

// TryGet is Get without waiting.
func (s *Subscriber) TryGet(dst []byte) ([]byte, error) { return s.TryGetWith(dst, nil) }

// TryGetWith is TryGet; *block becomes a copy of the message's envelope, empty if it has none. block may be
// nil.
func (s *Subscriber) TryGetWith(dst []byte, block *[]byte) ([]byte, error) {
	msg, err := s.Take(dst, block)
	if err == errs.ErrEmpty {
		if err := s.Ended(); err != nil {
			return dst, err
		}
	}
	return msg, err
}

// Lag is how many messages and bytes were published and not read yet. It may be called from any goroutine.
func (s *Subscriber) Lag() (messages, bytes uint64) {
	pos, number := s.cursor.Load(), s.next.Load()
	return s.t.lag(pos, number)
}

// lag compares with the tail.
func (t *Topic) lag(pos, number uint64) (messages, bytes uint64) {
	for range joinTries {
		tail := t.tail.Load()
		last := t.word(tail + wordSize).LoadHint()
		if t.tail.Load() != tail {
			continue
		}
		if before(tail, pos) { // the tail lags
			return 0, 0
		}
		return last - number, tail - pos
	}
	return 0, 0
}
