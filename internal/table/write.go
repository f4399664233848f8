package table

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Condition says when a change may happen.
type Condition uint8

// Conditions.
const (
	Always    Condition = iota
	IfAbsent            // errs.ErrExist if the key has a value
	IfPresent           // errs.ErrNotExist if it has none
	IfSame              // errs.ErrConflict unless its revision is Change.Revision
)

// Expiry says what happens to the time when an entry expires.
type Expiry uint8

// Expiries.
const (
	Never Expiry = iota // it does not expire
	Keep                // as the old value, if there is one
	After               // Change.Time ns from now
	At                  // at Change.Time, Unix ns
)

// Change is what a write does.
type Change struct {
	Condition Condition
	Revision  uint64
	Expiry    Expiry
	Time      int64
	Format    Format
}

// Set gives a key a value and returns the revision of that.
func (t *Table) Set(ctx context.Context, key string, value []byte, c Change) (rev uint64, err error) {
	if len(key) > MaxKey || len(value) > MaxValue {
		return 0, tooLarge(len(key), len(value))
	}
	o := op{key: key, hash: t.Hash(key), value: value, c: c}
	return o.do(ctx, t)
}

func tooLarge(key, value int) error {
	return fmt.Errorf("%w: a key of %d bytes and a value of %d, possible are %d and %d", errs.ErrTooLarge, key, value, MaxKey, MaxValue)
}

// Expire changes when a key expires.
func (t *Table) Expire(ctx context.Context, key string, c Change) (rev uint64, err error) {
	c.Condition = IfPresent
	o := op{key: key, hash: t.Hash(key), c: c, same: true}
	return o.do(ctx, t)
}

// Add adds to a decimal number, a missing one being 0, and returns the sum.
func (t *Table) Add(ctx context.Context, key string, delta int64) (sum int64, rev uint64, err error) {
	if len(key) > MaxKey {
		return 0, 0, tooLarge(len(key), 0)
	}
	o := op{key: key, hash: t.Hash(key), c: Change{Expiry: Keep}, add: true, delta: delta}
	if rev, err = o.do(ctx, t); err != nil {
		return 0, 0, err
	}
	return o.sum, rev, nil
}

// Delete takes a key away; IfSame compares its revision.
func (t *Table) Delete(ctx context.Context, key string, c Change) (rev uint64, err error) {
	h := t.Hash(key)
	return t.stripeOf(h).deleteLocked(ctx, key, h, c)
}

func (s *stripe) deleteLocked(ctx context.Context, key string, h uint64, c Change) (rev uint64, err error) {
	if err := s.acquire(ctx); err != nil {
		return 0, err
	}
	defer s.unlock()
	var now int64
	p, err := s.find(key, h, &now)
	if err != nil {
		return 0, err
	}
	if !p.alive {
		return 0, errs.ErrNotExist
	}
	if c.Condition == IfSame && p.e.rev != c.Revision {
		return 0, conflict(p.e.rev, c.Revision)
	}
	if rev, err = s.remove(&p); err != nil {
		return 0, err
	}
	s.bump(offDeletes)
	s.tidy(&now)
	return rev, nil
}

func conflict(have, want uint64) error {
	return fmt.Errorf("%w: its revision is %d, not %d", errs.ErrConflict, have, want)
}

// Clear takes all keys away, at once. It writes down from which revisions on entries will count in the
// next epoch, and begins it. What that means for a stripe is done by its lock's holder, whichever that
// will be.
func (t *Table) Clear(ctx context.Context) error {
	if err := t.acquireAll(ctx); err != nil {
		return err
	}
	defer t.unlockAll()
	next := t.epoch.Load() + 1
	for i := range t.stripes {
		s := &t.stripes[i]
		t.clearedIn[next&1][i].StoreOrdered(s.revision.Load() + 1)
		s.clearing.StoreOrdered(next)
	}
	t.epoch.StoreOrdered(next) // from here on it has happened
	for i := range t.stripes {
		t.stripes[i].clear()
	}
	return nil
}

// clear counts and tells that the stripe was cleared.
func (s *stripe) clear() {
	rev, c := s.revision.Load()+1, s.counts.Load()
	r := s.begin()
	r.add(s.base+offCounts, uint64(uint32(c)+uint32(c>>32))<<32)
	r.add(s.logAt(rev), rev<<32|all)
	r.add(s.base+offRevision, rev)
	r.add(s.base+offClearing, 0)
	r.commit()
	s.word(offHand).StoreOrdered(0) // a lap that begins now meets all that was cleared
}

