package lock

import (
	"context"
	"errors"
	"fmt"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/holders"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// One word says everything: the round, whether it is broken, how many wait in it; each change is one CAS of it.
// Beside it, the table says which process has how many goroutines in which round, and it says so before they
// are counted: so a death among them is found. The last resets are remembered, so that who wakes up late
// can tell whether its round ended well; a lock keeps resets in order.
const (
	offResetLock  = object.HeaderSize
	offRound      = offResetLock + wordlock.Size // u64: waiting 0–30, broken bit 31, round 32–63
	offOpened     = offRound + 64                // event: the word changed
	offWaitingSet = offRound + 128               // bitmap of the table
	offResets     = offWaitingSet + holders.BitmapSize
	waitingLine   = 8
	lastResets    = 8 // u32 each: 1 + the round that a reset ended, the newest first

	paramParties = 0

	brokenBit = 1 << 31
	roundUnit = 1 << 32

	// MaxParties is how many can meet at a barrier.
	MaxParties = 1<<16 - 1
)

// ErrBroken says that a barrier is broken: somebody who waited gave up or died, or somebody called Abort.
var ErrBroken = errors.New("barrier is broken")

// Barrier lets a number of parties, processes or goroutines, wait for each other, again and again. All methods
// may be called concurrently.
type Barrier struct {
	base
	parties uint32
	resets  *wordlock.Lock
	round   *mem.U64
	opened  wait.Event
	table   *holders.Table
}

func barrierParts() []mem.Part { return []mem.Part{{Len: ctlSize}, {Len: holders.Slots * waitingLine}} }

func newBarrier(o *object.Object) (*Barrier, error) {
	n := o.Params[paramParties]
	if n == 0 || n > MaxParties {
		return nil, o.Wrap(fmt.Errorf("%w: %d parties", errs.ErrCorrupt, n))
	}
	table := o.Space.Table
	return &Barrier{
		base: base{obj: o}, parties: uint32(n),
		resets: wordlock.New(o.Ctl, offResetLock, table, &o.Sess),
		round:  o.Ctl.U64(offRound),
		opened: wait.NewEvent(o.Ctl.U32(offOpened)),
		table:  holders.New(o.Ctl, offWaitingSet, o.Region.Span(1), waitingLine, table, table.Slot()),
	}, nil
}

// CreateBarrier makes a barrier for that many parties; shiplap.ErrExist when the name is taken.
func CreateBarrier(d *shiplap.Domain, name string, parties int, opt *Options) (*Barrier, error) {
	if parties < 1 || parties > MaxParties {
		return nil, fmt.Errorf("create barrier %q: %w: %d parties, possible are 1 to %d", name, errs.ErrTooLarge, parties, MaxParties)
	}
	s := opt.fill(object.Spec{
		Kind: object.Barrier, Parts: barrierParts(),
		Locks:  []object.LockAt{{Name: "reset", Off: offResetLock}},
		Events: []int{offOpened},
	})
	s.Params[paramParties] = uint64(parties)
	return create(d, name, s, newBarrier)
}

// OpenBarrier opens a barrier; shiplap.ErrIncompatible when the object is something else.
func OpenBarrier(d *shiplap.Domain, name string) (*Barrier, error) {
	return open(d, name, object.Barrier, barrierParts(), newBarrier)
}

// OpenOrCreateBarrier opens the barrier, with as many parties as it has, or makes it if it does not exist.
func OpenOrCreateBarrier(d *shiplap.Domain, name string, parties int, opt *Options) (*Barrier, error) {
	return object.OpenOrCreate(
		func() (*Barrier, error) { return OpenBarrier(d, name) },
		func() (*Barrier, error) { return CreateBarrier(d, name, parties, opt) })
}

// Parties is how many meet.
func (b *Barrier) Parties() int { return int(b.parties) }

// roundOf is the part of the round that stands in the table, below the number of goroutines.
func roundOf(v uint64) uint16 { return uint16(v >> 32) }

// dead reports whether somebody in the round of v is dead. What the dead left in earlier rounds goes, before
// the count of rounds in the table comes round to it.
func (b *Barrier) dead(v uint64) bool {
	return b.table.AnyDead(
		func(n uint32) bool { return uint16(n) == roundOf(v) && n>>16 != 0 },
		func(n uint32) bool { return int16(uint16(n)-roundOf(v)) < 0 })
}

// enter notes a goroutine of this process in the round of v, leave takes it away.
func (b *Barrier) enter(v uint64) {
	b.table.Update(func(n uint32) uint32 {
		switch ahead := int16(uint16(n) - roundOf(v)); {
		case ahead > 0 && n>>16 != 0:
			return n // another goroutine is in a later round: v is out of date
		case ahead != 0:
			n = uint32(roundOf(v))
		}
		return n + 1<<16
	})
}

func (b *Barrier) leave(v uint64) {
	b.table.Update(func(n uint32) uint32 {
		if uint16(n) != roundOf(v) || n>>16 == 0 {
			return n
		}
		return n - 1<<16
	})
}

// breakRound ends the round of v badly, unless it has ended.
func (b *Barrier) breakRound(v uint64) {
	for now := b.round.Load(); now>>32 == v>>32 && now&brokenBit == 0; now = b.round.Load() {
		if b.round.CAS(now, now|brokenBit) {
			b.opened.WakeAll()
		}
	}
}

// Wait waits until all parties wait, and then returns to each its number, 0 to Parties-1, in the order in which
// they came.
//
// If the context is done before, the barrier is broken, and everybody gets ErrBroken: those who wait, and those
// who come, until Reset. It is also broken once a process that waits is dead.
func (b *Barrier) Wait(ctx context.Context) (number int, err error) {
	err = b.obj.Call(func() error {
		number, err = b.wait(ctx)
		return err
	})
	return number, err
}

func (b *Barrier) wait(ctx context.Context) (int, error) {
	v, err := b.arrive()
	if err != nil {
		return 0, err
	}
	defer b.leave(v)
	looks := 0
	err = b.table.Wait(ctx, &b.obj.Sess, b.opened, func() (bool, error) {
		now := b.round.Load()
		if now>>32 != v>>32 || now&brokenBit != 0 {
			return true, nil
		}
		if looks++; looks > 4 && b.dead(now) { // asking the kernel about everybody takes a while
			b.breakRound(now)
		}
		return false, nil
	})
	if err != nil {
		b.breakRound(v)
	}
	switch now := b.round.Load(); { // it may have ended before we could break it
	case now>>32 != v>>32:
		err = b.ended(uint32(v>>32), uint32(now>>32))
	case err == nil:
		err = ErrBroken
	}
	return int(uint32(v)), err
}

// arrive counts one more, and returns what the word was before. The last one begins the next round, which is
// what all others wait for.
func (b *Barrier) arrive() (uint64, error) {
	for {
		v := b.round.Load()
		n := uint32(v) &^ brokenBit
		switch {
		case b.obj.Err() != nil:
			return 0, b.obj.Err()
		case v&brokenBit != 0:
			b.opened.WakeAll() // who broke it may have died on the way
			return 0, ErrBroken
		case n >= b.parties:
			return 0, fmt.Errorf("%w: %d wait at a barrier for %d", errs.ErrCorrupt, n, b.parties)
		}
		b.enter(v)
		next := v + 1
		if n+1 == b.parties {
			if b.dead(v) {
				b.breakRound(v)
				b.leave(v)
				return 0, ErrBroken
			}
			next = v>>32<<32 + roundUnit
		}
		if b.round.CAS(v, next) {
			if n == 0 || n+1 == b.parties { // the first, because the last one before him may have died on the way
				b.opened.WakeAll()
			}
			return v, nil
		}
		b.leave(v)
	}
}

// ended tells how a round ended, when a later one goes on.
func (b *Barrier) ended(round, now uint32) error {
	oldest := uint32(0)
	for i := range lastResets { // upwards, as the entries move
		r := b.obj.Ctl.U32(offResets + 4*i).Load()
		if r == round+1 {
			return ErrBroken
		}
		oldest = r
	}
	if oldest != 0 && oldest-1-round < now-round {
		return fmt.Errorf("%w: at least %d resets ago", ErrBroken, lastResets)
	}
	return nil
}

// Abort breaks the barrier: everybody gets ErrBroken until Reset.
func (b *Barrier) Abort() error {
	return b.obj.Call(func() error {
		b.breakRound(b.round.Load())
		return b.obj.Err()
	})
}

// Reset makes a new barrier of it. Those who wait get ErrBroken.
func (b *Barrier) Reset(ctx context.Context) error {
	return b.obj.Call(func() error {
		if _, err := b.resets.Lock(ctx); err != nil {
			return err
		}
		defer b.resets.Unlock()
		for {
			v := b.round.Load()
			if uint32(v) == 0 {
				return b.obj.Err() // nobody waits, nothing is broken
			}
			if v&brokenBit == 0 { // else it could end well after it was noted that it did not
				b.breakRound(v)
				continue
			}
			b.note(uint32(v >> 32))
			if b.round.CAS(v, v>>32<<32+roundUnit) {
				b.opened.WakeAll()
				return nil
			}
		}
	})
}

// note remembers, before a reset ends it, that the round was reset. It may be repeated.
func (b *Barrier) note(round uint32) {
	slot := func(i int) *mem.U32 { return b.obj.Ctl.U32(offResets + 4*i) }
	if slot(0).Load() == round+1 {
		return
	}
	for i := lastResets - 1; i > 0; i-- {
		slot(i).Store(slot(i - 1).Load())
	}
	slot(0).Store(round + 1)
}

// Close gives up the handle; a call that waits breaks the barrier and returns shiplap.ErrClosed.
func (b *Barrier) Close() error { return b.close() }

// BarrierStats is a barrier at one moment.
type BarrierStats struct {
	Parties int      `json:"parties"`
	Waiting int      `json:"waiting"`
	Broken  bool     `json:"broken"`
	Round   uint32   `json:"round"`
	Holders []Holder `json:"holders"` // processes with goroutines that wait in this round
}

// Stats looks at the barrier.
func (b *Barrier) Stats() (s BarrierStats, err error) {
	err = b.obj.Call(func() error {
		v := b.round.Load()
		s = BarrierStats{
			Parties: int(b.parties), Waiting: int(uint32(v) &^ brokenBit), Broken: v&brokenBit != 0, Round: uint32(v >> 32),
			Holders: []Holder{},
		}
		for _, e := range b.table.All() {
			if n := e.Number >> 16; n != 0 && uint16(e.Number) == roundOf(v) {
				s.Holders = append(s.Holders, Holder{pid(b.obj, e.Token), n})
			}
		}
		return nil
	})
	return s, err
}
