package racetest

import (
	"context"
	"errors"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
)

func init() {
	addStorm("rwmutex", storm[*lock.RWMutex]{
		create: func(b *bout) error { return made(lock.CreateRWMutex(b.d, object, nil)) },
		open: func(_ *worker, d *shiplap.Domain) (*lock.RWMutex, error) {
			return lock.OpenRWMutex(d, object)
		},
		turn: func(h *hand, m *lock.RWMutex) bool {
			if h.rng.IntN(3) == 0 {
				return h.lockTurn(alone{m, h}, 0)
			}
			return h.readTurn(m)
		},
		judge: judgeLock(lock.OpenRWMutex),
	})
	create := makes(lock.CreateRWMutex, nil)
	writer := lock.OpenRWMutex
	readers := func(d *shiplap.Domain, name string) (reader, error) {
		m, err := lock.OpenRWMutex(d, name)
		return reader{m}, err
	}
	addVigil("rwmutex writer", vigil{
		create: create, hold: holdsLock(writer), open: waitsLock(writer),
		ends: leaving(deaths(shiplap.ErrOwnerDied), nil),
	})
	addVigil("rwmutex reader behind writer", vigil{
		create: create, hold: holdsLock(writer), open: waitsLock(readers),
		ends: leaving(deaths(shiplap.ErrOwnerDied), nil),
	})
	addVigil("rwmutex writer behind reader", vigil{
		create: create, hold: holdsLock(readers), open: waitsLock(writer),
		ends: leaving(deaths(nil), nil),
	})
}

// reader locks for reading.
type reader struct{ m *lock.RWMutex }

func (r reader) Lock(ctx context.Context) error { return r.m.RLock(ctx) }
func (r reader) Unlock() error                  { return r.m.RUnlock() }
func (r reader) Close() error                   { return r.m.Close() }

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
	if err != nil && !died {
		return h.goesOn("RLock", err, shiplap.ErrBusy)
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
