package table

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// everything runs each operation once on whatever the memory holds. It may fail, it must end.
func everything(w *world) (all []error) {
	ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
	defer cancel()
	add := func(err error) { all = append(all, err) }
	tb := w.open(1)
	watcher, err := tb.Watch(bg, "k", false, func(Event) {})
	add(err)
	exact, err := tb.Watch(bg, "k3", true, nil)
	add(err)
	for i := range 6 {
		_, _, err := getOf(tb, nil, fmt.Sprint("k", i))
		add(err)
	}
	_, err = tb.Stat("k1")
	add(err)
	for _, n := range []int{0, 100, 3000} {
		_, err = tb.Set(ctx, fmt.Sprint("k", n), make([]byte, n), Change{Expiry: After, Time: 5})
		add(err)
	}
	_, err = tb.Set(ctx, "k2", []byte("9"), Change{Condition: IfPresent})
	add(err)
	_, _, err = tb.Add(ctx, "k2", 1)
	add(err)
	_, err = tb.Expire(ctx, "k3", Change{Expiry: After, Time: 1})
	add(err)
	_, err = tb.Delete(ctx, "k4", Change{})
	add(err)
	w.clock.Add(10)
	_, err = tb.Set(ctx, "k5", make([]byte, 50), Change{})
	add(err)
	_, err = tb.All(ctx, "k", true)
	add(err)
	for next := 0; next >= 0; {
		_, next, err = tb.Scan(ctx, next, "")
		add(err)
	}
	if watcher != nil {
		add(watcher.Poll(bg, func(Event) {}))
		watcher.Ready()
	}
	if exact != nil {
		add(exact.Poll(bg, func(Event) {}))
	}
	for _, key := range []string{"k1", "k2"} {
		l, _, err := tb.LockKey(ctx, key, key == "k1", Kept)
		add(err)
		if err == nil {
			l.Repaired()
			l.Unlock()
		}
	}
	tb.KeyLocks()
	_, err = tb.Stats()
	add(err)
	_, err = tb.Settle()
	add(err)
	add(tb.Check(ctx))
	_, err = tb.Reclaim(ctx)
	add(err)
	err = tb.Clear(ctx)
	add(err)
	_, err = tb.Reclaim(ctx)
	add(err)
	add(tb.Check(ctx))
	return all
}

