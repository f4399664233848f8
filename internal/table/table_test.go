package table

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

var errNoSpace = fmt.Errorf("test: %w", errs.ErrNoSpace)

func TestSipHash(t *testing.T) {
	key := [2]uint64{0x0706050403020100, 0x0f0e0d0c0b0a0908}
	var in []byte
	for i, want := range []uint64{0xabac0158050fc4dc, 0xc9f49bf37d57ca93, 0x82cb9b024dc7d44d, 0x8bf80ab8e7ddf7fb} {
		if got := sipHash(&key, string(in)); got != want {
			t.Errorf("%d bytes: %#x, %#x is wanted", i, got, want)
		}
		in = append(in, byte(i))
	}
}

func TestClasses(t *testing.T) {
	last := 0
	for n := uint32(1); n < 1<<30; n += 1 + n/1000 {
		c, f := classOf(n), classFor(n)
		if c < last || c >= lists || f >= lists || f < c || f > c+1 {
			t.Fatalf("%d granules: list %d, for them %d", n, c, f)
		}
		if classLeast(c) > n || classLeast(f) < n || f > c && classLeast(c) == n {
			t.Fatalf("%d granules: list %d from %d, for them %d from %d", n, c, classLeast(c), f, classLeast(f))
		}
		last = c
	}
}

// model is what a table should hold.
type model struct {
	m map[string]modelEntry
}

type modelEntry struct {
	value   []byte
	rev     uint64
	expires int64
	format  Format
}

func (m *model) get(key string, now int64) (modelEntry, bool) {
	e, ok := m.m[key]
	if ok && e.expires != 0 && now >= e.expires {
		return e, false
	}
	return e, ok
}

func (m *model) all(now int64, prefix string) map[string]modelEntry {
	all := map[string]modelEntry{}
	for k := range m.m {
		if e, ok := m.get(k, now); ok && strings.HasPrefix(k, prefix) {
			all[k] = e
		}
	}
	return all
}

func sameAll(got []Entry, want map[string]modelEntry) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d entries, %d are wanted", len(got), len(want))
	}
	for _, e := range got {
		w, ok := want[e.Key]
		if !ok || !bytes.Equal(e.Value, w.value) || e.Revision != w.rev || e.Expires != w.expires || e.Format != w.format {
			return fmt.Errorf("%q: %v of revision %d, wanted is %v of %d", e.Key, e.Value, e.Revision, w.value, w.rev)
		}
	}
	return nil
}

// TestModel compares random operations with a map.
func TestModel(t *testing.T) {
	for _, c := range []struct {
		name  string
		geo   Geometry
		keys  int
		value int
		ops   int
	}{
		{"roomy", Geometry{Buckets: 64, Size: 2 << 20}, 200, 300, 30_000},
		{"one bucket each", Geometry{Buckets: 8, Size: 256 << 10}, 300, 100, 20_000},
		{"tight", Geometry{Buckets: 8}, 40, 3000, 30_000},
		{"tiny entries", Geometry{Buckets: 8}, 400, 20, 30_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			runModel(t, c.geo, c.keys, c.value, c.ops/slowdown, rand.New(rand.NewPCG(seed, 0)))
		})
	}
}

