package lock

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/shares"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Every change is made under the guard, which is held for moments. What counts is the table: a permit is held
// once the entry of its process says so. The word of available permits is derived from it, and whoever
// takes the guard over from a dead process derives it anew. A waiter takes the queue lock and waits at
// its head: nobody overtakes him there, and many permits are not starved by few.
const (
	offGuard     = object.HeaderSize
	offQueue     = offGuard + wordlock.Size
	offReleased  = offQueue + wordlock.Size // event: permits came back
	offAvailable = offReleased + 64         // the bitmap of the permits follows

	paramMax     = 0
	paramUnowned = 1
)

// SemaphoreOptions are Options, and what a semaphore has besides.
type SemaphoreOptions struct {
	Options
	// Unowned makes permits belong to nobody, as those of POSIX: any process may release them, and those that
	// a dead process had taken do not come back.
	Unowned bool
}

// Semaphore holds a number of permits that processes take and give back. What a process holds when it
// dies comes back, unless the semaphore is unowned. All methods may be called concurrently.
type Semaphore struct {
	base
	max       uint32
	unowned   bool
	guard     *wordlock.Lock
	giving    *wordlock.Lock // the same lock for Release, which goes on when the handle is closed
	queue     *wordlock.Lock
	released  wait.Event
	available *mem.U32
	table     *shares.Table

	mine atomic.Uint32 // permits held through this handle; each of them has a share of the gate
}

func semaphoreParts() []mem.Part { return []mem.Part{{Len: ctlSize}, {Len: shares.Permits.Size()}} }

func newSemaphore(o *object.Object) (*Semaphore, error) {
	return semaphoreAmong(o, o.Space.Table, o.Space.Table.Slot())
}

func semaphoreAmong(o *object.Object, owners wordlock.Owners, slot int) (*Semaphore, error) {
	most, unowned := o.Params[paramMax], o.Params[paramUnowned]
	if most == 0 || most > MaxCount || unowned > 1 {
		return nil, o.Wrap(fmt.Errorf("%w: %d permits, ownership %d", errs.ErrCorrupt, most, unowned))
	}
	return &Semaphore{
		base: base{obj: o}, max: uint32(most), unowned: unowned == 1,
		guard:     wordlock.New(o.Ctl, offGuard, owners, &o.Sess),
		giving:    wordlock.New(o.Ctl, offGuard, owners, &wait.Session{}),
		queue:     wordlock.New(o.Ctl, offQueue, owners, &o.Sess),
		released:  wait.NewEvent(o.Ctl.U32(offReleased)),
		available: o.Ctl.U32(offAvailable),
		table:     shares.New(o.Ctl, shares.Permits.Bitmap, o.Region.Span(1), shares.Permits.Stride, owners, slot),
	}, nil
}

// CreateSemaphore makes a semaphore with that many permits, all available; shiplap.ErrExist when the name is
// taken.
func CreateSemaphore(d *shiplap.Domain, name string, permits int, opt *SemaphoreOptions) (*Semaphore, error) {
	if err := number("the number of permits", permits, 1); err != nil {
		return nil, fmt.Errorf("create semaphore %q: %w", name, err)
	}
	if opt == nil {
		opt = &SemaphoreOptions{}
	}
	s := opt.fill(object.Spec{
		Kind: object.Semaphore, Parts: semaphoreParts(),
		Locks:  []object.LockAt{{Name: "guard", Off: offGuard}, {Name: "queue", Off: offQueue}},
		Events: []int{offReleased},
		Init:   func(r *mem.Region) { r.Span(0).U32(offAvailable).Store(uint32(permits)) },
	})
	s.Params[paramMax] = uint64(permits)
	if opt.Unowned {
		s.Params[paramUnowned] = 1
	}
	return create(d, name, s, newSemaphore)
}

// OpenSemaphore opens a semaphore; shiplap.ErrIncompatible when the object is something else.
func OpenSemaphore(d *shiplap.Domain, name string) (*Semaphore, error) {
	return open(d, name, object.Semaphore, semaphoreParts(), newSemaphore)
}

