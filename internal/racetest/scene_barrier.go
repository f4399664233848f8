package racetest

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
)

const parties = 3

func init() {
	addStorm("barrier", storm[*lock.Barrier]{
		create: func(b *bout) error { return made(lock.CreateBarrier(b.d, object, parties, nil)) },
		open: func(_ *worker, d *shiplap.Domain) (*lock.Barrier, error) {
			return lock.OpenBarrier(d, object)
		},
		turn: (*hand).barrierTurn, judge: judgeBarrier,
	})
	addVigil("barrier", vigil{
		create: func(d *shiplap.Domain, name string) (io.Closer, error) {
			return lock.CreateBarrier(d, name, parties, nil)
		},
		hold: func(d *shiplap.Domain, name string) (func() error, error) {
			b, err := lock.OpenBarrier(d, name)
			if err != nil {
				return nil, err
			}
			go func() { _, _ = b.Wait(context.Background()) }()
			for {
				st, err := b.Stats()
				if err != nil || st.Waiting > 0 {
					return b.Close, err
				}
				time.Sleep(100 * time.Microsecond)
			}
		},
		open: waits(lock.OpenBarrier, func(ctx context.Context, b *lock.Barrier) error {
			_, err := b.Wait(ctx)
			return err
		}),
		ends: func() map[way][]error {
			m := leaving(deaths(lock.ErrBroken), lock.ErrBroken)
			for _, w := range []way{removed, wiped} { // if the other one was told first, and left
				m[w] = append(m[w], lock.ErrBroken)
			}
			return m
		}(),
	})
}

// barrierTurn meets others. The ledger's words count who had which number.
func (h *hand) barrierTurn(b *lock.Barrier) bool {
	var number int
	ctx, _, cancel := h.context()
	err := h.wait(opWait, func() (err error) {
		number, err = b.Wait(ctx)
		switch {
		case err == nil && number >= 0 && number < parties:
			h.words[number].Add(1)
		case errors.Is(err, shiplap.ErrClosed):
			h.words[parties].Add(1)
		}
		return err
	})
	cancel()
	switch {
	case err == nil:
		if number < 0 || number >= parties {
			h.complain("made-up", "%v has number %d at a barrier of %d", h.me(), number, parties)
		}
		return true
	case errors.Is(err, lock.ErrBroken), gaveUp(err):
		if h.rng.IntN(4) == 0 {
			ctx, within, cancel := h.context()
			err := h.call(opReset, within, func() error { return b.Reset(ctx) })
			cancel()
			if err != nil && !gaveUp(err) && !h.over(err) {
				h.unexpected("Reset", err)
			}
		}
		time.Sleep(50 * time.Microsecond)
		return !h.isClosing()
	}
	return h.ends("Wait", err)
}

// judgeBarrier: each round has each number once, unless the one that had it died before it could
// say so, or closed its handle at that moment.
func judgeBarrier(b *bout) error {
	br, err := lock.OpenBarrier(b.d, object)
	if err != nil {
		return err
	}
	defer br.Close()
	most, sum := uint64(0), uint64(0)
	for i := range parties {
		most = max(most, b.ledger.words[i].Load())
		sum += b.ledger.words[i].Load()
	}
	b.count("rounds", most)
	missing, died, gone := most*parties-sum, uint64(b.busyAtDeath(opWait)), b.ledger.words[parties].Load()
	if missing > died+gone && !b.weather.lossy() {
		b.violationf("lost",
			"%d parties did not return from rounds that others returned from; "+
				"%d died, %d closed their handles", missing, died, gone)
	}
	return b.within("Reset", br.Reset)
}
