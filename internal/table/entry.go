package table

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

// aliveAfter: not cleared, which those up to a revision are, and not expired. now is asked for only
// if need be.
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

// entry reads the header of the entry that a slot points to. Without the lock it may be anything:
// what is wrong then counts only if the bucket has not changed meanwhile.
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

// longest bounds a chain of overflow buckets. There is a bucket for every bucketPer bytes of the
// file, hence for that many granules of the heap: more than that many keys in one bucket is not
// chance.
const longest = 4096
