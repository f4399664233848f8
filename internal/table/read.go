package table

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Format says what the bytes of a value are.
type Format uint8

// Formats. Unknown ones are bytes.
const (
	Bytes Format = 0 // whatever the user gave: text, decimal numbers, anything
	CBOR  Format = 1
	JSON  Format = 2
)

func (f Format) String() string {
	switch f {
	case CBOR:
		return "cbor"
	case JSON:
		return "json"
	}
	return "bytes"
}

// MarshalText lets a Format stand in JSON as its name.
func (f Format) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// Meta is an entry without its key and value.
type Meta struct {
	Revision uint64
	Expires  int64 // Unix ns, 0: never
	Format   Format
}

// Entry is a key and what it has.
type Entry struct {
	Key   string
	Value []byte
	Meta
}

// entryHeader are the words of an entry that stands at an offset, checked against the bounds of its block.
type entryHeader struct {
	at      int
	rev     uint64
	expires uint64
	size    uint32 // granules
	key     int    // lengths
	value   int
	format  Format
}

func (e *entryHeader) keyAt() int   { return e.at + entryHead }
func (e *entryHeader) valueAt() int { return e.at + entryHead + pad(e.key) }
func (e *entryHeader) meta() Meta   { return Meta{e.rev, timeOf(e.expires), e.format} }

// timeOf is an expiry from shared memory, the end of time where it is none.
func timeOf(expires uint64) int64 { return int64(min(expires, 1<<63-1)) }

// aliveAfter: not cleared, which those up to a revision are, and not expired. now is asked for only if need be.
func (t *Table) aliveAfter(e *entryHeader, cleared uint64, now *int64) bool {
	return e.rev > cleared && !t.expired(e, now)
}

func (t *Table) expired(e *entryHeader, now *int64) bool {
	if e.expires == 0 {
		return false
	}
	if *now == 0 {
		*now = t.now()
	}
	return uint64(*now) >= e.expires
}

// entry reads the header of the entry that a slot points to. Without the lock it may be anything: what is wrong then
// counts only if the bucket has not changed meanwhile.
func (t *Table) entry(slot uint64) (e entryHeader, ok bool) {
	g := uint32(slot)
	if g < t.heap || g >= t.end {
		return e, false
	}
	e.at = int(g) * Granule
	w := uint32(t.span.U64(e.at).Load())
	size := w & sizeMask
	if w>>stateShift != entry || size == 0 || size > t.end-g {
		return e, false
	}
	l := t.span.U64(e.at + 24).Load()
	e.key, e.format, e.value = int(l&0xffffff), Format(l>>24), int(l>>32)
	if e.key > MaxKey || e.value > MaxValue || entryHead+pad(e.key)+e.value > int(size)*Granule {
		return e, false
	}
	e.size = size
	e.rev, e.expires = t.span.U64(e.at+8).Load(), t.span.U64(e.at+16).Load()
	return e, true
}

// row of slots: a bucket, or an overflow bucket.
type slots struct{ at, n int }

const mainSlots, overSlots = 7, 6

func (t *Table) mainSlots(bucket int) slots { return slots{bucket + 8, mainSlots} }

// over is the overflow bucket that a head or a link names; ok is false where there can be none.
func (t *Table) over(link uint64) (s slots, ok bool) {
	g := uint32(link >> 32)
	if g < t.heap || g >= t.end {
		return s, false
	}
	w := uint32(t.span.U64(int(g) * Granule).Load())
	return slots{int(g)*Granule + 16, overSlots}, w == 1|overflow<<stateShift
}

// linkAt is the word of an overflow bucket that names the next one.
func (s slots) linkAt() int { return s.at - 8 }

// longest bounds a chain of overflow buckets. There is a bucket for every bucketPer bytes of the file, hence for that many
// granules of the heap: more than that many keys in one bucket is not chance.
const longest = 4096

type result int

const (
	found result = iota
	missing
	changed // by a writer, while it was read
	wrong
)

// look searches for a key once. want says that the value is wanted.
func (t *Table) look(dst []byte, key string, h uint64, want bool) ([]byte, Meta, result) {
	line := t.span.Line(t.bucket(h))
	epoch := t.epoch.Load()
	head := &line[0]
	seen := head.Load()
	words, link := line[1:], seen
	for hops := 0; ; hops++ {
		for mask := matches(words, h>>tagShift); mask != 0; mask &= mask - 1 {
			i := bits.TrailingZeros(mask)
			v := words[i].Load()
			if v>>tagShift != h>>tagShift {
				continue // it was changed since
			}
			g := uint32(v)
			if g < t.heap || g >= t.end {
				if g == 0 {
					continue
				}
				return dst, Meta{}, unchanged(head, seen, wrong)
			}
			at := int(g) * Granule
			e := t.span.Line(at)
			if want {
				t.span.Prefetch(at + Granule)
			}
			// Where the value is follows from the key that is looked for: the processor need not wait for the lengths.
			valueAt := entryHead + pad(len(key))
			w, l := uint32(e[0].Load()), e[3].Load()
			size, n := w&sizeMask, int(l>>32)
			if w>>stateShift != entry || size == 0 || size > t.end-g || (valueAt+n > int(size)*Granule || n > MaxValue) && int(l&0xffffff) == len(key) {
				return dst, Meta{}, unchanged(head, seen, wrong)
			}
			if int(l&0xffffff) != len(key) || !t.span.EqualString(at+entryHead, key) {
				continue
			}
			m := Meta{e[1].Load(), timeOf(e[2].Load()), Format(l >> 24)}
			if m.Revision <= t.cleared(t.stripeOf(h).i, epoch) || m.Expires != 0 && t.now() >= m.Expires {
				if t.epoch.Load() != epoch {
					return dst, Meta{}, changed
				}
				return dst, Meta{}, unchanged(head, seen, missing)
			}
			if want {
				if cap(dst)-len(dst) < n {
					if head.Load() != seen { // before a length is believed that may be torn
						return dst, Meta{}, changed
					}
					dst = slices.Grow(dst, n)
				}
				t.span.LoadBytes(dst[len(dst):len(dst)+n], at+valueAt)
				dst = dst[:len(dst)+n]
			}
			if head.Load() != seen || t.epoch.Load() != epoch {
				return dst, Meta{}, changed
			}
			if t.geo.Evict && v&slotUsed == 0 {
				words[i].CAS(v, v|slotUsed)
			}
			return dst, m, found
		}
		if link>>32 == 0 {
			return dst, Meta{}, unchanged(head, seen, missing)
		}
		s, ok := t.over(link)
		if !ok || hops >= longest || hops%64 == 63 && head.Load() != seen {
			return dst, Meta{}, unchanged(head, seen, wrong)
		}
		o := t.span.Line(s.at - 16)
		words, link = o[2:], o[1].Load()
	}
}

