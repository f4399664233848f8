package layouttest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/store"
)

func newStore(t testing.TB, d *shiplap.Domain, opt store.Options) *store.Store {
	t.Helper()
	opt.Wait = shiplap.WaitSleep
	s, err := store.Create(d, "s", &opt)
	ok(t, err)
	t.Cleanup(func() { ok(t, s.Close()) })
	return s
}

func set(t testing.TB, s *store.Store, key, value string, opts ...store.SetOption) {
	t.Helper()
	_, err := s.Set(bg, key, []byte(value), opts...)
	ok(t, err)
}

// u64s are words as they lie in memory.
func u64s(v ...uint64) string {
	var b []byte
	for _, w := range v {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return string(b)
}

// The words of a store after a history of which every step is known.
func TestStoreObject(t *testing.T) {
	d := join(t, shmDir(t))
	s := newStore(t, d, store.Options{MaxBytes: 1 << 20, Keys: 32, Locks: 3})
	set(t, s, "a", "one")
	set(t, s, "a", "two")                                                       // the first block becomes the spare one of its size
	set(t, s, "a", "three")                                                     // and now the second
	set(t, s, "b", strings.Repeat("b", 1000))                                   // 17 granules, at the top
	set(t, s, "c", "{}", store.TTL(time.Hour), store.Encoded(store.FormatJSON)) // takes the spare block
	ok(t, s.Delete(bg, "b"))                                                    // the top comes down
	set(t, s, "b", strings.Repeat("b", 1000))
	set(t, s, "e", "") // behind b
	ok(t, s.Delete(bg, "b"))

	f := readStore(t, d.Dir(), "s")
	if f.b != 16 || f.l != 1024 || f.k != 3 {
		t.Fatalf("%d buckets, %d log entries, %d key locks", f.b, f.l, f.k)
	}
	all := f.check()
	if e := all["a"]; len(all) != 3 || e.value != "three" || e.format != 0 || e.revision != 3 || e.expiry != 0 {
		t.Errorf("%+v", all)
	}
	c := all["c"]
	if left := time.Until(time.Unix(0, int64(c.expiry))); c.value != "{}" || c.format != 2 || left > time.Hour || left < time.Hour-time.Minute {
		t.Errorf("%+v", c)
	}
	compare(t, "header", f.img, 0, object.HeaderSize, 0, headerWant(self(t, d), want{"kind": 12, "size": 1 << 20,
		"descriptor": "", "descriptor length": 0, "descriptor hash": 0, "lock count": 3, "event count": 1}))
	entries(t, f.img, map[string]int{"key locks": f.field("store", "binding lock").off, "heap": f.field("store", "heap lock").off, "writer 0": f.stripe(0)},
		[]string{"key locks", "heap", "writer 0"}, []int{f.field("store", "store changed").off}, "storeparams",
		map[string]int{"buckets": 16, "log entries": 1024, "key locks": 3, "evict": 0, "seed 0": int(f.seed[0]), "seed 1": int(f.seed[1]), "stripes": 1})

	h := uint64(f.heap / 64)
	log := make([]uint64, 10)
	for i, key := range strings.Fields("a a a b c b b e b") {
		log[i+1] = uint64(i+1)<<32 | f.hash(key)%16
	}
	var lists [240]uint64
	lists[16] = 1<<32 | (h + 2)
	clear(f.img[:object.HeaderSize])
	compareWith(t, "store", f.img, 0, len(f.img), f.vars, want{
		"binding lock": "", "heap lock": "", "heap armed": 0, "heap redo": skip{}, "store changed": 0, "changed sleeps": 0,
		"hits": skip{}, "misses": skip{}, "reserved": skip{}, "epoch": 0, "cleared even": "", "cleared odd": "",
		"top": int(h + 20), "last": 1, "free granules": 17, "free lists": u64s(1 << 16), "lists": u64s(lists[:]...), "stripes": skip{},
		"change logs": u64s(log...), "key records": "", "key bindings": "", "store buckets": skip{}, "heap": skip{},
	})
	compare(t, "stripe", f.img, f.stripe(0), 2048, 0, want{
		"writer": "", "armed": 0, "pending": "", "clearing": 0, "unsettled": 0, "redo": skip{}, "revision": 9, "entries": 3, "cleared entries": 0,
		"expiring": 1, "overflows": 0, "next expiry": int(c.expiry), "lap expiry": int(c.expiry), "hand": 0, "clock": 0,
		"sets": 7, "deletes": 2, "expired": 0, "evicted": 0, "spare": "", "stripe end": "",
	})
	if got := string(f.img[64*(h+2):][:16]); got != u64s(1<<32|17, 0) {
		t.Errorf("a free block: %q", got)
	}
	if got := f.at(int(64*(h+1)), "entry", "entry block"); got != 1<<32|1<<30|1 {
		t.Errorf("the block of c: %#x", got)
	}
}

// The redo logs still hold what was written down last: the change, and that a block was taken.
func TestStoreRedo(t *testing.T) {
	d := join(t, shmDir(t))
	s := newStore(t, d, store.Options{MaxBytes: 1 << 20})
	set(t, s, "a", "") // one granule at the top: take, then the change
	f := readStore(t, d.Dir(), "s")
	if f.n != 4 {
		t.Fatalf("%d stripes", f.n)
	}
	h, own, bucket := uint64(f.heap/64), f.stripeOf("a"), int(f.hash("a")%uint64(f.b))
	word := func(name string) uint64 { return uint64(own + f.field("stripe", name).off) }
	slot := f.field("store", "store buckets").off + bucket*64
	log := f.field("store", "change logs").off + 8*(bucket/(f.b/f.n)*f.l/f.n+1)
	for _, tt := range []struct {
		base        int
		table, name string
		want        string
	}{
		{own, "stripe", "redo", u64s(uint64(slot+8), h|f.hash("a")>>48<<48, uint64(slot), 1, uint64(log), 1<<32|uint64(bucket), word("revision"), 1,
			word("entries"), 1, word("pending"), 0)},
		{0, "store", "heap redo", u64s(uint64(f.field("store", "top").off), (h+1)|1<<32, 64*h, 1<<30|1, word("pending"), h)},
	} {
		redo := f.field(tt.table, tt.name)
		if got := f.img[tt.base+redo.off:][:len(tt.want)]; string(got) != tt.want {
			t.Errorf("%s:\n%x\n%x", tt.name, got, tt.want)
		}
	}
}

// A store after a random history is what the page says of one, and holds what it should.
func TestStoreParsed(t *testing.T) {
	for seed := range uint64(6) {
		d := join(t, shmDir(t))
		s := newStore(t, d, store.Options{MaxBytes: 1 << 20, Keys: []int{32, 32, 600}[seed%3], Evict: seed%2 == 1})
		rng := rand.New(rand.NewPCG(seed, 12))
		model := map[string]string{}
		for i := range 3000 {
			key := fmt.Sprint("key ", rng.IntN(200)) // of 16 buckets: many have overflow; or of some stripes
			switch n := rng.IntN(20); {
			case n < 6:
				delete(model, key)
				if err := s.Delete(bg, key); err != nil {
					continue
				}
			case n == 6 && i%100 == 0:
				clear(model)
				ok(t, s.Clear(bg))
			case n == 7:
				set(t, s, key, "gone", store.TTL(time.Nanosecond))
				delete(model, key)
			default:
				model[key] = strings.Repeat("v", rng.IntN(60)*rng.IntN(30))
				set(t, s, key, model[key])
			}
			if i%500 == 0 {
				readStore(t, d.Dir(), "s").check()
			}
		}
		all := readStore(t, d.Dir(), "s").check()
		for key, v := range model {
			if all[key].value != v {
				t.Errorf("%q is %.20q; %.20q is wanted", key, all[key].value, v)
			}
		}
		if len(all) != len(model) {
			t.Errorf("%d keys; %d are wanted", len(all), len(model))
		}
		ok(t, s.Check(bg))
	}
}

func TestSipHash(t *testing.T) {
	for _, r := range get(t, "siphash").rows {
		key := r["Key"]
		if key == "(empty)" {
			key = ""
		}
		if got := siphash13([2]uint64{uint64(atoi(t, r["Seed 0"])), uint64(atoi(t, r["Seed 1"]))}, key); fmt.Sprintf("%#x", got) != r["h"] {
			t.Errorf("%q: %#x; %s is wanted", key, got, r["h"])
		}
	}
}

func TestStoreBinding(t *testing.T) {
	d := join(t, shmDir(t))
	s := newStore(t, d, store.Options{MaxBytes: 1 << 20, Locks: 3})
	l, err := s.Lock(bg, "color")
	ok(t, err)
	f := readStore(t, d.Dir(), "s")
	h := f.hash("color")
	i := int(h % 3)
	compare(t, "binding", f.img, f.field("store", "key bindings").off+64*i, 64, 0,
		want{"bound hash": int(h), "inside": 1, "bound length": 5, "bound key": "color"})
	compare(t, "lock", f.img, f.field("store", "key records").off+128*i, 128, 0, want{"word": int(self(t, d).Token), "recoveries": 0, "since": skip{},
		"sleeps": 0, "waiter": "", "line": 0, "damaged": 0})
	ok(t, l.Unlock())
	f = readStore(t, d.Dir(), "s")
	if in := f.at(f.field("store", "key bindings").off+64*i, "binding", "inside"); in != 0 {
		t.Errorf("inside is %d", in)
	}
}

// A mark that readers leave in stores that evict.
func TestStoreUsed(t *testing.T) {
	d := join(t, shmDir(t))
	s := newStore(t, d, store.Options{MaxBytes: 1 << 20, Evict: true})
	set(t, s, "a", "b")
	slot := func() uint64 {
		f := readStore(t, d.Dir(), "s")
		return f.item(f.field("store", "store buckets").off+64*int(f.hash("a")%uint64(f.b)), "bucket", "slots", 0)
	}
	before := slot()
	_, err := s.Get("a")
	ok(t, err)
	if after := slot(); after != before|get(t, "slotbits").bits(t, "Bits")["used"].put(1) {
		t.Errorf("%#x, then %#x", before, after)
	}
}
