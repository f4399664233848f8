package layouttest

import (
	"fmt"
	mathbits "math/bits"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// storeFile is the image of a store, read by nothing but what the page says.
type storeFile struct {
	t       testing.TB
	img     []byte
	vars    variables
	b, l, k int // buckets, log entries, key locks
	n       int // stripes
	seed    [2]uint64
	heap    int // where it begins
	fields  map[string]field
	bits    map[string]map[string]bits
}

// storeEntry is what a key has.
type storeEntry struct {
	value    string
	format   uint64
	revision uint64
	expiry   uint64
}

func readStore(t testing.TB, dir, name string) *storeFile {
	t.Helper()
	img, err := os.ReadFile(filepath.Join(dir, name))
	ok(t, err)
	s := &storeFile{t: t, img: img, fields: map[string]field{}, bits: map[string]map[string]bits{}}
	pe := at(t, "header", "params")
	params := map[string]uint64{}
	for i, name := range get(t, "storeparams").keyed("Param", "Name") {
		params[name] = word(img[pe.off+atoi(t, i)*pe.entry:][:8])
	}
	s.b, s.l, s.k, s.n = int(params["buckets"]), int(params["log entries"]), int(params["key locks"]), int(params["stripes"])
	s.seed = [2]uint64{params["seed 0"], params["seed 1"]}
	s.vars = variables{"stripes": 2048 * s.n, "log": 8 * s.l, "records": 128 * s.k, "bindings": 64 * s.k, "buckets": 64 * s.b}
	s.heap = 8192 + 2048*s.n + 8*s.l + 192*s.k + 64*s.b
	s.vars["heap"] = len(img) - s.heap
	if at := s.field("store", "heap").off; at != s.heap {
		t.Fatalf("the heap begins at %d by the table, at %d by the text", at, s.heap)
	}
	return s
}

func (s *storeFile) field(table, name string) field {
	s.t.Helper()
	f, known := s.fields[table+" "+name]
	if !known {
		vars := s.vars
		if table != "store" {
			vars = variables{"key": 0, "value": 0}
		}
		f = atWith(s.t, table, name, vars)
		s.fields[table+" "+name] = f
	}
	return f
}

// at is a word of a table that begins at base.
func (s *storeFile) at(base int, table, name string) uint64 {
	s.t.Helper()
	f := s.field(table, name)
	return word(s.img[base+f.off:][:f.size])
}

// ctl is a control word, item the i-th u64 of several.
func (s *storeFile) ctl(name string) uint64 { s.t.Helper(); return s.at(0, "store", name) }

// stripe is where the words of a stripe begin, stripeOf that of a key's.
func (s *storeFile) stripe(i int) int { return s.field("store", "stripes").off + 2048*i }

func (s *storeFile) stripeOf(key string) int {
	return s.stripe(int(s.hash(key)%uint64(s.b)) / (s.b / s.n))
}

// cleared is up to which revision the entries of a stripe count for nothing.
func (s *storeFile) cleared(stripe int) uint64 {
	return s.item(0, "store", [2]string{"cleared even", "cleared odd"}[s.ctl("epoch")%2], stripe)
}

func (s *storeFile) item(base int, table, name string, i int) uint64 {
	s.t.Helper()
	return word(s.img[base+s.field(table, name).off+8*i:][:8])
}

// part takes a word to pieces.
func (s *storeFile) part(table, name string, v uint64) uint64 {
	s.t.Helper()
	if s.bits[table] == nil {
		s.bits[table] = get(s.t, table).bits(s.t, "Bits")
	}
	b, ok := s.bits[table][name]
	if !ok {
		s.t.Fatalf("table %s has no %s", table, name)
	}
	return v >> b.low & (1<<(b.high-b.low+1) - 1)
}

func (s *storeFile) hash(key string) uint64 { return siphash13(s.seed, key) }

func siphash13(seed [2]uint64, key string) uint64 {
	v := [4]uint64{seed[0] ^ 0x736f6d6570736575, seed[1] ^ 0x646f72616e646f6d, seed[0] ^ 0x6c7967656e657261, seed[1] ^ 0x7465646279746573}
	round := func() {
		for _, r := range [][5]int{{0, 1, 13, 2, 3}, {2, 1, 17, 0, 3}} { // two halves, alike but for the rotations
			v[r[0]] += v[r[1]]
			v[r[3]] += v[r[4]]
			v[r[1]] = mathbits.RotateLeft64(v[r[1]], r[2]) ^ v[r[0]]
			v[r[4]] = mathbits.RotateLeft64(v[r[4]], map[int]int{13: 16, 17: 21}[r[2]]) ^ v[r[3]]
			v[r[0]] = mathbits.RotateLeft64(v[r[0]], 32)
		}
	}
	padded := key + string(make([]byte, 7-len(key)%8)) + string([]byte{byte(len(key))})
	for ; padded != ""; padded = padded[8:] {
		m := word([]byte(padded[:8]))
		v[3] ^= m
		round()
		v[0] ^= m
	}
	v[2] ^= 0xff
	round()
	round()
	round()
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}

// check reads the whole store, holds it to everything that the page says of a store that nobody is changing, and
// returns the entries that count.
func (s *storeFile) check() map[string]storeEntry {
	s.t.Helper()
	c := storeCheck{storeFile: s, blocks: map[uint64]uint64{}, named: map[uint64]string{}}
	c.walk()
	all := map[string]storeEntry{}
	for i := range c.n {
		c.counts = map[string]uint64{}
		c.entries(all, i)
		c.ofStripe(i)
	}
	c.others()
	return all
}

type storeCheck struct {
	*storeFile
	blocks map[uint64]uint64 // block words by granule
	named  map[uint64]string // what leads there
	counts map[string]uint64 // of the stripe that is read
}

func (c *storeCheck) errorf(format string, a ...any) {
	c.t.Helper()
	c.t.Errorf("store: "+format, a...)
}

// is compares two numbers.
func (c *storeCheck) is(what string, got, want uint64) {
	c.t.Helper()
	if got != want {
		c.errorf("%s is %#x; %#x is wanted", what, got, want)
	}
}

func (c *storeCheck) block(name string, g uint64) uint64 {
	return c.part("blockbits", name, c.blocks[g])
}

// walk goes over the heap.
func (c *storeCheck) walk() {
	top, before, state := c.ctl("top"), uint64(0), uint64(1)
	if 64*top > c.ctl("reserved") || c.ctl("reserved")%4096 != 0 {
		c.errorf("top %d, reserved %d", top, c.ctl("reserved"))
	}
	g := uint64(c.heap / 64)
	for g < top {
		c.blocks[g] = c.at(int(64*g), "overflowbucket", "overflow block")
		c.is("block before", c.block("block before", g), before)
		behind := state
		if before, state = c.block("block size", g), c.block("block state", g); before == 0 || state == 0 && behind == 0 {
			c.t.Fatalf("the block at granule %d: %#x", g, c.blocks[g])
		}
		g += before
	}
	c.is("top", top, g)
	c.is("last", c.ctl("last"), before)
	if g > uint64(c.heap/64) && state == 0 {
		c.errorf("the last block is free")
	}
}

// leads notes that something leads to a block in that state.
func (c *storeCheck) leads(what string, g, state uint64) {
	c.t.Helper()
	if _, there := c.blocks[g]; !there || c.block("block state", g) != state || c.named[g] != "" {
		c.errorf("%s leads to granule %d: %#x, %q", what, g, c.blocks[g], c.named[g])
	}
	c.named[g] = what
}

func (c *storeCheck) entries(all map[string]storeEntry, stripe int) {
	for i := stripe * (c.b / c.n); i < (stripe+1)*(c.b/c.n); i++ {
		base, slots, n, tab := c.field("store", "store buckets").off+64*i, "slots", 7, "bucket"
		link := c.at(base, "bucket", "overflow")
		for {
			for k := range n {
				if w := c.item(base, tab, slots, k); w != 0 {
					c.readEntry(all, stripe, uint64(i), w)
				}
			}
			if link == 0 {
				break
			}
			c.leads("a link", link, 2)
			c.is("size of an overflow bucket", c.block("block size", link), 1)
			c.counts["overflows"]++
			base, slots, n, tab = int(64*link), "overflow slots", 6, "overflowbucket"
			c.is("overflow zero", c.at(base, tab, "overflow zero"), 0)
			link = c.at(base, tab, "overflow next")
		}
	}
}

func (c *storeCheck) readEntry(all map[string]storeEntry, stripe int, bucket, w uint64) {
	g := c.part("slotbits", "granule", w)
	c.leads("a slot", g, 1)
	base := int(64 * g)
	lengths := c.at(base, "entry", "lengths")
	nk, nv := int(c.part("lengthbits", "key length", lengths)), int(c.part("lengthbits", "value length", lengths))
	kat := base + c.field("entry", "key").off
	if end := kat + (nk+7)&^7 + nv; uint64((end-base+63)/64) > c.block("block size", g) {
		c.t.Fatalf("an entry of %d and %d bytes in %#x", nk, nv, c.blocks[g])
	}
	key := string(c.img[kat:][:nk])
	vat := base + c.field("entry", "value").off + (nk+7)&^7 // the table says 32 + key
	e := storeEntry{string(c.img[vat:][:nv]), c.part("lengthbits", "format", lengths), c.at(base, "entry", "entry revision"), c.at(base, "entry", "expiry")}
	h := c.hash(key)
	c.is("tag", c.part("slotbits", "tag", w), h>>48)
	c.is("bucket", h%uint64(c.b), bucket)
	c.is("expires", c.part("slotbits", "expires", w), min(e.expiry, 1))
	c.is("none", c.part("slotbits", "none", w), 0)
	own := c.stripe(stripe)
	c.counts["expiring"] += min(e.expiry, 1)
	if e.revision > c.at(own, "stripe", "revision") {
		c.errorf("%q has revision %d", key, e.revision)
	}
	if e.revision <= c.cleared(stripe) {
		c.counts["cleared entries"]++
		return
	}
	c.counts["entries"]++
	if next := c.at(own, "stripe", "next expiry"); e.expiry != 0 && (next == 0 || next > e.expiry) {
		c.errorf("%q expires at %d, before the next expiry %d", key, e.expiry, next)
	}
	if e.expiry == 0 || e.expiry > uint64(time.Now().UnixNano()) {
		if _, twice := all[key]; twice {
			c.errorf("%q is there twice", key)
		}
		all[key] = e
	}
}

// ofStripe are its spare and pending blocks, counters and change log.
func (c *storeCheck) ofStripe(i int) {
	own := c.stripe(i)
	for _, word := range []string{"armed", "clearing", "unsettled"} {
		c.is(word, c.at(own, "stripe", word), 0)
	}
	for i := range 2 {
		c.is("pending", c.item(own, "stripe", "pending", i), 0)
	}
	for n := range 17 {
		if g := c.item(own, "stripe", "spare", n); g != 0 {
			c.leads("a spare word", g, 1)
			c.is("size of the spare block", c.block("block size", g), uint64(n))
		}
	}
	for _, word := range []string{"entries", "cleared entries", "expiring", "overflows"} {
		c.is(word, c.at(own, "stripe", word), c.counts[word])
	}
	rev, l := c.at(own, "stripe", "revision"), c.l/c.n
	for r := rev; r > 0 && r+uint64(l) > rev; r-- {
		e := c.item(0, "store", "change logs", i*l+int(r)%l)
		if b := e & (1<<32 - 1); e>>32 != r&(1<<32-1) || b != 1<<32-1 && (b >= uint64(c.b) || int(b)/(c.b/c.n) != i) {
			c.errorf("change log of stripe %d, revision %d: %#x", i, r, e)
		}
	}
}

// others are the free lists.
func (c *storeCheck) others() {
	c.is("heap armed", c.ctl("heap armed"), 0)
	free := uint64(0)
	for i := range 240 {
		l := c.item(0, "store", "lists", i)
		g, n, before := l&(1<<32-1), uint64(0), uint64(0)
		for ; g != 0; n++ {
			c.leads(fmt.Sprint("list ", i), g, 0)
			size := c.block("block size", g)
			free += size
			c.is("list", listOf(size), uint64(i))
			links := word(c.img[64*g+8:][:8])
			c.is("the one before", links>>32, before)
			before, g = g, links&(1<<32-1)
		}
		c.is("blocks of a list", l>>32, n)
		c.is("bit of a list", c.item(0, "store", "free lists", i/64)>>(i%64)&1, min(n, 1))
	}
	for g := range c.blocks {
		if c.named[g] == "" {
			c.errorf("nothing leads to granule %d: %#x", g, c.blocks[g])
		}
	}
	c.is("free granules", c.ctl("free granules"), free)
}

// listOf is the number of the list of free blocks of n granules.
func listOf(n uint64) uint64 {
	if n < 16 {
		return n
	}
	f := uint64(mathbits.Len64(n) - 1)
	return 16 + 8*(f-4) + n>>(f-3)&7
}
