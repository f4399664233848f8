package racetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/store"
)

func init() {
	addStore("store", &store.Options{MaxBytes: 8 << 20, Keys: 4096}, (*hand).storeTurn)
	evict := &store.Options{MaxBytes: 512 << 10, Evict: true}
	addStore("store evict", evict, func(h *hand, s *store.Store) bool {
		if h.rng.IntN(4000) == 0 {
			if err := h.call(opStore, 0, func() error { return s.Clear(h.ctx) }); err != nil {
				return h.ends("Clear", err)
			}
		}
		return h.storeTurn(s)
	})
	create := makes(store.Create, &store.Options{MaxBytes: 1 << 20})
	open := func(d *shiplap.Domain, name string) (*store.Store, error) { return store.Open(d, name, nil) }
	openKey := func(d *shiplap.Domain, name string) (*keyLock, error) {
		s, err := open(d, name)
		return &keyLock{s: s, key: "key"}, err
	}
	addVigil("store key", vigil{
		create: create, hold: holdsLock(openKey), open: waitsLock(openKey),
		ends: leaving(deaths(shiplap.ErrOwnerDied), nil),
	})
	addVigil("store watch", vigil{
		create: create, ends: quiet(),
		hold: holds(open, func(s *store.Store) error {
			_, err := s.Set(context.Background(), "key", []byte("x"))
			return err
		}),
		open: waits(open, func(ctx context.Context, s *store.Store) error {
			// The change may have been made already: it is told, too.
			for _, err := range s.Watch(ctx, "*", &store.WatchOptions{Initial: true}) {
				return err
			}
			return nil
		}),
	})
}

func addStore(kind string, opt *store.Options, turn func(h *hand, s *store.Store) bool) {
	addStorm(kind, storm[*store.Store]{
		create: func(b *bout) error { return made(store.Create(b.d, object, opt)) },
		open: func(_ *worker, d *shiplap.Domain) (*store.Store, error) {
			return store.Open(d, object, nil)
		},
		turn:  turn,
		judge: func(b *bout) error { return judgeStore(b, !opt.Evict) },
	})
}

// keyLock is the lock of one key.
type keyLock struct {
	s    *store.Store
	key  string
	lock *store.KeyLock
}

func (k *keyLock) Lock(ctx context.Context) (err error) {
	k.lock, err = k.s.Lock(ctx, k.key)
	return err
}

func (k *keyLock) TryLock() (err error) {
	k.lock, err = k.s.TryLock(k.key)
	return err
}

func (k *keyLock) Unlock() error   { return k.lock.Unlock() }
func (k *keyLock) Repaired() error { return k.lock.Repaired() }
func (k *keyLock) Close() error    { return k.s.Close() }

const (
	storeKeys = 60
	counters  = 2
)

// hasty is a context that ends so soon that it may in the middle of a change.
func (h *hand) hasty() (ctx context.Context, within time.Duration, cancel func()) {
	if h.rng.IntN(2) == 0 {
		return h.context()
	}
	within = time.Duration(h.rng.IntN(300)) * time.Microsecond
	ctx, cancel = context.WithTimeout(h.ctx, within)
	return ctx, within, cancel
}

// storeTurn does something with a store. The ledger's words count what was added.
func (h *hand) storeTurn(s *store.Store) bool {
	if h.temper == pausing {
		h.pause()
	}
	key := "k" + strconv.Itoa(h.rng.IntN(storeKeys))
	ctx, within, cancel := h.hasty()
	defer cancel()
	var err error
	switch k := h.rng.IntN(40); {
	case k < 16:
		var ttl []store.SetOption
		if h.rng.IntN(2) == 0 {
			ttl = append(ttl, store.TTL(time.Duration(h.rng.IntN(3000))*time.Microsecond))
		}
		v := message(nil, h.rng.IntN(maxCells), h.me(), h.rng.IntN(6000))
		err = h.call(opStore, within, func() error { _, err := s.Set(ctx, key, v, ttl...); return err })
	case k < 26:
		var v []byte
		err = h.call(opLoad, 0, func() (err error) { v, err = s.Get(key); return err })
		if err == nil {
			if _, _, err := parse(v); err != nil {
				h.complain("torn", "%v gets %v", h.me(), err)
			}
		}
	case k < 30:
		i := h.rng.IntN(counters)
		err = h.call([]op{opUpdate, opAck}[i], within, func() error {
			_, err := s.Add(ctx, "n"+strconv.Itoa(i), 1)
			if err == nil {
				h.words[i].Add(1)
			}
			return err
		})
	case k < 33:
		err = h.call(opUpdate, within, func() error { return s.Delete(ctx, key) })
	case k < 36:
		i := h.rng.IntN(3)
		return h.lockTurn(&keyLock{s: s, key: "l" + strconv.Itoa(i)}, i)
	case k < 37:
		err = h.call(opLoad, within, func() error { _, err := s.All(ctx, "k1"); return err })
	case k < 38:
		err = h.call(opStore, within, func() error { return s.Expire(ctx, key, time.Millisecond) })
	case k < 39 && h.rng.IntN(20) == 0:
		err = h.call(opCheck, within, func() error { return s.Check(ctx) })
		if errors.Is(err, shiplap.ErrCorrupt) {
			h.complain("corrupt", "%v", err)
			return false
		}
	default:
		within = time.Duration(h.rng.IntN(5000)) * time.Microsecond
		ctx, cancel := context.WithTimeout(h.ctx, within)
		defer cancel()
		err = h.call(opWatch, within, func() (last error) {
			for _, err := range s.Watch(ctx, "k*", nil) {
				last = err
			}
			return last
		})
	}
	if err != nil && !gaveUp(err) && !isAny(err,
		[]error{shiplap.ErrNotExist, shiplap.ErrFull, shiplap.ErrBusy}) {
		return h.ends("using a store", err)
	}
	return true
}

// judgeStore: the store is whole, what was added is there, and when everything is deleted no memory
// is in use.
func judgeStore(b *bout, counts bool) error {
	s, err := store.Open(b.d, object, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	check := func() bool {
		err := b.within("Check", s.Check)
		if errors.Is(err, shiplap.ErrCorrupt) {
			b.violation("corrupt", err.Error(), "")
		}
		return err == nil
	}
	if !check() {
		return nil
	}
	for i := range counters {
		text, err := s.GetOr("n"+strconv.Itoa(i), []byte("0"))
		if err != nil {
			return err
		}
		is, err := strconv.ParseUint(string(text), 10, 64)
		if err != nil {
			return err
		}
		said, died := b.ledger.words[i].Load(), b.busyAtDeath([]op{opUpdate, opAck}[i])
		if counts && !b.weather.lossy() && (is < said || is > said+uint64(died)) {
			b.violationf("lost", "the counter is %d; %d were added, and %d goroutines died while they added",
				is, said, died)
		}
		b.count("added", said)
	}
	err = b.within("Clear and Reclaim", func(ctx context.Context) error {
		if err := s.Clear(ctx); err != nil {
			return err
		}
		for {
			if n, err := s.Reclaim(ctx); n == 0 || err != nil {
				return err
			}
		}
	})
	if err != nil || !check() {
		return err
	}
	st, err := s.Stats()
	if err == nil && st.Used != 0 {
		b.violation("memory-lost", fmt.Sprintf("%d bytes are in use in a store that has no keys", st.Used),
			show(st))
	}
	return err
}