// TestWrap: sequence numbers of 32 bits, and the low half of revisions in the change log, begin anew.
func TestWrap(t *testing.T) {
	w := newWorld(Geometry{Buckets: 8, Size: 128 << 10})
	tb := w.open(1)
	for i := range tb.stripes {
		tb.stripes[i].revision.Store(1<<32 - 60) // half of the keys come to each
	}
	for i := range 90 { // there are overflow buckets
		must(t, second(tb.Set(bg, fmt.Sprint("k", i), []byte("before"), Change{})))
	}
	for i := range 8 {
		head := w.span.U64(tb.buckets + i*bucketSize)
		head.Store(head.Load() | (1<<32 - 1))
	}
	watcher, err := tb.Watch(bg, "k", false, nil)
	must(t, err)
	told := 0
	for i := range 90 {
		key := fmt.Sprint("k", i)
		head := w.span.U64(tb.bucket(tb.hash(key)))
		seen := head.Load()
		must(t, second(tb.Set(bg, key, []byte("behind"), Change{})))
		if head.Load() == seen {
			t.Errorf("%s: the head is %#x, as before", key, seen)
		}
		if b, _, err := getOf(tb, nil, key); err != nil || string(b) != "behind" {
			t.Errorf("%s: %q, %v", key, b, err)
		}
		must(t, watcher.Poll(bg, func(e Event) {
			if told++; e.Key != key || string(e.Value) != "behind" {
				t.Errorf("told %+v of %s", e, key)
			}
		}))
	}
	if told != 90 || tb.Revision() != 2*(1<<32-60)+180 {
		t.Errorf("told of %d changes, revision %d", told, tb.Revision())
	}
	must(t, tb.Check(bg))
}