// ends panics, to show all stacks, if everything does not end. Whatever is wrong is said to be corrupt.
func ends(t *testing.T, w *world, what string) {
	timer := time.AfterFunc(30*time.Second, func() { panic("no end: " + what) })
	defer timer.Stop()
	for _, err := range everything(w) {
		ok := err == nil
		for _, is := range []error{errs.ErrCorrupt, errs.ErrNotExist, errs.ErrFull, errs.ErrIncompatible, errs.ErrTooLarge, errs.ErrBusy, context.DeadlineExceeded} {
			ok = ok || errors.Is(err, is)
		}
		if !ok {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// lived is a table with a bit of everything in it.
func lived(t testing.TB, evict bool) *world {
	w := newWorld(Geometry{Buckets: 8, Evict: evict})
	tb := w.open(1)
	for i := range 90 {
		must(t, second(tb.Set(bg, fmt.Sprint("k", i), make([]byte, i), Change{})))
	}
	for i := range 30 {
		must(t, second(tb.Delete(bg, fmt.Sprint("k", 7+2*i), Change{})))
	}
	must(t, second(tb.Set(bg, "k3", []byte("12"), Change{Expiry: After, Time: 1e9})))
	_, _, err := tb.LockKey(bg, "k1", false, Kept)
	must(t, err)
	must(t, tb.Check(bg))
	for t := uint32(2); t < 8; t++ {
		w.dead.Store(t, true)
	}
	return w
}

func TestHostileWords(t *testing.T) {
	base := lived(t, true)
	values := []uint64{0, 1, 7, 8, 63, 64, 4096, 1 << 31, 1<<32 - 1, 1 << 32, 1<<32 | 156, 156, 157, 1 << 63, 1<<64 - 1, 1<<64 - 64}
	offs := []int{BindingLock, HeapLock, offHeapArmed, offHeapRedo, offHeapRedo + 8, offReserved, offEpoch, offCleared, offTop, offFree, offBitmap,
		offLists, offLists + 8, offLists + 16, offLists + 200}
	for _, off := range []int{offLock, offArmed, offPending, offPending + 8, offClearing, offUnsettled, offRedo, offRedo + 8, offRevision, offCounts,
		offExtras, offNext, offLap, offHand, offClock, offSpare + 8, offSpare + 16} {
		offs = append(offs, WriterLock(0)+off)
	}
	for i := range 8 { // buckets
		for j := range 3 {
			offs = append(offs, int((&base.geo).bucketsAt())+64*i+8*j)
		}
	}
	for i := range 12 { // the first words of the heap
		offs = append(offs, int((&base.geo).heapAt())+8*i)
	}
	for _, off := range offs {
		for _, v := range values {
			w := base.clone()
			w.span.U64(off).Store(v)
			switch off {
			case offHeapRedo:
				w.span.U64(offHeapArmed).Store(2)
			case WriterLock(0) + offRedo:
				w.span.U64(WriterLock(0) + offArmed).Store(2)
			}
			ends(t, w, fmt.Sprintf("word %d = %#x", off, v))
		}
	}
}

// TestHostileNoise spoils some words at random.
func TestHostileNoise(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, evict := range []bool{false, true} {
		base := lived(t, evict)
		for range 400 / slowdown {
			w := base.clone()
			for range 1 + rng.IntN(20) {
				at := w.span.U64(4352 + 8*rng.IntN((w.span.Len()-4352)/8))
				switch v := at.Load(); rng.IntN(4) {
				case 0:
					at.Store(v ^ 1<<rng.IntN(64))
				case 1:
					at.Store(uint64(rng.IntN(w.span.Len() / 64)))
				case 2:
					at.Store(uint64(rng.IntN(w.span.Len()/64))<<32 | v&(1<<32-1))
				case 3:
					at.Store(w.span.U64(8 * rng.IntN(w.span.Len()/8)).Load())
				}
			}
			ends(t, w, "noise")
		}
	}
}

func TestCorruptIsAnError(t *testing.T) {
	for what, spoil := range map[string]func(w *world, p place){
		"a slot to nowhere":          func(w *world, p place) { w.span.U64(p.slot).Store(p.word&^(1<<32-1) | 1<<30) },
		"a slot to a free block":     func(w *world, p place) { w.span.U64(p.e.at).Store(blockWord(1, free, 0)) },
		"an entry that is too long":  func(w *world, p place) { w.span.U64(p.e.at + 24).Store(2 | 1<<40) },
		"a head with a bad overflow": func(w *world, p place) { w.span.U64(p.slot).Store(0); w.span.U64(p.bucket).Store(7 << 32) },
		"an overflow that is no such": func(w *world, p place) {
			w.span.U64(p.slot).Store(0)
			w.span.U64(p.bucket).Store(uint64(p.e.at/64) << 32)
		},
	} {
		w := newWorld(Geometry{Buckets: 8})
		tb := w.open(1)
		must(t, second(tb.Set(bg, "k1", []byte("value"), Change{})))
		var now int64
		h := tb.hash("k1")
		p, err := tb.stripeOf(h).find("k1", h, &now)
		must(t, err)
		spoil(w, p)
		_, _, err = getOf(tb, nil, "k1")
		if !errors.Is(err, errs.ErrCorrupt) {
			t.Errorf("%s: Get: %v", what, err)
		}
		if _, err = tb.Set(bg, "k1", nil, Change{}); !errors.Is(err, errs.ErrCorrupt) {
			t.Errorf("%s: Set: %v", what, err)
		}
		if _, err = tb.All(bg, "", true); !errors.Is(err, errs.ErrCorrupt) {
			t.Errorf("%s: All: %v", what, err)
		}
		if err = tb.Check(bg); !errors.Is(err, errs.ErrCorrupt) {
			t.Errorf("%s: Check: %v", what, err)
		}
	}
	for what, g := range map[string]Geometry{
		"no buckets":  {Size: 1 << 20, Stripes: 1, Log: 64, Locks: 1},
		"odd buckets": {Size: 1 << 20, Buckets: 17, Stripes: 1, Log: 64, Locks: 1},
		"few buckets": {Size: 1 << 30, Buckets: 8, Stripes: 1, Log: 64, Locks: 1},
		"a short log": {Size: 1 << 20, Buckets: 16, Stripes: 1, Log: 1, Locks: 1},
		"no locks":    {Size: 1 << 20, Buckets: 16, Stripes: 1, Log: 64},
		"no stripes":  {Size: 1 << 20, Buckets: 16, Log: 64, Locks: 1},
		"odd stripes": {Size: 1 << 20, Buckets: 16, Stripes: 3, Log: 256, Locks: 1},
		"16 stripes":  {Size: 1 << 20, Buckets: 16, Stripes: 16, Log: 1024, Locks: 1},
		"short logs":  {Size: 1 << 20, Buckets: 16, Stripes: 4, Log: 128, Locks: 1},
		"2 evict":     {Size: 1 << 20, Buckets: 16, Stripes: 2, Log: 128, Locks: 1, Evict: true},
		"no heap":     {Size: 4096 * 3, Buckets: 16, Stripes: 1, Log: 64, Locks: 1},
		"no pages":    {Size: 1<<20 + 1, Buckets: 16, Stripes: 1, Log: 64, Locks: 1},
		"no end":      {Size: 1 << 50, Buckets: 1 << 28, Stripes: 1, Log: 64, Locks: 1},
	} {
		if err := g.Check(); !errors.Is(err, errs.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// FuzzTableImage runs everything over any bytes behind the header: no panic, no endless loop.
func FuzzTableImage(f *testing.F) {
	for _, evict := range []bool{false, true} {
		for _, w := range []*world{newWorld(Geometry{Buckets: 8, Evict: evict}), lived(f, evict)} {
			f.Add(append([]byte{}, w.span.Bytes(4096, w.span.Len()-4096)...), evict)
		}
	}
	f.Fuzz(func(t *testing.T, image []byte, evict bool) {
		w := newWorld(Geometry{Buckets: 8, Evict: evict})
		copy(w.span.Bytes(4096, w.span.Len()-4096), image)
		for t := uint32(2); t < 8; t++ {
			w.dead.Store(t, true)
		}
		ends(t, w, "")
	})
}
