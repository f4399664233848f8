package table

import (
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// fill sets keys with values of n bytes until there is no room, and returns how many.
func fill(t *testing.T, tb *Table, prefix string, n int) (count int) {
	t.Helper()
	for {
		_, err := tb.Set(bg, fmt.Sprint(prefix, count), make([]byte, n), Change{})
		if errors.Is(err, errs.ErrFull) {
			return count
		}
		must(t, err)
		count++
	}
}

// TestBrim: full, then everything or every second key deleted, then full with values of other
// sizes.
func TestBrim(t *testing.T) {
	w := newWorld(Geometry{Buckets: 64, Size: 1 << 20})
	tb := w.open(1)
	room := int(tb.end-tb.heap) * Granule
	for round, n := range []int{1, 20_000, 64, 5000, 300, 200_000, 30} {
		count := fill(t, tb, "a", n)
		if least := (room - room/10) / (int(granules(8, n))*Granule + Granule/6); n < room/10 && count < least {
			t.Errorf("%d values of %d bytes fit; at least %d are wanted", count, n, least)
		}
		must(t, tb.Check(bg))
		is(t, second(tb.Set(bg, "one more", make([]byte, n), Change{})), errs.ErrFull)
		for i := range count {
			must(t, second(tb.Delete(bg, fmt.Sprint("a", i), Change{})))
			if i == count/2 && round%2 == 0 {
				fill(t, tb, "b", n/2)
				for k := 0; ; k++ {
					if _, err := tb.Delete(bg, fmt.Sprint("b", k), Change{}); err != nil {
						break
					}
				}
			}
		}
		must(t, tb.Check(bg))
		if round == 3 { // by clearing, too
			fill(t, tb, "c", 1000)
			must(t, tb.Clear(bg))
		}
	}
	must(t, second(tb.Reclaim(bg)))
	if s, err := tb.Stats(); err != nil || s.Top != s.Heap {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestGrowth: memory is set aside in steps, and never touched before; where the file system has no
// more, that is said.
func TestGrowth(t *testing.T) {
	w := newWorld(Geometry{Buckets: 64, Size: 1 << 20})
	w.most.Store(512 << 10)
	tb := w.open(1)
	for i := 0; ; i++ {
		_, err := tb.Set(bg, fmt.Sprint("k", i), make([]byte, 500), Change{})
		if err != nil {
			is(t, err, errs.ErrFull)
			is(t, err, errs.ErrNoSpace)
			break
		}
		s, err := tb.Stats()
		must(t, err)
		if s.Top > s.Reserved || s.Reserved > w.most.Load() || s.Reserved-s.Top > max(s.Reserved/8, stepLeast)+PageSize {
			t.Fatalf("%+v", s)
		}
	}
	must(t, tb.Check(bg))
	w.most.Store(1 << 20)
	must(t, second(tb.Set(bg, "more", make([]byte, 10_000), Change{})))
	for i := w.most.Load(); i < int64(w.span.Len()); i += 8 {
		if w.span.U64(int(i)).Load() != 0 {
			t.Fatalf("word %d was written", i)
		}
	}
}

// TestEvict: there is always room, what is read stays, and large values find room among small ones.
func TestEvict(t *testing.T) {
	w := newWorld(Geometry{Buckets: 64, Size: 512 << 10, Evict: true})
	tb := w.open(1)
	rng := rand.New(rand.NewPCG(1, 2))
	hot := func(i int) string { return fmt.Sprint("hot", i%20) }
	for i := range 20 {
		must(t, second(tb.Set(bg, hot(i), make([]byte, 100), Change{})))
	}
	lost := 0
	for i := range 20_000 {
		n := rng.IntN(500)
		if i%500 == 499 {
			n = 40_000
		}
		must(t, second(tb.Set(bg, fmt.Sprint("cold", i), make([]byte, n), Change{})))
		if _, _, err := getOf(tb, nil, fmt.Sprint("cold", i)); err != nil && n > 0 {
			t.Fatalf("what was just set is gone: %v", err)
		}
		for k := range 20 {
			if _, _, err := getOf(tb, nil, hot(k)); err != nil {
				lost++
				must(t, second(tb.Set(bg, hot(k), make([]byte, 100), Change{})))
			}
		}
		if i%2000 == 0 {
			must(t, tb.Check(bg))
		}
	}
	must(t, tb.Check(bg))
	s, err := tb.Stats()
	must(t, err)
	t.Logf("%d evicted of %d sets, %d times one of the 20 that are read all the time", s.Evicted, s.Sets, lost)
	if s.Evicted == 0 || lost > int(s.Evicted)/20 {
		t.Errorf("%d of %d evicted were in use", lost, s.Evicted)
	}
}

// TestManyExpire: many keys with the same time expire, and no change takes long for that.
func TestManyExpire(t *testing.T) {
	keys := 1_000_000 / slowdown
	if testing.Short() {
		keys /= 10
	}
	w := newWorld(Geometry{Buckets: 1 << (bits.Len(uint(keys)) - 2), Size: 160 << 20, Log: 8192})
	tb := w.open(1)
	var slowest []time.Duration
	timed := func(f func() error) {
		t.Helper()
		start := time.Now()
		must(t, f())
		slowest = append(slowest, time.Since(start))
	}
	report := func(what string) {
		slices.Sort(slowest)
		n := len(slowest)
		over := 0
		for _, d := range slowest {
			if d > 10*time.Millisecond {
				over++
			}
		}
		t.Logf("%s: %d changes, median %v, 99.9 %% %v, longest %v, %d above 10 ms", what, n, slowest[n/2], slowest[n*999/1000], slowest[n-1], over)
		slowest = slowest[:0]
	}
	v := make([]byte, 16)
	for i := range keys {
		key := fmt.Sprint("session", i)
		timed(func() error { return second(tb.Set(bg, key, v, Change{Expiry: After, Time: 1e9})) })
	}
	report("filling")
	w.clock.Add(2e9)
	if _, _, err := getOf(tb, nil, "session1"); !errors.Is(err, errs.ErrNotExist) {
		t.Errorf("expired, and %v", err)
	}
	for i := 0; tb.Len() > 1000; i++ {
		if i > keys {
			t.Fatalf("after %d changes %d expired ones are left", i, tb.Len())
		}
		key := fmt.Sprint("live", i%1000)
		timed(func() error { return second(tb.Set(bg, key, v, Change{})) })
	}
	report("while they go")
	if s, err := tb.Stats(); err != nil || s.Expired != uint64(keys) || s.Expiring != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	must(t, tb.Check(bg))
}

// TestRoomInOneTurn: room that spare blocks or expired entries make is used before anybody else
// gets the lock.
func TestRoomInOneTurn(t *testing.T) {
	for what, prepare := range map[string]func(w *world, tb *Table, n int){
		"spare": func(_ *world, tb *Table, n int) {
			for i := range 2 { // the blocks of these become spare, and are neighbours
				must(t, second(tb.Delete(bg, fmt.Sprint("a", n-1-i), Change{})))
				must(t, second(tb.Delete(bg, fmt.Sprint("b", n-1-i), Change{})))
			}
		},
		"expired": func(w *world, tb *Table, n int) { w.clock.Add(1e9) },
	} {
		w := newWorld(Geometry{Buckets: 8, Stripes: 1})
		tb := w.open(1)
		n := 0
		for ; ; n++ {
			_, err := tb.Set(bg, fmt.Sprint("a", n), make([]byte, 20), Change{Expiry: After, Time: 1e9})
			if err == nil {
				_, err = tb.Set(bg, fmt.Sprint("b", n), make([]byte, 90), Change{Expiry: After, Time: 1e9})
			}
			if err != nil {
				is(t, err, errs.ErrFull)
				break
			}
		}
		_, _ = tb.Delete(bg, fmt.Sprint("a", n), Change{})
		prepare(w, tb, n)
		h := tb.Hash("large")
		o := op{s: tb.stripeOf(h), key: "large", hash: h, value: make([]byte, 4*Granule)}
		if _, err := o.locked(bg); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		must(t, tb.Check(bg))
	}
}

// TestEvictForLarge: many overflow buckets lie between the entries, and a large value finds room
// all the same.
func TestEvictForLarge(t *testing.T) {
	w := newWorld(Geometry{Buckets: 64, Size: 4 << 20 / slowdown, Evict: true})
	tb := w.open(1)
	room := int(tb.end-tb.heap) * Granule
	for _, part := range []int{60, 20, 2, 1 << 30} {
		for i := range 60_000 / slowdown {
			must(t, second(tb.Set(bg, fmt.Sprint("small", i), nil, Change{})))
		}
		large := make([]byte, room/part)
		if part > room {
			large = make([]byte, room-2*Granule)
		}
		if _, err := tb.Set(bg, "large", large, Change{}); err != nil {
			t.Errorf("%d of %d bytes: %v", len(large), room, err)
		}
		if _, _, err := getOf(tb, nil, "large"); err != nil {
			t.Errorf("what was just set is gone: %v", err)
		}
		must(t, tb.Check(bg))
	}
	must(t, second(tb.Set(bg, "large", make([]byte, room-2*Granule), Change{}))) // in its own place
}

// TestEvictWhatIsRead: if everything is read all the time, something is evicted all the same.
func TestEvictWhatIsRead(t *testing.T) {
	w := newWorld(Geometry{Buckets: 8, Evict: true})
	tb := w.open(1)
	n := 0
	for s, _ := tb.Stats(); s.Evicted == 0; s, _ = tb.Stats() {
		must(t, second(tb.Set(bg, fmt.Sprint("k", n), nil, Change{})))
		n++
	}
	for i := range n {
		_, _, _ = getOf(tb, nil, fmt.Sprint("k", i))
	}
	o := op{s: &tb.stripes[0], key: "new", hash: tb.Hash("new")}
	o.room.clocked = 2 * tb.geo.Buckets // so long others have marked what it passed
	before, err := tb.Stats()
	must(t, err)
	if _, err := o.locked(bg); err != nil && err != errAgain {
		t.Error(err)
	}
	after, err := tb.Stats()
	must(t, err)
	if after.Evicted == before.Evicted {
		t.Error("nothing was evicted")
	}
	must(t, tb.Check(bg))
}

// TestFittingBlockIsFound: a block that is just large enough, behind many of its list that are not.
func TestFittingBlockIsFound(t *testing.T) {
	w := newWorld(Geometry{Buckets: 64, Size: 1 << 20})
	tb := w.open(1)
	size := func(granules int) []byte { return make([]byte, granules*Granule-entryHead-8) }
	set := func(key string, granules int) { must(t, second(tb.Set(bg, key, size(granules), Change{}))) }
	set("fits", 35)
	set("wall", 1)
	for i := range 60 {
		set(fmt.Sprint("hole", i), 33)
		set(fmt.Sprint("wall", i), 1)
	}
	fill(t, tb, "fill", 0)
	must(t, second(tb.Delete(bg, "fits", Change{})))
	for i := range 60 {
		must(t, second(tb.Delete(bg, fmt.Sprint("hole", i), Change{})))
	}
	set("again", 35)
	must(t, tb.Check(bg))
}

// TestLongestChain: more keys than a bucket may have are an error of who sets them, and no
// corruption.
func TestLongestChain(t *testing.T) {
	if slowdown > 1 {
		t.Skip("300 million steps along the chain take minutes under the race detector")
	}
	w := newWorld(Geometry{Buckets: 64, Size: 4 << 20})
	tb := w.open(1)
	var err error
	n, last := 0, ""
	for i := 0; err == nil; i++ {
		key := strconv.Itoa(i)
		if tb.bucket(tb.hash(key)) == tb.buckets {
			if _, err = tb.Set(bg, key, nil, Change{}); err == nil {
				n, last = n+1, key
			}
		}
	}
	is(t, err, errs.ErrFull)
	if n != mainSlots+longest*overSlots {
		t.Errorf("%d keys, %v", n, err)
	}
	must(t, second(tb.Stat(last)))
	if some, err := tb.All(bg, "", false); err != nil || len(some) != n {
		t.Errorf("%d of %d keys, %v", len(some), n, err)
	}
	must(t, second(tb.Set(bg, last, []byte("again"), Change{})))
	must(t, second(tb.Delete(bg, last, Change{})))
	must(t, tb.Check(bg))
}

// TestHopelessSet: a change for which there is no room, whatever is freed, leaves the others their
// spare blocks, and waits for nobody.
func TestHopelessSet(t *testing.T) {
	w := newWorld(Geometry{Buckets: 16, Stripes: 8, Size: 128 << 10})
	tb := w.open(1)
	count := fill(t, tb, "k", 500)
	for i := range count / 4 {
		must(t, second(tb.Delete(bg, fmt.Sprint("k", i), Change{}))) // some become spare
	}
	fill(t, tb, "more", 1100)
	spare := func() int64 {
		s, err := tb.Stats()
		must(t, err)
		return s.Spare
	}
	for i := range 8 { // each stripe gets one, where it has a key of that size
		for k := count / 4; k < count; k++ {
			if key := fmt.Sprint("k", k); tb.stripeOf(tb.hash(key)).i == i {
				must(t, second(tb.Delete(bg, key, Change{})))
				break
			}
		}
	}
	before := spare()
	w.span.U32(WriterLock(7)).Store(stopped)
	for i := range 8 {
		key := fmt.Sprint("large", i)
		if tb.stripeOf(tb.hash(key)).i == 7 {
			continue
		}
		is(t, second(tb.Set(within(t), key, make([]byte, 60_000), Change{})), errs.ErrFull)
	}
	if now := spare(); before == 0 || now != before {
		t.Errorf("%d bytes were spare, %d are", before, now)
	}
	w.span.U32(WriterLock(7)).Store(0)
	must(t, tb.Check(bg))
}
