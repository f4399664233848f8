package lock

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
)

// An event is set or not.

var eventKind = &kind{
	create: func(w *world) (err error) { w.e, err = CreateEvent(w.d, "e", nil); return err },
	open:   func(v *world) (err error) { v.e, err = OpenEvent(v.d, "e"); return err },
	while:  whileEvent,
	check:  checkEvent,
}

// whileEvent: setting is for everybody; clearing would take from the victim what it waits for.
func whileEvent(_ *killtest.Trial, w *world) error {
	if set, err := w.e.IsSet(); err != nil || !set {
		return err
	}
	return killtest.Promptly("wait for what is set", w.e.Wait)
}

func checkEvent(t *killtest.Trial, w *world) error {
	set, err := w.e.IsSet()
	if err != nil || finished(t) && set != w.s.set {
		return fmt.Errorf("it is set: %v (%v)", set, err)
	}
	err = killtest.Promptly("set", func(ctx context.Context) error {
		err := errors.Join(w.e.Set(), w.e.Wait(ctx))
		if w.waits {
			err = errors.Join(err, w.heard(ctx))
		}
		return err
	})
	return errors.Join(err, w.e.Clear(), briefly("Wait", w.e.Wait), w.e.Set(), w.e.Wait(bg))
}

func waiterForEvent(w *world) error {
	w.wait(w.e.Wait)
	return until(w.ctx, w.eventArmed)
}

func (w *world) eventArmed() bool { return w.e.obj.Ctl.U32(offChanged).Load()&1 != 0 }

var eventScenes = []scene{
	{name: "event/Set", covers: []string{"lock.Event.Set"}, kind: eventKind, set: true, op: now(func(v *world) error { return v.e.Set() })},
	{name: "event/Set, somebody waits", kind: eventKind, set: true, setup: waiterForEvent, op: now(func(v *world) error { return v.e.Set() }),
		check: func(t *killtest.Trial, w *world) error {
			if !finished(t) {
				return nil // somebody else sets it
			}
			return killtest.Promptly("waiting", w.heard)
		}},
	{name: "event/Clear", covers: []string{"lock.Event.Clear"}, kind: eventKind, setup: func(w *world) error { return w.e.Set() },
		op: now(func(v *world) error { return v.e.Clear() })},
	{name: "event/Wait", covers: []string{"lock.Event.Wait"}, kind: eventKind, set: true,
		setup: func(w *world) error {
			w.wait(func(ctx context.Context) error {
				if until(ctx, w.eventArmed) != nil {
					return nil
				}
				return w.e.Set()
			})
			return nil
		},
		check: survivorEnds, op: now(func(v *world) error { return v.e.Wait(bg) })},
	{name: "event/Close", covers: []string{"lock.Event.Close"}, kind: eventKind, op: now(func(v *world) error { return v.e.Close() })},
}

func survivorEnds(_ *killtest.Trial, w *world) error {
	w.cancel()
	return w.heard(bg)
}

// A condition variable: what the pair's third word says is what is waited for.