func runModel(t *testing.T, geo Geometry, keys, value, ops int, rng *rand.Rand) {
	w := newWorld(geo)
	tb := w.open(1)
	m := model{map[string]modelEntry{}}
	var revs [MaxStripes]uint64
	full := 0
	told := map[string]modelEntry{}
	watcher, err := tb.Watch(bg, "k1", false, nil)
	must(t, err)
	tell := func(e Event) {
		if e.Deleted {
			if _, ok := told[e.Key]; !ok {
				t.Errorf("told that %q is gone, of which nothing was told", e.Key)
			}
			delete(told, e.Key)
			return
		}
		told[e.Key] = modelEntry{e.Value, e.Revision, e.Expires, e.Format}
	}
	for i := range ops {
		now := w.clock.Load()
		key := fmt.Sprintf("k%d", rng.IntN(keys))
		old, exists := m.get(key, now)
		change := Change{Format: Format(rng.IntN(3))}
		switch rng.IntN(6) {
		case 0:
			change.Expiry, change.Time = After, 1+rng.Int64N(1000)
		case 1:
			change.Expiry, change.Time = At, now+1+rng.Int64N(1000)
		case 2:
			change.Expiry = Keep
		}
		expires := func() int64 {
			switch change.Expiry {
			case After:
				return now + change.Time
			case At:
				return change.Time
			case Keep:
				if exists {
					return old.expires
				}
			}
			return 0
		}
		check := func(got uint64, err, want error, e modelEntry) {
			t.Helper()
			if errors.Is(err, errs.ErrFull) {
				full++
				want = err
			}
			if want != nil {
				is(t, err, want)
				if err == nil {
					t.Fatalf("no error")
				}
				return
			}
			must(t, err)
			if rev := &revs[tb.stripeOf(tb.hash(key)).i]; got <= *rev {
				t.Fatalf("revision %d after %d", got, *rev)
			} else {
				*rev = got
			}
			e.rev = got
			m.m[key] = e
		}
		v := make([]byte, rng.IntN(value+1))
		for i := range v {
			v[i] = byte(rng.Uint32())
		}
		switch op := rng.IntN(20); op {
		case 0, 1, 2, 3, 4:
			got, err := tb.Set(bg, key, v, change)
			check(got, err, nil, modelEntry{v, 0, expires(), change.Format})
		case 5:
			change.Condition = IfAbsent
			got, err := tb.Set(bg, key, v, change)
			var want error
			if exists {
				want = errs.ErrExist
			}
			check(got, err, want, modelEntry{v, 0, expires(), change.Format})
		case 6, 7:
			change.Condition, change.Revision = IfSame, old.rev
			want := errs.ErrNotExist
			if exists {
				if want = nil; rng.IntN(2) == 0 {
					change.Revision++
					want = errs.ErrConflict
				}
			}
			got, err := tb.Set(bg, key, v, change)
			check(got, err, want, modelEntry{v, 0, expires(), change.Format})
		case 8, 9, 10:
			c := Change{}
			want := errs.ErrNotExist
			if exists {
				want = nil
				if rng.IntN(3) == 0 {
					c.Condition, c.Revision = IfSame, old.rev+uint64(rng.IntN(2))
					if c.Revision != old.rev {
						want = errs.ErrConflict
					}
				}
			}
			got, err := tb.Delete(bg, key, c)
			if want != nil {
				is(t, err, want)
			} else {
				must(t, err)
				revs[tb.stripeOf(tb.hash(key)).i] = got
				delete(m.m, key)
			}
		case 11:
			var want error
			if !exists {
				want = errs.ErrNotExist
			}
			got, err := tb.Expire(bg, key, change)
			check(got, err, want, modelEntry{old.value, 0, expires(), old.format})
		case 12:
			n := "n" + key
			key = n
			old, exists = m.get(n, now)
			var have int64
			if exists {
				fmt.Sscan(string(old.value), &have)
			}
			d := rng.Int64N(1000) - 500
			sum, got, err := tb.Add(bg, n, d)
			e := modelEntry{value: fmt.Append(nil, have+d)}
			if exists {
				e.expires = old.expires
			}
			if err == nil && sum != have+d {
				t.Fatalf("%d and %d is not %d", have, d, sum)
			}
			check(got, err, nil, e)
		case 13:
			w.clock.Add(rng.Int64N(300))
		case 14:
			prefix := fmt.Sprintf("k%d", rng.IntN(10))
			got, err := tb.All(bg, prefix, true)
			must(t, err)
			must(t, sameAll(got, m.all(w.clock.Load(), prefix)))
		case 15:
			if rng.IntN(20) == 0 {
				err := tb.Clear(bg)
				must(t, err)
				clear(m.m)
			}
		case 16:
			if rng.IntN(10) == 0 {
				_, err := tb.Reclaim(bg)
				must(t, err)
				if s, _ := tb.Stats(); s.Cleared != 0 || s.Entries != len(m.all(w.clock.Load(), "")) {
					t.Fatalf("everything was reclaimed: %+v", s)
				}
			}
		default:
			got, meta, err := tb.Append([]byte("x"), key, tb.Hash(key))
			if !exists {
				is(t, err, errs.ErrNotExist)
			} else if err != nil || string(got) != "x"+string(old.value) || meta != (Meta{old.rev, old.expires, old.format}) {
				t.Fatalf("%q: %v %+v %v, wanted is %+v", key, got, meta, err, old)
			}
		}
		if i%7 == 0 {
			must(t, watcher.Poll(bg, tell))
			want := m.all(w.clock.Load(), "k1")
			if !slices.Equal(slices.Sorted(maps.Keys(told)), slices.Sorted(maps.Keys(want))) {
				t.Fatalf("step %d: told %v, wanted is %v", i, slices.Sorted(maps.Keys(told)), slices.Sorted(maps.Keys(want)))
			}
			for k, e := range want {
				if x := told[k]; !bytes.Equal(x.value, e.value) || x.rev != e.rev || x.expires != e.expires {
					t.Fatalf("told %+v, wanted is %+v", x, e)
				}
			}
		}
		if i%50 == 0 {
			must(t, tb.Check(bg))
		}
	}
	must(t, tb.Check(bg))
	all, err := tb.All(bg, "", true)
	must(t, err)
	must(t, sameAll(all, m.all(w.clock.Load(), "")))
	s, err := tb.Stats()
	must(t, err)
	t.Logf("%d full; %+v", full, s)
	err = tb.Clear(bg)
	must(t, err)
	_, err = tb.Reclaim(bg)
	must(t, err)
	if s, _ := tb.Stats(); s.Top != s.Heap || s.Free != 0 || s.Entries+s.Cleared+s.Expiring+s.Overflows != 0 {
		t.Errorf("everything is deleted: %+v", s)
	}
	must(t, tb.Check(bg))
}
