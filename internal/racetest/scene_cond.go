package racetest

import (
	"context"
	"errors"
	"io"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
)

// condition is a condition variable with its mutex.
type condition struct {
	m     *lock.Mutex
	c     *lock.Cond
	first io.Closer // that is closed first
}

func (c *condition) Close() error {
	if c.first == io.Closer(c.m) {
		return errors.Join(c.m.Close(), c.c.Close())
	}
	return errors.Join(c.c.Close(), c.m.Close())
}

// openCondition opens both.
func openCondition(d *shiplap.Domain, name string) (*condition, error) {
	m, err := lock.OpenMutex(d, name+"-mutex")
	if err != nil {
		return nil, err
	}
	c, err := lock.OpenCond(d, name)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return &condition{m: m, c: c}, nil
}

func createCondition(d *shiplap.Domain, name string) (io.Closer, error) {
	m, err := lock.CreateMutex(d, name+"-mutex", nil)
	if err != nil {
		return nil, err
	}
	c, err := lock.CreateCond(d, name, nil)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return &condition{m: m, c: c}, nil
}

func init() {
	addStorm("cond", storm[*condition]{
		fixed: true,
		create: func(b *bout) error {
			return made(createCondition(b.d, object))
		},
		open: func(w *worker, d *shiplap.Domain) (*condition, error) {
			c, err := openCondition(d, object)
			if err == nil && w.rng.IntN(2) == 0 {
				c.first = c.m
			}
			return c, err
		},
		turn: (*hand).condTurn,
		judge: judgeLock(func(d *shiplap.Domain, name string) (*lock.Mutex, error) {
			return lock.OpenMutex(d, name+"-mutex")
		}),
	})
	addVigil("cond", vigil{ // nobody signals
		create: createCondition,
		hold:   holds(openCondition, (*condition).signalLocked),
		open: waits(openCondition, func(ctx context.Context, c *condition) error {
			if err := c.m.Lock(ctx); err != nil {
				return err
			}
			// It may return for no reason; then it is asked again, and a signal is known to
			// have come by the counter.
			err := c.c.WaitFor(ctx, c.m,
				func() bool { st, err := c.c.Stats(); return err == nil && st.Signals > 0 })
			if !errors.Is(err, lock.ErrNotLocked) {
				_ = c.m.Unlock()
			}
			return err
		}),
		ends: quiet(),
	})
	addVigil("event", vigil{
		create: makes(lock.CreateEvent, nil), hold: holds(lock.OpenEvent, (*lock.Event).Set), ends: quiet(),
		open: waits(lock.OpenEvent, func(ctx context.Context, e *lock.Event) error { return e.Wait(ctx) }),
	})
}

// signalLocked signals with the mutex in hand. Without it, the signal may come between a waiter's look at its condition and
// its Wait, which does not count it.
func (c *condition) signalLocked() error {
	if err := c.m.Lock(context.Background()); err != nil && !errors.Is(err, shiplap.ErrOwnerDied) {
		return err
	}
	return errors.Join(c.c.Signal(), c.m.Unlock())
}

// condTurn takes the mutex, waits for a signal or gives one, and gives the mutex back.
func (h *hand) condTurn(c *condition) bool {
	if h.n%2 == 1 {
		if err := h.call(opWait, 0, c.c.Signal); err != nil {
			return h.ends("Signal", err)
		}
		return h.lockTurn(c.m, 0)
	}
	err := h.call(opLock, 0, func() error { return c.m.Lock(h.ctx) })
	died := errors.Is(err, shiplap.ErrOwnerDied)
	if err != nil && !died {
		return h.ends("Lock", err)
	}
	leave := h.enters(0, died)
	if died {
		if err := c.m.Repaired(); err != nil && !h.over(err) {
			h.unexpected("Repaired", err)
		}
	}
	leave()
	ctx, _, cancel := h.context()
	err = h.wait(opWait, func() error { return c.c.Wait(ctx, c.m) })
	cancel()
	if errors.Is(err, lock.ErrNotLocked) {
		return h.ends("Wait", err)
	}
	died = errors.Is(err, shiplap.ErrOwnerDied)
	leave = h.enters(0, died)
	h.linger()
	leave()
	if died {
		if err := c.m.Repaired(); err != nil && !h.over(err) {
			h.unexpected("Repaired", err)
		}
	}
	if e := h.call(opUnlock, 0, c.m.Unlock); e != nil {
		h.unexpected("Unlock of what Wait left locked", e)
	}
	if err != nil && !died && !gaveUp(err) {
		return h.ends("Wait", err)
	}
	return true
}
