package lock

import (
	"context"
	"errors"
	"fmt"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
)

const waitersBit = 1 << 31

var mutexKind = &kind{
	create: func(w *world) (err error) {
		w.m, err = CreateMutex(w.d, "m", nil)
		if err == nil {
			w.pair = pairOf(w.m.obj)
		}
		return err
	},
	open: func(v *world) (err error) {
		var err2 error
		v.m, err = OpenMutex(v.d, "m")
		v.m2, err2 = OpenMutex(v.d, "m")
		if err == nil {
			v.pair = pairOf(v.m.obj)
		}
		return errors.Join(err, err2)
	},
	while: whileMutex,
	check: checkMutex,
}

func (w *world) word() uint32 { return w.m.obj.Ctl.U32(offMutex).Load() }

// holding uses the mutex that a call has taken or not.
func (w *world) holding(m *Mutex, err error) error {
	died := errors.Is(err, shiplap.ErrOwnerDied)
	if err := w.section(err); err != nil {
		return err
	}
	if died {
		if err := m.Repaired(); err != nil {
			return err
		}
	}
	return m.Unlock()
}

func lockWhole(v *world) error { return v.holding(v.m, v.m.Lock(bg)) }
func tryWhole(v *world) error  { return v.holding(v.m, v.m.TryLock()) }

func (w *world) enters(err error) error {
	w.entered++
	return w.holding(w.m, err)
}

// whileMutex: a living owner is not robbed, and who is not the owner holds nobody up.
func whileMutex(_ *killtest.Trial, w *world) error {
	if v := w.word() &^ waitersBit; v == 0 || v == deadToken {
		if w.inside.Load() == writing && v == 0 {
			return errors.New("the victim is inside, and the mutex is free")
		}
		return w.enters(w.m.TryLock())
	}
	return errors.Join(busy("TryLock", w.m.TryLock()), briefly("Lock", w.m.Lock))
}

// checkMutex takes the mutex at once, is told of a death if somebody died inside, and not else.
func checkMutex(t *killtest.Trial, w *world) error {
	before, damaged := w.word(), w.m.obj.Ctl.U32(offMutex+28).Load() != 0
	err := killtest.Promptly("lock", func(ctx context.Context) error {
		err := w.m.Lock(ctx)
		if told, want := errors.Is(err, shiplap.ErrOwnerDied), before != 0 || damaged; told != want {
			return fmt.Errorf("the word was %#x, damaged %v, and then: %v", before, damaged, err)
		}
		if err != nil && finished(t) && w.s.quiet {
			return fmt.Errorf("the victim had given it back, and %w", err)
		}
		return w.enters(err)
	})
	if err != nil {
		return err
	}
	if v := w.word(); v != 0 {
		return fmt.Errorf("unlocked, and the word is %#x", v)
	}
	return w.enters(w.m.TryLock())
}

// dying leaves the mutex as a dead owner does, in the middle of a change.
func dying(w *world) error {
	w.m.obj.Ctl.U32(offMutex).Store(deadToken)
	w.a.Store(1)
	return nil
}

func damaged(w *world) error {
	w.m.m.Lock(bg) //nolint:errcheck // it is free
	w.m.obj.Ctl.U32(offMutex + 28).Store(1)
	w.a.Store(1)
	return w.m.Unlock()
}

// waiterLocks is a survivor who wants the mutex as soon as the victim has it.
func waiterLocks(w *world) error {
	w.wait(func(ctx context.Context) error {
		if err := until(ctx, func() bool { return w.word() != 0 }); err != nil {
			return err
		}
		return w.m.Lock(ctx)
	})
	return nil
}

// holderUnlocks is a survivor who has the mutex until the victim waits for it.
func holderUnlocks(w *world) error {
	w.wait(func(ctx context.Context) error {
		if err := until(ctx, func() bool { return w.word()&waitersBit != 0 }); err != nil {
			return nil // the victim does not wait any more
		}
		return w.holding(w.m, nil)
	})
	w.entered++
	return w.m.Lock(bg)
}