// OpenOrCreateSemaphore opens the semaphore, with as many permits as it has, or makes it if it does not exist.
func OpenOrCreateSemaphore(d *shiplap.Domain, name string, permits int, opt *SemaphoreOptions) (*Semaphore, error) {
	return object.OpenOrCreate(
		func() (*Semaphore, error) { return OpenSemaphore(d, name) },
		func() (*Semaphore, error) { return CreateSemaphore(d, name, permits, opt) })
}

// guarded runs f with the guard held.
func (s *Semaphore) guarded(ctx context.Context, guard *wordlock.Lock, f func() error) error {
	recovered, err := guard.Lock(ctx)
	if err != nil {
		return err
	}
	return s.inGuard(recovered, f)
}

// inGuard runs f with the guard in hand, and gives that back.
func (s *Semaphore) inGuard(recovered bool, f func() error) error {
	defer s.guard.Unlock()
	if recovered {
		if err := s.recount(); err != nil {
			return err
		}
	}
	return f()
}

// recount derives what is available from who holds what, and frees what the dead held.
func (s *Semaphore) recount() error {
	if s.unowned {
		return nil // the word itself is what counts
	}
	s.table.Reap()
	held := s.table.Sum()
	if held > uint64(s.max) {
		return fmt.Errorf("%w: %d permits are held of %d", errs.ErrCorrupt, held, s.max)
	}
	s.available.StoreRelease(s.max - uint32(held))
	return nil
}

// take takes n permits if they are there.
func (s *Semaphore) take(ctx context.Context, n uint32) (ok bool, err error) {
	err = s.guarded(ctx, s.guard, func() error {
		ok, err = s.takeGuarded(n)
		return err
	})
	return ok, err
}

func (s *Semaphore) takeGuarded(n uint32) (ok bool, err error) {
	have := s.available.Load()
	if have < n && !s.unowned {
		if err := s.recount(); err != nil {
			return false, err
		}
		have = s.available.Load()
	}
	if have < n {
		return false, nil
	}
	if have > s.max {
		return false, fmt.Errorf("%w: %d permits are available of %d", errs.ErrCorrupt, have, s.max)
	}
	if !s.unowned {
		s.table.Add(int32(n)) // they are ours from here on
	}
	s.available.StoreRelease(have - n)
	return true, nil
}

// guardMoment is for how long those who do not wait wait for the guard, which nobody holds that long unless
// he is stopped.
const guardMoment = time.Millisecond

// takeNow is take for those who do not wait.
func (s *Semaphore) takeNow(n uint32) (ok bool, err error) {
	held, recovered := s.guard.TryLock()
	if !held {
		ctx, cancel := context.WithTimeout(context.Background(), guardMoment)
		defer cancel()
		if recovered, err = s.guard.Lock(ctx); err != nil {
			return false, nil
		}
	}
	err = s.inGuard(recovered, func() error {
		ok, err = s.takeGuarded(n)
		return err
	})
	return ok, err
}

func (s *Semaphore) check(n int) error {
	if n < 1 || uint64(n) > uint64(s.max) {
		return fmt.Errorf("semaphore %q: %w: %d permits of a semaphore that has %d", s.obj.Name, errs.ErrTooLarge, n, s.max)
	}
	return nil
}

// Acquire takes n permits at once, waiting for them behind those who wait already.
func (s *Semaphore) Acquire(ctx context.Context, n int) error {
	if err := s.check(n); err != nil {
		return err
	}
	return s.acquire(n, func() (bool, error) {
		if !s.queue.Held() {
			if ok, err := s.take(ctx, uint32(n)); ok || err != nil {
				return ok, err
			}
		}
		if _, err := s.queue.Lock(ctx); err != nil {
			return false, err
		}
		defer s.queue.Unlock()
		err := s.table.Wait(ctx, &s.obj.Sess, s.released, func(*shares.Table) (bool, error) { return s.take(ctx, uint32(n)) })
		return err == nil, err
	})
}