// bump counts; a death may swallow that.
func (s *stripe) bump(off int) {
	w := s.word(off)
	w.StoreOrdered(w.Load() + 1)
}

// op is a change of one key's value.
type op struct {
	s     *stripe
	key   string
	hash  uint64
	value []byte
	c     Change
	same  bool // the value stays
	add   bool // the value is a number, to which delta is added
	delta int64
	sum   int64
	text  [24]byte
	room  room
	now   int64
}

func (o *op) do(ctx context.Context, t *Table) (rev uint64, err error) {
	o.s = t.stripeOf(o.hash)
	for {
		rev, err = o.locked(ctx)
		if err != errAgain {
			return rev, err
		}
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if err := o.waitForOther(ctx); err != nil {
			return 0, err
		}
	}
}

// errAgain: room is being made, in pieces between which others get the lock.
var errAgain = errors.New("again")

func (o *op) locked(ctx context.Context) (rev uint64, err error) {
	s := o.s
	if err := s.acquire(ctx); err != nil {
		return 0, err
	}
	defer s.unlock()
	for o.room.piece = false; ; {
		var p place
		var n uint32
		if p, n, rev, err = o.try(); err == nil {
			break
		}
		if noRoom(err) {
			err = o.makeRoom(n, &p, err)
		}
		if err != nil {
			return 0, err
		}
	}
	s.bump(offSets)
	s.tidy(&o.now)
	return rev, nil
}

// try makes the change if there is room. n is how many granules the entry takes.
func (o *op) try() (p place, n uint32, rev uint64, err error) {
	if p, err = o.s.find(o.key, o.hash, &o.now); err != nil {
		return p, 0, 0, err
	}
	if err := o.may(&p); err != nil {
		return p, 0, 0, err
	}
	value, format, expires, err := o.result(&p)
	if err != nil {
		return p, 0, 0, err
	}
	e := entryHeader{
		size: granules(len(o.key), len(value)), key: len(o.key), value: len(value),
		format: format, expires: uint64(expires),
	}
	rev, err = o.store(&p, &e, value)
	return p, e.size, rev, err
}

func (o *op) may(p *place) error {
	switch c := o.c.Condition; {
	case c == IfAbsent && p.alive:
		return errs.ErrExist
	case (c == IfPresent || c == IfSame) && !p.alive:
		return errs.ErrNotExist
	case c == IfSame && p.e.rev != o.c.Revision:
		return conflict(p.e.rev, o.c.Revision)
	}
	return nil
}

// result is what the entry is to become. What it returns of the old entry stays in its place until store.
func (o *op) result(p *place) (value []byte, format Format, expires int64, err error) {
	var old []byte
	if p.alive && (o.same || o.add) {
		old = o.s.span.Bytes(p.e.valueAt(), p.e.value)
	}
	switch {
	case o.same:
		value, format = old, p.e.format
	case o.add:
		if value, err = o.number(old, p); err != nil {
			return nil, 0, 0, err
		}
	default:
		value, format = o.value, o.c.Format
	}
	switch o.c.Expiry {
	case Keep:
		if p.alive {
			expires = int64(p.e.expires)
		}
	case At:
		expires = max(o.c.Time, 1)
	case After:
		if o.now == 0 {
			o.now = o.s.now()
		}
		if expires = max(o.now+o.c.Time, 1); o.c.Time > 1<<63-1-o.now {
			expires = 1<<63 - 1
		}
	}
	return value, format, expires, nil
}

func (o *op) number(old []byte, p *place) ([]byte, error) {
	var n int64
	if p.alive {
		if p.e.format != Bytes || len(old) > 20 {
			return nil, fmt.Errorf("%w: the value is no decimal number", errs.ErrIncompatible)
		}
		var err error
		if n, err = strconv.ParseInt(string(old), 10, 64); err != nil {
			return nil, fmt.Errorf("%w: the value %q is no decimal number of 64 bits", errs.ErrIncompatible, old)
		}
	}
	o.sum = n + o.delta
	if o.sum > n != (o.delta > 0) && o.delta != 0 {
		return nil, fmt.Errorf("%w: %d and %d are more than 64 bits hold", errs.ErrTooLarge, n, o.delta)
	}
	return strconv.AppendInt(o.text[:0], o.sum, 10), nil
}
