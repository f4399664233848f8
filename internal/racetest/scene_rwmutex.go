package racetest

import (
	"context"
	"errors"
	"io"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
)

func init() {
	addStorm("rwmutex", storm[*lock.RWMutex]{
		create: func(b *bout) error { return made(lock.CreateRWMutex(b.d, object, nil)) },
		open:   func(_ *worker, d *shiplap.Domain) (*lock.RWMutex, error) { return lock.OpenRWMutex(d, object) },
		turn: func(h *hand, m *lock.RWMutex) bool {
			if h.rng.IntN(3) == 0 {
				return h.lockTurn(alone{m, h}, 0)
			}
			return h.readTurn(m)
		},
		judge: func(b *bout) error {
			m, err := lock.OpenRWMutex(b.d, object)
			if err != nil {
				return err
			}
			defer m.Close()
			return b.within("Lock of a lock that nobody holds", func(ctx context.Context) error { return b.held(m, m.Lock(ctx)) })
		},
	})
	create := func(d *shiplap.Domain, name string) (io.Closer, error) { return lock.CreateRWMutex(d, name, nil) }
	writes := func(d *shiplap.Domain, name string) (func() error, error) { return taker(lock.OpenRWMutex(d, name)) }
	addVigil("rwmutex writer", vigil{
		create: create, hold: writes, ends: leaving(deaths(shiplap.ErrOwnerDied), nil),
		open: func(d *shiplap.Domain, name string) (waiting, error) {
			m, err := lock.OpenRWMutex(d, name)
			return waiting{func(ctx context.Context) error { return lets(m, m.Lock(ctx)) }, m.Close}, err
		},
	})
	addVigil("rwmutex reader behind writer", vigil{
		create: create, hold: writes, ends: leaving(deaths(shiplap.ErrOwnerDied), nil),
		open: func(d *shiplap.Domain, name string) (waiting, error) {
			m, err := lock.OpenRWMutex(d, name)
			return waiting{func(ctx context.Context) error { return lets(reader{m}, m.RLock(ctx)) }, m.Close}, err
		},
	})
	addVigil("rwmutex writer behind reader", vigil{
		create: create, ends: leaving(deaths(nil), nil),
		hold: func(d *shiplap.Domain, name string) (func() error, error) {
			m, err := lock.OpenRWMutex(d, name)
			if err == nil {
				err = m.RLock(context.Background())
			}
			return m.RUnlock, err
		},
		open: func(d *shiplap.Domain, name string) (waiting, error) {
			m, err := lock.OpenRWMutex(d, name)
			return waiting{func(ctx context.Context) error { return lets(m, m.Lock(ctx)) }, m.Close}, err
		},
	})
}

// reader unlocks what was locked for reading.
type reader struct{ m *lock.RWMutex }

func (r reader) Unlock() error { return r.m.RUnlock() }

// alone is the writer's lock of somebody who looks for readers before it gives the lock back.
type alone struct {
	*lock.RWMutex
	h *hand
}

func (a alone) Unlock() error {
	h := a.h
	for i := range min(int(h.hired.Load()), maxHires) {
		for k := range maxExecs * maxHands {
			inside := name(h.ledger.slot(i, k/maxHands, k%maxHands).inUse.Load())
			if inside != 0 && !h.dead(inside) && !h.excused() {
				h.complain("two-owners", "%v writes while %v reads", h.me(), inside)
			}
		}
	}
	return a.RWMutex.Unlock()
}

// readTurn reads, and looks whether somebody writes.
func (h *hand) readTurn(m *lock.RWMutex) bool {
	var err error
	if h.rng.IntN(4) == 0 {
		err = h.call(opLock, 0, m.TryRLock)
	} else {
		ctx, within, cancel := h.context()
		err = h.call(opLock, within, func() error { return m.RLock(ctx) })
		cancel()
	}
	died := errors.Is(err, shiplap.ErrOwnerDied)
	switch {
	case err == nil, died:
	case gaveUp(err), errors.Is(err, shiplap.ErrBusy):
		h.pause()
		return true
	case h.over(err):
		return false
	default:
		h.unexpected("RLock", err)
		return false
	}
	me := h.me()
	h.inUse.Store(uint64(me))
	h.linger()
	writer := name(h.mark(0).Load())
	switch {
	case writer == 0 || h.excused() || writer.epoch() != me.epoch():
	case !h.dead(writer):
		h.complain("two-owners", "%v reads while %v writes", me, writer)
	case !died:
		h.complain("not-told", "%v died while it wrote, and %v, which reads, is not told of it", writer, me)
	}
	h.inUse.Store(0)
	if err := h.call(opUnlock, 0, m.RUnlock); err != nil && !h.excusedAbsence(err) {
		h.unexpected("RUnlock of what this goroutine holds", err)
	}
	return true
}