// matches has a bit for each slot that has a tag. Which one it is nobody can predict: so they are compared without branches.
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

// unchanged is r if the bucket has not changed since its head was seen.
func unchanged(head *mem.U64, seen uint64, r result) result {
	if head.Load() != seen {
		return changed
	}
	return r
}

// Hash is the hash of a key, and has its bucket fetched. The memory need not be there.
func (t *Table) Hash(key string) uint64 {
	h := t.hash(key)
	t.span.Prefetch(t.bucket(h))
	return h
}

// Append appends the value of a key to dst; errs.ErrNotExist if it has none. h is the key's Hash.
func (t *Table) Append(dst []byte, key string, h uint64) (out []byte, m Meta, err error) {
	return t.get(dst, key, h, true)
}

// Stat is Append without the value.
func (t *Table) Stat(key string) (Meta, error) {
	_, m, err := t.get(nil, key, t.hash(key), false)
	return m, err
}

// Glance is Append that looks once, and neither waits nor writes; ok is false if that does not do. The memory need not be there:
// then the result may be anything, or a fault.
func (t *Table) Glance(dst []byte, key string, h uint64) (out []byte, m Meta, err error, ok bool) {
	out, m, r := t.look(dst, key, h, true)
	if r == missing {
		return dst, Meta{}, errs.ErrNotExist, true
	}
	return out, m, nil, r == found
}

// Evicts reports whether reading marks what it finds as used.
func (t *Table) Evicts() bool { return t.geo.Evict }

func (t *Table) get(dst []byte, key string, h uint64, want bool) ([]byte, Meta, error) {
	out, m, r := t.look(dst, key, h, want)
	switch r {
	case found:
		return out, m, nil
	case missing:
		return dst, Meta{}, errs.ErrNotExist
	}
	return t.getAgain(dst, key, h, want)
}

func (t *Table) getAgain(dst []byte, key string, h uint64, want bool) (out []byte, m Meta, err error) {
	r := changed
	err = t.stripeOf(h).again(context.Background(), func() result {
		out, m, r = t.look(dst, key, h, want)
		return r
	})
	if err == nil && r == missing {
		err = errs.ErrNotExist
	}
	if err != nil {
		return dst, Meta{}, err
	}
	return out, m, nil
}

const (
	patience  = 10 * time.Second      // with buckets that never stand still, and whose writers never let go
	lockSlice = 50 * time.Millisecond // long enough to stand in line (package wordlock)
	freeTries = 8
	freeTime  = 20 * time.Millisecond
)

// again reads until it gets something that stood still. A living writer may be faster, with a large value, for ever: so
// the lock has to help. Its holder may be stopped: but then nothing changes. So the lock is waited for
// in slices, which are longer the longer reading takes, for so does writing.
func (t *stripe) again(ctx context.Context, read func() result) error {
	start := time.Now()
	free := start // since when it reads without the lock
	for i := 1; ; i++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		switch read() {
		case found, missing:
			return nil
		case wrong:
			return corrupt("a bucket, or an entry in it, is not as they are")
		}
		took := time.Since(free)
		if i%freeTries != 0 && took < freeTime {
			if i > 2 {
				mem.Pause(uint32(i))
			}
			continue
		}
		if done, err := t.readLocked(ctx, max(lockSlice, 4*took), read); done {
			return err
		}
		free = time.Now()
		if free.Sub(start) > patience {
			return fmt.Errorf("%w: for %v a bucket has changed whenever it was read, and its writers' lock was not to be had", errs.ErrBusy, patience)
		}
	}
}

// readLocked reads with the lock, unless that cannot be had for a while. Where a dead writer left
// something for which the heap's lock is needed, and that is held, no writer can go on either, and
// reading needs no lock.
func (t *stripe) readLocked(ctx context.Context, slice time.Duration, read func() result) (done bool, err error) {
	short, cancel := context.WithTimeout(ctx, slice)
	defer cancel()
	recovered, err := t.lock.Lock(short)
	if err != nil {
		return !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil, err
	}
	if err := t.acquired(noWait, recovered); err != nil {
		return err != errHeapBusy, err
	}
	defer t.unlock()
	switch read() {
	case found, missing:
		return true, nil
	case wrong:
		return true, corrupt("a bucket, or an entry in it, is not as they are")
	}
	return false, nil // changed under the lock
}