func unlocked(_ *killtest.Trial, w *world) error {
	if w.cancel(); w.m.m.Held() {
		_ = w.heard(bg)
	}
	if w.m.m.Held() {
		return w.holding(w.m, nil)
	}
	return nil
}

// waited: the survivor who waited has the mutex.
func waited(_ *killtest.Trial, w *world) error {
	return killtest.Promptly("the survivor who waited", func(ctx context.Context) error {
		err := w.heard(ctx)
		return w.enters(err)
	})
}

var mutexScenes = []scene{
	{name: "mutex/Lock", quiet: true, covers: []string{"lock.Mutex.Lock"}, kind: mutexKind, op: now(lockWhole), recover: now(lockWhole)},
	{name: "mutex/Lock, somebody holds it", kind: mutexKind, quiet: true, setup: holderUnlocks, check: unlocked,
		while: nothing, op: now(lockWhole)},
	{name: "mutex/Lock after a death", kind: mutexKind, setup: dying, op: now(lockWhole), recover: now(lockWhole)},
	{name: "mutex/Lock, damaged", kind: mutexKind, setup: damaged, op: now(lockWhole), recover: now(lockWhole)},
	{name: "mutex/Lock, cancelled", kind: mutexKind, quiet: true,
		setup: func(w *world) error {
			w.rouse(w.m.obj.Ctl.U32(offMutex))
			return w.m.Lock(bg)
		},
		while: nothing,
		check: func(t *killtest.Trial, w *world) error {
			w.entered++
			return errors.Join(survivorEnds(t, w), w.holding(w.m, nil))
		},
		op: now(func(v *world) error { return cancelled(v.m.Lock) })},
	{name: "mutex/TryLock", quiet: true, covers: []string{"lock.Mutex.TryLock"}, kind: mutexKind, op: now(tryWhole)},
	{name: "mutex/TryLock after a death", kind: mutexKind, setup: dying, op: now(tryWhole), recover: now(tryWhole)},
	{name: "mutex/Unlock", quiet: true, covers: []string{"lock.Mutex.Unlock"}, kind: mutexKind,
		op: after(func(v *world) error { return v.section(v.m.Lock(bg)) }, func(v *world) error { return v.m.Unlock() })},
	{name: "mutex/Unlock of what was tried", kind: mutexKind,
		op: after(func(v *world) error { return v.section(v.m.TryLock()) }, func(v *world) error { return v.m.Unlock() })},
	{name: "mutex/Unlock, somebody waits", kind: mutexKind, setup: waiterLocks, check: waited,
		while: nothing,
		op: after(func(v *world) error {
			err := v.section(v.m.Lock(bg))
			return errors.Join(err, until(v.ctx, func() bool { return v.word()&waitersBit != 0 }))
		}, func(v *world) error { return v.m.Unlock() })},
	{name: "mutex/Repaired", covers: []string{"lock.Mutex.Repaired"}, kind: mutexKind, setup: dying, op: after(func(v *world) error {
		return v.section(v.m.Lock(bg))
	}, func(v *world) error { return errors.Join(v.m.Repaired(), v.m.Unlock()) }), recover: now(lockWhole)},
	{name: "mutex/MarkSince", covers: []string{"lock.Mutex.MarkSince"}, kind: mutexKind, op: now(func(v *world) error {
		err := v.section(v.m.Lock(bg))
		return errors.Join(err, v.m.MarkSince(), v.m.Unlock())
	})},
	{name: "mutex/Close", quiet: true, covers: []string{"lock.Mutex.Close"}, kind: mutexKind, op: now(func(v *world) error { return v.m.Close() })},
	{name: "mutex/Close while held", kind: mutexKind, op: after(func(v *world) error { return v.section(v.m.Lock(bg)) },
		func(v *world) error { return errors.Join(v.m.Close(), v.m.Unlock()) })},
}
