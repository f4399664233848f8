// Package barrier is the algorithm of a barrier among processes: its words, its table of those who wait, and
// its fences. Of those who wait in a round all go on, or none; a death among them breaks the round.
//
// Package lock makes handles of it; package explore checks this very code.
//
// One word says everything: the round, whether it is broken, how many wait in it; each change is one CAS
// of it. Beside it, the table says which process has how many goroutines in which round, and it says so
// before they are counted: so a death among them is found. The last resets are remembered, so that one
// that wakes up late can tell whether its round ended well; a lock keeps resets in order.
package barrier

import (
	"context"
	"errors"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/shares"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Offsets from the base, a multiple of 64.
const (
	ResetLock  = 0             // lock record
	Round      = wordlock.Size // u64: waiting 0–30, broken bit 31, round 32–63
	Opened     = Round + 64    // event: the word changed
	Bitmap     = Round + 128   // of the table of those who wait
	resets     = Bitmap + shares.BitmapSize
	lastResets = 8 // u32 each: 1 + the round that a reset ended, the newest first
	Size       = resets + 4*lastResets
)

// Stride is from one entry of the table to the next: the round in bits 0–15 of the number, goroutines above.
const Stride = 8

const (
	brokenBit = 1 << 31
	roundUnit = 1 << 32
)

// Most is how many can meet at a barrier.
const Most = 1<<16 - 1

// ErrBroken says that a barrier is broken: somebody who waited gave up or died, or somebody called Abort.
var ErrBroken = errors.New("barrier is broken")

// Config says where the words are and to whom they matter.
type Config struct {
	Ctl     *mem.Span
	Base    int       // of the words in Ctl
	Table   *mem.Span // the entries of those who wait
	Parties uint32    // 1 to Most
	Owners  wordlock.Owners
	Slot    int // of this process in the table
	Sess    *wait.Session
	Gone    func() error // why operations cannot go on, nil if they can
}

// Barrier is one process's view. All methods may be called concurrently.
type Barrier struct {
	ctl     *mem.Span
	base    int
	parties uint32
	resets  *wordlock.Lock
	round   *mem.U64
	opened  wait.Event
	table   *shares.Table
	sess    *wait.Session
	gone    func() error
}

// New views a barrier. Blocked calls end when the session does.
func New(c Config) *Barrier {
	return &Barrier{
		ctl: c.Ctl, base: c.Base, parties: c.Parties,
		resets: wordlock.New(c.Ctl, c.Base+ResetLock, c.Owners, c.Sess),
		round:  c.Ctl.U64(c.Base + Round),
		opened: wait.NewEvent(c.Ctl.U32(c.Base + Opened)),
		table:  shares.New(c.Ctl, c.Base+Bitmap, c.Table, Stride, c.Owners, c.Slot),
		sess:   c.Sess, gone: c.Gone,
	}
}

// roundOf is the part of the round that stands in the table, below the number of goroutines.
func roundOf(v uint64) uint16 { return uint16(v >> 32) }

// dead reports whether somebody in the round of v is dead. What the dead left in earlier rounds goes, before
// the count of rounds in the table comes round to it.
func dead(t *shares.Table, v uint64) bool {
	return t.AnyDead(
		func(n uint32) bool { return uint16(n) == roundOf(v) && n>>16 != 0 },
		func(n uint32) bool { return int16(uint16(n)-roundOf(v)) < 0 })
}

// enter notes a goroutine of this process in the round of v, leave takes it away. If the one who had our slot before died
// in the round, its entry is the only thing that says so: the round is broken before the entry is ours.
func (b *Barrier) enter(v uint64) {
	if n := b.table.Left(); n>>16 != 0 {
		if now := b.round.Load(); uint16(n) == roundOf(now) {
			b.breakRound(now)
		}
	}
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

// Wait waits until all parties wait, and then returns to each its number, 0 to parties-1, in the order in
// which they came. If the wait ends with an error, the barrier is broken.
func (b *Barrier) Wait(ctx context.Context) (number int, err error) {
	v, err := b.arrive()
	if err != nil {
		return 0, err
	}
	defer b.leave(v)
	looks := 0
	err = b.table.Wait(ctx, b.sess, b.opened, func(t *shares.Table) (bool, error) {
		now := b.round.Load()
		if now>>32 != v>>32 || now&brokenBit != 0 {
			return true, nil
		}
		if looks++; (looks > 4 || wait.Crowded()) && dead(t, now) { // asking the kernel about everybody takes a while
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
		if err := b.gone(); err != nil {
			return 0, err
		}
		switch {
		case v&brokenBit != 0:
			b.opened.WakeAll() // the one that broke it may have died on the way
			return 0, ErrBroken
		case n >= b.parties:
			return 0, fmt.Errorf("%w: %d wait at a barrier for %d", errs.ErrCorrupt, n, b.parties)
		}
		b.enter(v)
		next := v + 1
		if n+1 == b.parties {
			if dead(b.table, v) {
				b.breakRound(v)
				b.leave(v)
				return 0, ErrBroken
			}
			next = v>>32<<32 + roundUnit
		}
		if b.round.CAS(v, next) {
			if n == 0 || n+1 == b.parties { // the first, because the last one of the round before may have died on the way
				b.opened.WakeAll()
			} else {
				b.opened.Wake(1) // one of those who sleep looks who is there, so that our death is noticed at once
			}
			return v, nil
		}
		b.leave(v)
	}
}

// reset is the word that says which round the i-th last reset ended.
func (b *Barrier) reset(i int) *mem.U32 { return b.ctl.U32(b.base + resets + 4*i) }

// ended tells how a round ended, when a later one goes on.
func (b *Barrier) ended(round, now uint32) error {
	oldest := uint32(0)
	for i := range lastResets { // upwards, as the entries move
		r := b.reset(i).Load()
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

// Abort breaks the round: everybody gets ErrBroken until Reset.
func (b *Barrier) Abort() { b.breakRound(b.round.Load()) }

// Reset begins a new round, which is not broken. Those who wait get ErrBroken.
func (b *Barrier) Reset(ctx context.Context) error {
	if _, err := b.resets.Lock(ctx); err != nil {
		return err
	}
	defer b.resets.Unlock()
	for {
		v := b.round.Load()
		if uint32(v) == 0 {
			return b.gone() // nobody waits, nothing is broken
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
}

// note remembers, before a reset ends it, that the round was reset. It may be repeated.
func (b *Barrier) note(round uint32) {
	if b.reset(0).Load() == round+1 {
		return
	}
	for i := lastResets - 1; i > 0; i-- {
		b.reset(i).Store(b.reset(i - 1).Load())
	}
	b.reset(0).Store(round + 1)
}

// State is a barrier at one moment.
type State struct {
	Round   uint32
	Waiting int
	Broken  bool
	Holders []shares.Entry // processes that wait in this round; the numbers are goroutines
}

// State looks at the barrier, without locking.
func (b *Barrier) State() State {
	v := b.round.Load()
	s := State{Round: uint32(v >> 32), Waiting: int(uint32(v) &^ brokenBit), Broken: v&brokenBit != 0}
	for _, e := range b.table.All() {
		if n := e.Number >> 16; n != 0 && uint16(e.Number) == roundOf(v) {
			s.Holders = append(s.Holders, shares.Entry{Token: e.Token, Number: n})
		}
	}
	return s
}
