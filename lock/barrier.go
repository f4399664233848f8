package lock

import (
	"context"
	"fmt"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/barrier"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/shares"
)

const (
	offResetLock = object.HeaderSize + barrier.ResetLock
	offOpened    = object.HeaderSize + barrier.Opened

	paramParties = 0

	// MaxParties is how many can meet at a barrier.
	MaxParties = barrier.Most
)

// ErrBroken says that a barrier is broken: somebody who waited gave up or died, or somebody called Abort.
var ErrBroken = barrier.ErrBroken

// Barrier lets a number of parties, processes or goroutines, wait for each other, again and again. All methods
// may be called concurrently.
type Barrier struct {
	base
	parties uint32
	b       *barrier.Barrier
}

func barrierParts() []mem.Part {
	return []mem.Part{{Len: ctlSize}, {Len: shares.Slots * barrier.Stride}}
}

func newBarrier(o *object.Object) (*Barrier, error) {
	n := o.Params[paramParties]
	if n == 0 || n > MaxParties {
		return nil, o.Wrap(fmt.Errorf("%w: %d parties", errs.ErrCorrupt, n))
	}
	return &Barrier{base: base{obj: o}, parties: uint32(n), b: barrier.New(barrier.Config{
		Ctl: o.Ctl, Base: object.HeaderSize, Table: o.Region.Span(1), Parties: uint32(n),
		Owners: o.Space.Table, Slot: o.Space.Table.Slot(), Sess: &o.Sess, Gone: o.Err,
	})}, nil
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

// Wait waits until all parties wait, and then returns to each its number, 0 to Parties-1, in the order in which
// they came.
//
// If the context is done before, the barrier is broken, and everybody gets ErrBroken: those who wait, and those
// who come, until Reset. It is also broken once a process that waits is dead.
func (b *Barrier) Wait(ctx context.Context) (number int, err error) {
	err = b.obj.Call(func() error {
		number, err = b.b.Wait(ctx)
		return err
	})
	return number, err
}

// Abort breaks the barrier: everybody gets ErrBroken until Reset.
func (b *Barrier) Abort() error {
	return b.obj.Call(func() error {
		b.b.Abort()
		return b.obj.Err()
	})
}

// Reset makes a new barrier of it. Those who wait get ErrBroken.
func (b *Barrier) Reset(ctx context.Context) error {
	return b.obj.Call(func() error { return b.b.Reset(ctx) })
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
		now := b.b.State()
		s = BarrierStats{
			Parties: int(b.parties), Waiting: now.Waiting, Broken: now.Broken, Round: now.Round,
			Holders: holdersOf(b.obj, now.Holders),
		}
		return nil
	})
	return s, err
}
