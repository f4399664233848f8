package lock

import (
	"context"
	"errors"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/shares"
)

const permits = 4

func semaphoreKind(unowned bool) *kind {
	return &kind{
		create: func(w *world) (err error) {
			if w.sem, err = CreateSemaphore(w.d, "s", permits, &SemaphoreOptions{Unowned: unowned}); err == nil {
				w.pair = pairOf(w.sem.obj)
			}
			return err
		},
		open: func(v *world) (err error) {
			if v.sem, err = OpenSemaphore(v.d, "s"); err == nil {
				v.pair = pairOf(v.sem.obj)
			}
			return err
		},
		while: whileSemaphore,
		check: checkSemaphore,
	}
}

var ownedKind, unownedKind = semaphoreKind(false), semaphoreKind(true)

// take acquires n permits and says so; give says that they go.
func (w *world) take(n int, acquire func(ctx context.Context, n int) error) error {
	err := acquire(bg, n)
	if err == nil {
		w.inside.Add(uint32(n))
	}
	return err
}

func (w *world) give(n int) error {
	w.inside.Add(-uint32(n))
	return w.sem.Release(n)
}

func (w *world) try(_ context.Context, n int) error { return w.sem.TryAcquire(n) }

// held tells who holds what, by the table.
func (w *world) held() (theirs, mine uint64) {
	for _, e := range w.sem.table.All() {
		if e.Token == w.sem.obj.Space.Table.Self() {
			mine += uint64(e.Number)
		} else {
			theirs += uint64(e.Number)
		}
	}
	return theirs, mine
}

func (w *world) locked(off int) bool {
	v := w.sem.obj.Ctl.U32(off).Load() &^ waitersBit
	return v != 0 && v != deadToken
}

// whileSemaphore: nobody gets what the victim has, and, unless it is in the middle of a change, the rest is free.
func whileSemaphore(_ *killtest.Trial, w *world) error {
	acquire := func(n int) func(ctx context.Context) error {
		return func(ctx context.Context) error { return w.sem.Acquire(ctx, n) }
	}
	if err := errors.Join(busyIf(w.inside.Load() > 0, "TryAcquire of all", func() error { return w.sem.TryAcquire(permits) })); err != nil {
		return err
	}
	if w.locked(offGuard) {
		return errors.Join(busy("TryAcquire", w.sem.TryAcquire(1)), briefly("Acquire", acquire(1)))
	}
	if w.locked(offQueue) {
		return errors.Join(busy("TryAcquire", w.sem.TryAcquire(1)), briefly("Acquire", acquire(1)))
	}
	if w.sem.unowned {
		return nil
	}
	theirs, _ := w.held()
	for _, e := range w.sem.table.All() {
		if e.Token == deadToken {
			theirs -= uint64(e.Number)
		}
	}
	if n := permits - int(theirs); n > 0 {
		if err := w.sem.TryAcquire(n); err != nil {
			return fmt.Errorf("the victim has %d, and the rest: %w", theirs, err)
		}
		return w.sem.Release(n)
	}
	return briefly("Acquire", acquire(1))
}

func busyIf(yes bool, what string, f func() error) error {
	if !yes {
		return nil
	}
	return busy(what, f())
}

// checkSemaphore: all permits are there, but, of an unowned semaphore, what the victim took.
func checkSemaphore(t *killtest.Trial, w *world) error {
	most := permits
	if w.sem.unowned {
		least := permits
		switch delta := w.s.unowned; {
		case finished(t):
			least, most = delta, delta
		default:
			least, most = min(delta, w.s.before), max(delta, w.s.before)
		}
		if n := int(w.sem.available.Load()); n < least || n > most {
			return fmt.Errorf("%d permits are there; %d to %d are possible", n, least, most)
		}
		most = int(w.sem.available.Load())
	}
	err := killtest.Promptly("acquire all", func(ctx context.Context) error { return w.sem.Acquire(ctx, most) })
	if err != nil {
		return err
	}
	if n := w.sem.available.Load(); n != 0 {
		return fmt.Errorf("all are taken, and %d are there", n)
	}
	if !w.sem.unowned {
		if theirs, mine := w.held(); theirs != 0 || mine != permits {
			return fmt.Errorf("the dead hold %d, we %d", theirs, mine)
		}
	}
	if err := busy("TryAcquire of one more", w.sem.TryAcquire(1)); err != nil {
		return err
	}
	return killtest.Promptly("release and take", func(ctx context.Context) error {
		err := errors.Join(w.sem.Release(most), w.sem.TryAcquire(most), w.sem.Release(most-1), w.sem.Acquire(ctx, 1), w.sem.Release(2))
		if n := int(w.sem.available.Load()); n != most {
			err = errors.Join(err, fmt.Errorf("%d are there at the end, of %d", n, most))
		}
		return err
	})
}

// deadHolder leaves 2 permits with one who is dead.
func deadHolder(w *world) error {
	const slot = deadToken & (shares.Slots - 1)
	bits := w.sem.obj.Ctl.U64(shares.Permits.Bitmap + slot/64*8)
	bits.Store(bits.Load() | 1<<(slot%64))
	w.sem.obj.Region.Span(1).U64(slot * shares.Permits.Stride).Store(deadToken | 2<<32)
	w.sem.available.Store(permits - 2)
	return nil
}

