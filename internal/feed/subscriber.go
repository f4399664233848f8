package feed

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

// Subscriber is one reader of a feed. It belongs to one goroutine.
type Subscriber struct {
	f      *Feed
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

// Subscribe takes a slot. It reads what is published from now on, and before that the last messages, as many of them as
// are still there.
func (f *Feed) Subscribe(last uint64) (*Subscriber, error) {
	if err := f.check(false); err != nil {
		return nil, err
	}
	i, err := f.claim()
	if err != nil {
		return nil, err
	}
	s := &Subscriber{f: f, slot: i, me: f.Owners.Self(), token: f.slot32(i, slotToken), cursor: f.slot64(i, slotCursor), next: f.slot64(i, slotNumber)}
	f.slot64(i, slotMissed).StoreRelease(0)
	f.slot64(i, slotSince).StoreRelease(uint64(time.Now().UnixNano()))
	for range joinTries {
		ok, err := s.join(last)
		if err != nil {
			f.free(i)
			return nil, err
		}
		if ok {
			s.dry = s.number
			f.slot64(i, slotFirst).StoreRelease(s.number)
			f.room.WakeAll() // the cursor may have stood further back
			return s, nil
		}
	}
	f.free(i)
	return nil, fmt.Errorf("%w: publishers were faster %d times", errs.ErrBusy, joinTries)
}

// join chooses where to start; ok is false if a publisher gave that place up meanwhile.
func (s *Subscriber) join(last uint64) (ok bool, err error) {
	f := s.f
	start := f.floor
	if last == 0 {
		start = f.tail
	}
	s.pos = start.Load()
	tail := f.tail.Load()
	if s.pos&7 != 0 || tail&7 != 0 {
		return false, fmt.Errorf("%w: a topic from %#x to %#x", errs.ErrCorrupt, s.pos, tail)
	}
	s.cursor.StoreRelease(s.pos)
	s.token.Swap(s.me) // from here on publishers wait for us; a full fence: before the look at floor
	if f.passed(s.pos) {
		return false, nil
	}
	s.number = f.word(s.pos + wordSize).Load()
	if last > 0 {
		if err := f.span(s.pos, tail); err != nil && !f.passed(s.pos) {
			return false, err
		}
		most := f.word(tail+wordSize).Load() - s.number
		for ; most > last && s.pos != tail; most-- {
			if s.number%1024 == 0 {
				s.cursor.StoreRelease(s.pos)
			}
			h := f.word(s.pos).Load()
			if f.overwrite && f.passed(s.pos) {
				return false, nil
			}
			size, err := f.parse(h)
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
	if f.overwrite && f.passed(s.pos) {
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
func (s *Subscriber) Leave() { s.f.free(s.slot) }

// TakeNow is Take for the frequent case: there is a message, and nothing is out of the ordinary. Otherwise it does
// nothing and returns false.
func (s *Subscriber) TakeNow(dst []byte) ([]byte, bool) {
	f := s.f
	pos := s.pos
	h := f.area.Word(pos).Load()
	n := payloadLen(h)
	if h&^(1<<32-1) != upper(s.number) || n > f.accept || f.state.Load()&Removed != 0 || s.token.Load() != s.me {
		return dst, false
	}
	if !f.overwrite {
		b := f.area.Slice(pos+recordHead, int(n))
		if b == nil {
			return dst, false
		}
		dst = append(dst, b...)
		s.advance(pos+recordHead+pad(n), s.number+1)
		f.room.WakeAll()
		return dst, true
	}
	if f.passed(pos) {
		return dst, false
	}
	msg := f.copyOut(dst, pos+recordHead, int(n))
	if f.passed(pos) {
		return dst, false
	}
	s.advance(pos+recordHead+pad(n), s.number+1)
	return msg, true
}

// Take appends the next message to dst; errs.ErrEmpty when there is none, Lagged when the next ones are gone,
// errs.ErrTooLarge for one that is longer than this view accepts, which is passed over.
func (s *Subscriber) Take(dst []byte) ([]byte, error) {
	f := s.f
	if err := f.check(false); err != nil {
		return dst, err
	}
	if s.token.Load() != s.me {
		return dst, fmt.Errorf("%w: the slot of this subscriber was taken by %#x", errs.ErrCorrupt, s.token.Load())
	}
	h := f.word(s.pos).Load()
	if f.overwrite && f.passed(s.pos) {
		return dst, s.skip()
	}
	if h == 0 {
		return dst, errs.ErrEmpty
	}
	size, err := f.parse(h)
	if err == nil && h&^(1<<32-1) != upper(s.number) {
		err = fmt.Errorf("%w: header %#x of message %d", errs.ErrCorrupt, h, s.number)
	}
	if err != nil {
		return dst, err
	}
	n := int(payloadLen(h))
	if uint64(n) > f.accept {
		err := fmt.Errorf("%w: message %d has %d bytes, this handle accepts %d; the next call goes on behind it",
			errs.ErrTooLarge, s.number, n, f.accept)
		s.advance(s.pos+size, s.number+1)
		f.room.WakeAll()
		return dst, err
	}
	msg := dst
	if f.overwrite {
		msg = f.copyOut(dst, s.pos+recordHead, n)
		if f.passed(s.pos) {
			return dst, s.skip()
		}
	} else {
		msg = append(dst, f.view(s.pos+recordHead, n)...)
	}
	s.advance(s.pos+size, s.number+1)
	f.room.WakeAll()
	return msg, nil
}

// skip goes on at the oldest record that is there, and returns Lagged.
func (s *Subscriber) skip() error {
	f := s.f
	for range joinTries {
		floor := f.floor.Load()
		number := f.word(floor + wordSize).Load()
		if f.floor.Load() != floor {
			continue
		}
		n := number - s.number
		if floor&7 != 0 || n == 0 || n > (floor-s.pos)/recordHead {
			return fmt.Errorf("%w: message %d at %#x follows %d at %#x", errs.ErrCorrupt, number, floor, s.number, s.pos)
		}
		missed := f.slot64(s.slot, slotMissed)
		missed.StoreRelease(missed.Load() + n)
		s.advance(floor, number)
		return Lagged{n}
	}
	return fmt.Errorf("%w: publishers were faster %d times", errs.ErrBusy, joinTries)
}

// Ready reports whether a sleeping wait should look again.
func (s *Subscriber) Ready() bool {
	f := s.f
	if f.word(s.pos).Load() != 0 || f.overwrite && f.passed(s.pos) {
		return true
	}
	st := f.state.Load()
	return st&Removed != 0 || st&Closed != 0 && f.busy.Load() == 0
}

// Get is Take, waiting for a message.
func (s *Subscriber) Get(ctx context.Context, dst []byte) ([]byte, error) {
	if msg, ok := s.TakeNow(dst); ok {
		return msg, nil
	}
	f := s.f
	if s.number-s.dry < burstLeast && f.subSpin.Useful() && wait.Glance(f.area.Word(s.pos)) {
		s.dry = s.number
		if msg, ok := s.TakeNow(dst); ok {
			return msg, nil
		}
	}
	for {
		msg, err := s.Take(dst)
		if err != errs.ErrEmpty {
			return msg, err
		}
		if err := s.Ended(); err != nil {
			return dst, err
		}
		went := burst(s.number-s.dry, &f.subSpin)
		s.dry = s.number
		if went && s.Ready() {
			continue
		}
		if err := f.await(ctx, s, &f.subSpin); err != nil {
			return dst, err
		}
	}
}

// TryGet is Get without waiting.
func (s *Subscriber) TryGet(dst []byte) ([]byte, error) {
	msg, err := s.Take(dst)
	if err == errs.ErrEmpty {
		if err := s.Ended(); err != nil {
			return dst, err
		}
	}
	return msg, err
}

// Ended says why nothing will ever follow, nil while it may: the topic was removed, or it was closed and no publisher
// that had not noticed yet has published anything.
func (s *Subscriber) Ended() error {
	f := s.f
	if err := f.check(false); err != nil {
		return err
	}
	if !f.IsClosed() {
		return nil
	}
	// A publisher stores busy, then looks at the state word, then commits. After Heavy it has either seen that the
	// topic is closed, or we see it busy, or we see what it committed.
	mem.Heavy()
	if f.busy.Load() != 0 {
		ok, _ := f.Lock.TryLock()
		if !ok {
			mem.Pause(100)
			return nil // alive and about to commit or to give up
		}
		err := f.resumeUnlock() // its owner died: this clears busy
		if err != nil {
			return err
		}
	}
	if f.word(s.pos).Load() != 0 || f.overwrite && f.passed(s.pos) {
		return nil
	}
	return errs.ErrClosed
}

func (f *Feed) resumeUnlock() error {
	defer f.Lock.Unlock()
	var p Publisher
	return p.Resume(f)
}

// Lag is how many messages and bytes were published and not read yet. It may be called from any goroutine.
func (s *Subscriber) Lag() (messages, bytes uint64) {
	pos, number := s.cursor.Load(), s.next.Load()
	return s.f.lag(pos, number)
}

// lag compares with the tail.
func (f *Feed) lag(pos, number uint64) (messages, bytes uint64) {
	for range joinTries {
		tail := f.tail.Load()
		last := f.word(tail + wordSize).LoadHint()
		if f.tail.Load() != tail {
			continue
		}
		if before(tail, pos) { // the tail lags
			return 0, 0
		}
		return last - number, tail - pos
	}
	return 0, 0
}
