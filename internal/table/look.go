package table

import (
	"math/bits"
	"slices"

	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// A reader locks nothing, so each word that it loads may be of another moment. What it concludes
// counts only if the bucket still has the version that it began with; otherwise the result is
// changed, and it looks again.
//
// look goes through the slots of a bucket and of its overflow buckets, and does this:
//
//	a slot with the tag of the key names    | result
//	----------------------------------------+------------------------
//	nothing, or has another tag by now      | on to the next slot
//	an entry of another key                 | on to the next slot
//	no possible entry                       | wrong
//	an entry of the key, cleared or expired | missing
//	an entry of the key, alive              | found, with its value
//
//	no slot is left, and the link names     | result
//	----------------------------------------+------------------------
//	nothing                                 | missing
//	an overflow bucket                      | on to its slots
//	anything else, or too many followed     | wrong

// result is what reading a bucket came to.
type result int

const (
	found   result = iota
	missing        // no entry that counts
	changed        // by a writer, while it was read
	wrong          // not as writers leave it
)

// version is what a bucket was when a reader began with it.
type version struct {
	head  *mem.U64
	seen  uint64 // in head: each change of the bucket raises its sequence number
	epoch uint64 // clearing everything changes no head
}

// same reports whether nothing has changed since the version.
func (t *Table) same(v *version) bool { return v.head.Load() == v.seen && t.epoch.Load() == v.epoch }

// unlessChanged is r, or changed if the bucket has another version by now.
func (t *Table) unlessChanged(v *version, r result) result {
	if !t.same(v) {
		return changed
	}
	return r
}

// look searches for a key once. want says that the value is wanted, too; it is appended to dst.
func (t *Table) look(dst []byte, key string, h uint64, want bool) ([]byte, Meta, result) {
	line := t.span.Line(t.bucket(h))
	v := version{epoch: t.epoch.Load(), head: &line[0]}
	v.seen = v.head.Load()
	words, link, tag := line[1:], v.seen, h>>tagShift
	for hops := 0; ; hops++ {
		for mask := matches(words, tag); mask != 0; mask &= mask - 1 {
			w := &words[bits.TrailingZeros(mask)]
			slot := w.Load()
			if slot>>tagShift != tag || uint32(slot) == 0 {
				continue
			}
			at, shape, r := t.entryOf(slot, key, want)
			if r == missing {
				continue
			}
			if r == wrong {
				return dst, Meta{}, t.unlessChanged(&v, wrong)
			}
			e := t.span.Line(at)
			m := Meta{e[1].Load(), timeOf(e[2].Load()), Format(shape >> 24)}
			if m.Revision <= t.cleared(t.stripeOf(h).i, v.epoch) || m.Expires != 0 && t.now() >= m.Expires {
				return dst, Meta{}, t.unlessChanged(&v, missing)
			}
			out := dst
			if want {
				n := int(shape >> 32)
				if cap(dst)-len(dst) < n {
					if v.head.Load() != v.seen { // the length may be torn
						return dst, Meta{}, changed
					}
					out = slices.Grow(dst, n)
				}
				out = out[:len(dst)+n]
				t.span.LoadBytes(out[len(dst):], at+entryHead+pad(len(key)))
			}
			if !t.same(&v) {
				return dst, Meta{}, changed
			}
			if t.geo.Evict && slot&slotUsed == 0 {
				w.CAS(slot, slot|slotUsed)
			}
			return out, m, found
		}
		var r result
		if words, link, r = t.follow(link, hops, &v); r != found {
			return dst, Meta{}, t.unlessChanged(&v, r)
		}
	}
}

// follow goes on to the slots of the overflow bucket that a link names, and to its link. The result
// is missing if the chain ends here.
func (t *Table) follow(link uint64, hops int, v *version) (words []mem.U64, next uint64, r result) {
	if link>>32 == 0 {
		return nil, 0, missing
	}
	s, ok := t.over(link)
	if !ok || hops >= longest || hops%64 == 63 && !t.same(v) { // what changes all the time may have no end
		return nil, 0, wrong
	}
	o := t.span.Line(s.at - 16)
	return o[2:], o[1].Load(), found
}

// entryOf is the offset of the entry that a slot names, and its word of lengths and format. The
// result is missing if the entry has another key, and wrong if no entry can be there. A value that
// is wanted is prefetched.
func (t *Table) entryOf(slot uint64, key string, want bool) (at int, shape uint64, r result) {
	g := uint32(slot)
	if g < t.heap || g >= t.end {
		return 0, 0, wrong
	}
	at = int(g) * Granule
	e := t.span.Line(at)
	if want {
		t.span.Prefetch(at + Granule)
	}
	w, shape := uint32(e[0].Load()), e[3].Load()
	size, value := w&sizeMask, int(shape>>32)
	if w>>stateShift != entry || size == 0 || size > t.end-g {
		return 0, 0, wrong
	}
	if int(shape&0xffffff) != len(key) {
		return 0, 0, missing
	}
	// Where the value is follows from the key that is looked for: the processor need not wait for
	// the length in the entry.
	if entryHead+pad(len(key))+value > int(size)*Granule || value > MaxValue {
		return 0, 0, wrong
	}
	if !t.span.EqualString(at+entryHead, key) {
		return 0, 0, missing
	}
	return at, shape, found
}

// matches has a bit for each slot that has a tag. Which one it is nobody can predict: so they are
// compared without branches.
func matches(words []mem.U64, tag uint64) (mask uint) {
	if len(words) == mainSlots {
		w := (*[mainSlots]mem.U64)(words)
		return match(&w[0], tag) | match(&w[1], tag)<<1 | match(&w[2], tag)<<2 | match(&w[3], tag)<<3 |
			match(&w[4], tag)<<4 | match(&w[5], tag)<<5 | match(&w[6], tag)<<6
	}
	for i := range words {
		mask |= match(&words[i], tag) << i
	}
	return mask
}

func match(w *mem.U64, tag uint64) uint { return uint((w.Load()>>tagShift^tag)-1) >> 63 }