// deadChanger died with the guard in its hand, and had counted its own only.
func deadChanger(w *world) error {
	w.sem.obj.Ctl.U32(offGuard).Store(deadToken)
	err := deadHolder(w)
	w.sem.available.Store(permits)
	return err
}

// survivorHas has a survivor hold all permits until somebody waits for them.
func survivorHas(w *world) error {
	w.wait(func(ctx context.Context) error {
		released := w.sem.obj.Ctl.U32(offReleased)
		if err := until(ctx, func() bool { return released.Load()&1 != 0 }); err != nil {
			return nil
		}
		return w.sem.Release(permits)
	})
	return w.sem.Acquire(bg, permits)
}

func survivorGives(_ *killtest.Trial, w *world) error {
	w.cancel()
	err := w.heard(bg)
	if n := int(w.sem.mine.Load()); n > 0 {
		err = errors.Join(err, w.sem.Release(n))
	}
	return err
}

// waiterAcquires is a survivor who wants two permits as soon as the victim has them all.
func waiterAcquires(w *world) error {
	w.wait(func(ctx context.Context) error {
		if err := until(ctx, func() bool { return w.sem.available.Load() == 0 }); err != nil {
			return err
		}
		return w.sem.Acquire(ctx, 2)
	})
	return nil
}

func waitedForPermits(_ *killtest.Trial, w *world) error {
	return killtest.Promptly("the survivor who waited", func(ctx context.Context) error {
		err := w.heard(ctx)
		if err == nil {
			err = w.sem.Release(2)
		}
		return err
	})
}

func acquireWhole(v *world) error {
	return errors.Join(v.take(2, v.sem.Acquire), v.give(1), v.give(1))
}

var semaphoreScenes = []scene{
	{name: "semaphore/Acquire", covers: []string{"lock.Semaphore.Acquire"}, kind: ownedKind, op: now(acquireWhole), recover: now(acquireWhole)},
	{name: "semaphore/Acquire, somebody has them all", kind: ownedKind, setup: survivorHas, check: survivorGives, while: nothing, op: now(acquireWhole)},
	{name: "semaphore/Acquire after a death", kind: ownedKind, setup: deadHolder, op: now(acquireWhole), recover: now(acquireWhole)},
	{name: "semaphore/Acquire after a death in a change", kind: ownedKind, setup: deadChanger, op: now(acquireWhole), recover: now(acquireWhole)},
	{name: "semaphore/TryAcquire", covers: []string{"lock.Semaphore.TryAcquire"}, kind: ownedKind,
		op: now(func(v *world) error { return errors.Join(v.take(2, v.try), v.give(2)) })},
	{name: "semaphore/TryAcquire after a death", kind: ownedKind, setup: deadChanger,
		op: now(func(v *world) error { return errors.Join(v.take(2, v.try), v.give(2)) }), recover: now(acquireWhole)},
	{name: "semaphore/Release", covers: []string{"lock.Semaphore.Release"}, kind: ownedKind,
		op: after(func(v *world) error { return v.take(2, v.sem.Acquire) }, func(v *world) error { return v.give(2) }), recover: now(acquireWhole)},
	{name: "semaphore/Release, somebody waits", kind: ownedKind, setup: waiterAcquires, check: waitedForPermits, while: nothing,
		op: after(func(v *world) error {
			err := v.take(permits, v.sem.Acquire)
			return errors.Join(err, until(v.ctx, func() bool { return v.sem.obj.Ctl.U32(offReleased).Load()&1 != 0 }))
		}, func(v *world) error { return v.give(permits) })},
	{name: "semaphore/Acquire, unowned", kind: unownedKind, before: permits, unowned: permits - 2,
		op: now(func(v *world) error { return v.sem.Acquire(bg, 2) })},
	{name: "semaphore/Release, unowned", kind: unownedKind, before: permits - 2, unowned: permits,
		setup: func(w *world) error { return w.sem.Acquire(bg, 2) },
		op:    now(func(v *world) error { return v.sem.Release(2) })},
	{name: "semaphore/Close", covers: []string{"lock.Semaphore.Close"}, kind: ownedKind,
		op: after(func(v *world) error { return v.take(1, v.sem.Acquire) }, func(v *world) error { return errors.Join(v.sem.Close(), v.give(1)) })},
	{name: "semaphore/CreateSemaphore", covers: []string{"lock.CreateSemaphore", "lock.OpenSemaphore", "lock.OpenOrCreateSemaphore"},
		kind: &kind{
			create: func(*world) error { return nil },
			open:   func(*world) error { return nil },
			while:  nothing,
			check: func(t *killtest.Trial, w *world) (err error) {
				list, err := w.d.List()
				if err != nil || len(list) > 1 || finished(t) && len(list) != 1 {
					return fmt.Errorf("objects: %v (%v)", list, err)
				}
				if w.sem, err = OpenOrCreateSemaphore(w.d, "s", permits, nil); err != nil {
					return err
				}
				return checkSemaphore(t, w)
			},
		},
		op: now(func(v *world) error {
			s, err := OpenOrCreateSemaphore(v.d, "s", permits, nil)
			if err == nil {
				_, err = s.Stats()
			}
			return err
		})},
}
