package racetest

import (
	"context"
	"errors"
	"io"
	"runtime"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
)

// permits of the semaphore. Each has a chair in the ledger, which is a mark.
const permits = 4

func init() {
	addStorm("semaphore", storm[*lock.Semaphore]{
		create: func(b *bout) error { return made(lock.CreateSemaphore(b.d, object, permits, nil)) },
		open: func(_ *worker, d *shiplap.Domain) (*lock.Semaphore, error) {
			return lock.OpenSemaphore(d, object)
		},
		turn: (*hand).semaphoreTurn,
		judge: func(b *bout) error {
			s, err := lock.OpenSemaphore(b.d, object)
			if err != nil {
				return err
			}
			defer s.Close()
			err = b.within("Acquire of all permits, which nobody holds",
				func(ctx context.Context) error { return s.Acquire(ctx, permits) })
			if err != nil {
				st, e := s.Stats()
				b.violation("lost-permits", errors.Join(err, e).Error(), show(st))
				return nil
			}
			return s.Release(permits)
		},
	})
	addVigil("semaphore", vigil{
		create: func(d *shiplap.Domain, name string) (io.Closer, error) {
			return lock.CreateSemaphore(d, name, permits, nil)
		},
		hold: holdsLock(opensPermits(permits)), open: waitsLock(opensPermits(1)),
		ends: leaving(deaths(nil), nil),
	})
}

// someOf are so many permits of a semaphore, taken together.
type someOf struct {
	s *lock.Semaphore
	n int
}

func (p someOf) Lock(ctx context.Context) error { return p.s.Acquire(ctx, p.n) }
func (p someOf) Unlock() error                  { return p.s.Release(p.n) }
func (p someOf) Close() error                   { return p.s.Close() }

func opensPermits(n int) func(d *shiplap.Domain, name string) (someOf, error) {
	return func(d *shiplap.Domain, name string) (someOf, error) {
		s, err := lock.OpenSemaphore(d, name)
		return someOf{s, n}, err
	}
}

// semaphoreTurn takes permits, sits down on as many chairs, and gives both back.
func (h *hand) semaphoreTurn(s *lock.Semaphore) bool {
	n := 1
	if h.rng.IntN(4) == 0 {
		n += h.rng.IntN(permits)
	}
	var err error
	if h.rng.IntN(4) == 0 {
		err = h.call(opAcquire, 0, func() error { return s.TryAcquire(n) })
	} else {
		ctx, within, cancel := h.context()
		err = h.call(opAcquire, within, func() error { return s.Acquire(ctx, n) })
		cancel()
	}
	if err != nil {
		return h.goesOn("Acquire", err, shiplap.ErrBusy)
	}
	leave := h.sits(n)
	h.linger()
	leave()
	if err := h.call(opRelease, 0, func() error { return s.Release(n) }); err != nil &&
		!h.excusedAbsence(err) {
		h.unexpected("Release of what this goroutine holds", err)
	}
	return true
}

// sits takes a chair for each permit and returns what gives them back. Chairs are left before
// permits are given back, so at any moment there is one for each permit; but looking at them one
// after the other may miss it.
func (h *hand) sits(n int) (leave func()) {
	me := h.me()
	var have []int
	for tries := 0; len(have) < n && tries < 100_000; tries++ {
		for i := 0; i < permits && len(have) < n; i++ {
			was := name(h.mark(i).Load())
			// A process that is about to be killed counts as dead, but does not sit down twice on one chair.
			free := was == 0 || was != me && (h.dead(was) || was.epoch() != me.epoch())
			if free && h.mark(i).CAS(uint64(was), uint64(me)) {
				have = append(have, i)
			}
		}
		if tries%16 == 15 {
			runtime.Gosched()
		}
	}
	if len(have) < n && !h.excused() {
		h.complain("too-many", "%v has %d permits, and others sit on all but %d of %d chairs: %v, %v, %v, %v",
			me, n, len(have), permits,
			name(h.mark(0).Load()), name(h.mark(1).Load()), name(h.mark(2).Load()), name(h.mark(3).Load()))
	}
	return func() {
		for _, i := range have {
			// One that is about to die or to call exec counts as dead: others may have sat down on its chair.
			if !h.mark(i).CAS(uint64(me), 0) && !h.excused() && !h.dead(me) {
				h.complain("robbed", "%v sat on a chair, and %v took it", me, name(h.mark(i).Load()))
			}
		}
	}
}