var condKind = &kind{
	create: func(w *world) (err error) {
		if err = mutexKind.create(w); err == nil {
			w.c, err = CreateCond(w.d, "c", nil)
		}
		return err
	},
	open: func(v *world) (err error) {
		if err = mutexKind.open(v); err == nil {
			v.c, err = OpenCond(v.d, "c")
		}
		return err
	},
	while: func(t *killtest.Trial, w *world) error { return errors.Join(whileMutex(t, w), w.c.Signal()) },
	check: func(t *killtest.Trial, w *world) error {
		if w.waits {
			err := killtest.Promptly("wake who waits", func(ctx context.Context) error {
				err := w.changes(ctx, (*Cond).Broadcast)
				if err == nil {
					err = w.heard(ctx)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return errors.Join(w.c.Signal(), w.c.Broadcast(), checkMutex(t, w))
	},
}

func (w *world) ready() bool { return w.m.obj.Ctl.U32(offReady).Load() != 0 }

const offReady = 4096 + 3072 + 192

// changes makes the condition true and says so.
func (w *world) changes(ctx context.Context, say func(c *Cond) error) error {
	err := w.m.Lock(ctx)
	if err != nil && !errors.Is(err, shiplap.ErrOwnerDied) {
		return err
	}
	w.m.obj.Ctl.U32(offReady).Store(1)
	return errors.Join(say(w.c), w.enters(err))
}

// awaits waits for the condition.
func (w *world) awaits(ctx context.Context) error {
	err := w.m.Lock(ctx)
	for {
		died := errors.Is(err, shiplap.ErrOwnerDied)
		if err != nil && !died {
			return err
		}
		if died {
			if w.b.Store(w.a.Load()); w.inside.Swap(0) != writing {
				w.inside.Store(0)
			}
			if err := w.m.Repaired(); err != nil {
				return err
			}
		}
		if w.ready() {
			return w.holding(w.m, nil)
		}
		err = w.c.Wait(ctx, w.m)
	}
}

func (w *world) signalArmed() bool { return w.c.obj.Ctl.U32(offSignal).Load()&1 != 0 }

func waiterForCond(w *world) error {
	w.wait(w.awaits)
	return until(w.ctx, func() bool { return w.signalArmed() && w.word() == 0 })
}

var condScenes = []scene{
	{name: "cond/Wait", covers: []string{"lock.Cond.Wait", "lock.Cond.WaitFor"}, kind: condKind,
		setup: func(w *world) error {
			w.wait(func(ctx context.Context) error {
				if until(ctx, w.signalArmed) != nil {
					return nil
				}
				return w.changes(bg, (*Cond).Signal)
			})
			return nil
		},
		while: nothing, check: survivorEnds,
		op: now(func(v *world) error {
			if err := v.m.Lock(bg); err != nil {
				return err
			}
			return errors.Join(v.c.WaitFor(bg, v.m, v.ready), v.holding(v.m, nil))
		})},
	{name: "cond/Signal", covers: []string{"lock.Cond.Signal"}, kind: condKind, setup: waiterForCond, while: nothing,
		op: now(func(v *world) error { return v.changes(bg, (*Cond).Signal) })},
	{name: "cond/Broadcast", covers: []string{"lock.Cond.Broadcast"}, kind: condKind, setup: waiterForCond, while: nothing,
		op: now(func(v *world) error { return v.changes(bg, (*Cond).Broadcast) })},
	{name: "cond/Close", covers: []string{"lock.Cond.Close"}, kind: condKind, op: now(func(v *world) error { return v.c.Close() })},
}

// A barrier for two.

var barrierKind = &kind{
	create: func(w *world) (err error) { w.bar, err = CreateBarrier(w.d, "b", 2, nil); return err },
	open:   func(v *world) (err error) { v.bar, err = OpenBarrier(v.d, "b"); return err },
	while: func(_ *killtest.Trial, w *world) error {
		time.Sleep(2 * time.Millisecond)
		if st, err := w.bar.Stats(); err != nil || st.Broken && !w.s.broken {
			return fmt.Errorf("everybody lives, and %+v (%v)", st, err)
		}
		return nil
	},
	check: checkBarrier,
}

func (w *world) meet(ctx context.Context) error { _, err := w.bar.Wait(ctx); return err }

// checkBarrier: nobody waits for ever; all go on or all know that it is broken; after a reset it is as new.
func checkBarrier(t *killtest.Trial, w *world) error {
	same := func(one, two error) error {
		for _, err := range []error{one, two} {
			if err != nil && !errors.Is(err, ErrBroken) {
				return err
			}
		}
		if (one == nil) != (two == nil) {
			return fmt.Errorf("one was told %v, the other %v", one, two)
		}
		return nil
	}
	settle := func(ctx context.Context) error {
		st, err := w.bar.Stats()
		if err != nil {
			return err
		}
		if w.waits && !st.Broken && st.Round == 0 { // who came first, before the victim, who did not come
			two := w.meet(ctx)
			return same(w.heard(ctx), two)
		}
		first := w.bar.meeting(ctx)
		two := w.meet(ctx)
		err = same(<-first, two)
		if w.waits { // and was not woken: those who come later do that
			var want error
			if st.Broken || w.s.broken {
				want = ErrBroken
			}
			err = errors.Join(err, same(w.heard(ctx), want))
		}
		return err
	}
	if err := killtest.Promptly("settle", settle); err != nil {
		return err
	}
	return killtest.Promptly("meet after a reset", func(ctx context.Context) error {
		if err := w.bar.Reset(ctx); err != nil {
			return err
		}
		for range 3 {
			first := w.bar.meeting(ctx)
			if err := errors.Join(w.meet(ctx), <-first); err != nil {
				return err
			}
		}
		st, err := w.bar.Stats()
		if err != nil || st.Broken || st.Waiting != 0 {
			err = fmt.Errorf("at the end: %+v (%v)", st, err)
		}
		return err
	})
}

func (b *Barrier) meeting(ctx context.Context) chan error {
	c := make(chan error, 1)
	go func() { _, err := b.Wait(ctx); c <- err }()
	return c
}

// waiterAtBarrier is a survivor who came first.
func waiterAtBarrier(w *world) error {
	w.wait(w.meet)
	return until(w.ctx, func() bool { return w.bar.b.State().Waiting == 1 && w.bar.obj.Ctl.U32(offOpened).Load()&1 != 0 })
}

// survivorMeets is a survivor who comes when the victim waits.
func survivorMeets(w *world) error {
	w.wait(func(ctx context.Context) error {
		if until(ctx, func() bool { return w.bar.obj.Ctl.U32(offOpened).Load()&1 != 0 }) != nil {
			return nil
		}
		if err := w.meet(bg); err != nil && !errors.Is(err, ErrBroken) {
			return err
		}
		return nil
	})
	return nil
}

func broken(w *world) error { return w.bar.Abort() }

var barrierScenes = []scene{
	{name: "barrier/Wait, first", covers: []string{"lock.Barrier.Wait"}, kind: barrierKind, setup: survivorMeets, check: survivorEnds,
		op: now(func(v *world) error { return v.meet(bg) })},
	{name: "barrier/Wait, last", kind: barrierKind, setup: waiterAtBarrier, op: now(func(v *world) error { return v.meet(bg) }),
		check: func(t *killtest.Trial, w *world) error {
			if finished(t) {
				return killtest.Promptly("the first", w.heard) // nobody died on the way
			}
			return nil
		}},
	{name: "barrier/Wait, alone", kind: barrierKind, broken: true,
		setup: func(w *world) error { w.rouse(w.bar.obj.Ctl.U32(offOpened)); return nil },
		check: survivorEnds,
		op:    now(func(v *world) error { return cancelled(v.meet) })},
	{name: "barrier/Abort", covers: []string{"lock.Barrier.Abort"}, kind: barrierKind, broken: true, setup: waiterAtBarrier,
		op: now(func(v *world) error { return v.bar.Abort() }),
		check: func(t *killtest.Trial, w *world) error {
			if finished(t) {
				return killtest.Promptly("the first", func(ctx context.Context) error {
					if err := w.heard(ctx); !errors.Is(err, ErrBroken) {
						return fmt.Errorf("aborted: %v", err)
					}
					return nil
				})
			}
			return nil
		}},
	{name: "barrier/Reset", covers: []string{"lock.Barrier.Reset"}, kind: barrierKind, broken: true, setup: waiterAtBarrier,
		op: now(func(v *world) error { return v.bar.Reset(bg) }), recover: now(func(v *world) error { return v.bar.Reset(bg) })},
	{name: "barrier/Reset of a broken one", kind: barrierKind, broken: true, setup: broken,
		op: now(func(v *world) error { return v.bar.Reset(bg) }), recover: now(func(v *world) error { return v.bar.Reset(bg) })},
	{name: "barrier/Close", covers: []string{"lock.Barrier.Close"}, kind: barrierKind, op: now(func(v *world) error { return v.bar.Close() })},
}