// TryAcquire takes n permits if they are there and nobody waits, else shiplap.ErrBusy.
func (s *Semaphore) TryAcquire(n int) error {
	if err := s.check(n); err != nil {
		return err
	}
	return s.acquire(n, func() (bool, error) {
		if ok, _ := s.queue.TryLock(); !ok {
			return false, errs.ErrBusy
		}
		defer s.queue.Unlock()
		if ok, err := s.takeNow(uint32(n)); ok || err != nil {
			return ok, err
		}
		return false, cmp.Or(s.obj.Err(), errs.ErrBusy)
	})
}

// acquire runs take with a share of the gate for each permit. Those that are held keep theirs.
func (s *Semaphore) acquire(n int, take func() (bool, error)) error {
	if !s.obj.Gate.EnterN(n) {
		return s.obj.Wrap(errs.ErrClosed)
	}
	var got bool
	err := object.Guarded(func() (err error) {
		if err = s.obj.Err(); err == nil {
			got, err = take()
		}
		return err
	})
	if got && !s.unowned {
		s.mine.Add(uint32(n))
	} else {
		s.obj.Gate.LeaveN(n)
	}
	return s.obj.Wrap(err)
}

// Release gives n permits back; shiplap.ErrConflict when this handle does not hold that many, or, of an
// unowned semaphore, when there would be more than it was made with.
func (s *Semaphore) Release(n int) error {
	if err := s.check(n); err != nil {
		return err
	}
	if s.unowned {
		return s.obj.Call(func() error { return s.giveUnowned(uint32(n)) })
	}
	if err := s.letGo(uint32(n)); err != nil {
		return err
	}
	defer s.obj.Gate.LeaveN(n) // also when it is corrupt: there is nothing left to give back to
	return s.obj.Wrap(object.Guarded(func() error {
		err := s.guarded(context.Background(), s.giving, func() error {
			s.table.Add(-int32(n)) // they are free from here on
			s.available.StoreRelease(s.available.Load() + uint32(n))
			return nil
		})
		s.released.Wake(1) // the head of the queue
		return err
	}))
}

// letGo makes n permits, and their shares of the gate, those of one call of Release.
func (s *Semaphore) letGo(n uint32) error {
	for {
		have := s.mine.Load()
		if n > have {
			return fmt.Errorf("semaphore %q: %w: release of %d permits, this handle holds %d", s.obj.Name, errs.ErrConflict, n, have)
		}
		if s.mine.CompareAndSwap(have, have-n) {
			return nil
		}
	}
}

func (s *Semaphore) giveUnowned(n uint32) error {
	err := s.guarded(context.Background(), s.giving, func() error {
		have := s.available.Load()
		if uint64(have)+uint64(n) > uint64(s.max) {
			return fmt.Errorf("%w: release of %d permits, %d of %d are there", errs.ErrConflict, n, have, s.max)
		}
		s.available.StoreRelease(have + n)
		return nil
	})
	s.released.Wake(1)
	return err
}

// Close gives up the handle; calls that wait return shiplap.ErrClosed. Permits held through it stay held until
// Release, which still works.
func (s *Semaphore) Close() error { return s.close() }

// SemaphoreStats is a semaphore at one moment.
type SemaphoreStats struct {
	Permits   int        `json:"permits"`
	Available int        `json:"available"` // those of the dead only after somebody looked for permits
	Unowned   bool       `json:"unowned"`
	Holders   []Holder   `json:"holders"`
	Queue     MutexStats `json:"queue"` // its holder waits for permits, the waiters behind it
}

// Stats tells who holds permits and who waits, at a glance and without locking.
func (s *Semaphore) Stats() (st SemaphoreStats, err error) {
	err = s.obj.Call(func() error {
		st = SemaphoreStats{
			Permits: int(s.max), Available: int(s.available.Load()), Unowned: s.unowned,
			Holders: holdersOf(s.obj, s.table.All()), Queue: mutexStats(s.obj, offQueue),
		}
		return nil
	})
	return st, err
}
