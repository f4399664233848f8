package table

import (
	"context"
	"slices"
)

// query says which entries are wanted, and what of them.
type query struct {
	prefix string
	exact  bool // the prefix is the whole key
	values bool
	newer  uint64 // values only of entries with a later revision
	now    int64
	buf    []byte
	large  []byte // the copy of a value that was given up
	room   budget
	locked bool // by the caller
}

// budget bounds what is read of a table that may lie: no byte of the heap is met twice.
type budget struct{ bytes, hops int }

func (t *Table) budget() budget {
	n := int(t.end - t.heap)
	return budget{n * Granule, n}
}

// used is how many bytes were read since the budget was whole.
func (q *query) used(t *Table) int { return t.budget().bytes - q.room.bytes }

// collect appends the wanted entries of a bucket, as they were at one moment.
func (t *Table) collect(ctx context.Context, dst []Entry, bucket int, q *query) ([]Entry, error) {
	n, room := len(dst), q.room
	read := func() (r result) {
		q.room = room
		dst, r = t.collectOnce(ctx, dst[:n], bucket, q)
		return r
	}
	switch r := read(); {
	case r == found:
		return dst, nil
	case q.locked && ctx.Err() != nil:
		return dst, context.Cause(ctx)
	case q.locked:
		return dst, corrupt("a bucket, or an entry in it, is not as they are, or changes while its lock is held")
	}
	err := t.stripeOf(t.number(bucket)).again(ctx, read)
	return dst, err
}

// collectOnce goes through a bucket and its overflow buckets as look does, for any number of keys.
// It says changed also when the context has ended while a large value was copied.
func (t *Table) collectOnce(ctx context.Context, dst []Entry, bucket int, q *query) ([]Entry, result) {
	v := version{epoch: t.epoch.Load(), head: t.span.U64(bucket)}
	v.seen = v.head.Load()
	s, link := t.mainSlots(bucket), v.seen
	for hops := 0; ; hops++ {
		for i := range s.n {
			slot := t.span.U64(s.at + 8*i).Load()
			if uint32(slot) == 0 {
				continue
			}
			var r result
			if dst, r = t.collectEntry(ctx, dst, bucket, slot, &v, q); r != found {
				return dst, r
			}
		}
		if link>>32 == 0 {
			return dst, t.unlessChanged(&v, found)
		}
		if q.room.hops--; q.room.hops < 0 || hops >= longest || hops%64 == 63 && !t.same(&v) {
			return dst, t.unlessChanged(&v, wrong)
		}
		var ok bool
		if s, ok = t.over(link); !ok {
			return dst, t.unlessChanged(&v, wrong)
		}
		link = t.span.U64(s.linkAt()).Load()
	}
}

// believed is up to how many bytes lengths are believed without a second look at the bucket: they
// may be torn.
const believed = 1 << 12

// collectEntry appends the entry that a slot names, if it is wanted. The result is found also if it is not.
func (t *Table) collectEntry(ctx context.Context, dst []Entry, bucket int, slot uint64,
	v *version, q *query) ([]Entry, result) {
	e, ok := t.entry(slot)
	if !ok {
		return dst, t.unlessChanged(v, wrong)
	}
	if !q.asksFor(t, &e) || !t.aliveAfter(&e, t.cleared(t.stripeOf(t.number(bucket)).i, v.epoch), &q.now) {
		return dst, found
	}
	if e.key+e.value > believed && !t.same(v) {
		return dst, changed
	}
	if q.room.bytes -= e.key + e.value; q.room.bytes < 0 {
		return dst, t.unlessChanged(v, wrong)
	}
	out := Entry{Meta: e.meta(), Key: t.keyOf(&e, q)}
	if q.values && e.rev > q.newer {
		useful := func() bool { return t.same(v) && ctx.Err() == nil }
		if out.Value, ok = t.valueOf(&e, q, useful); !ok {
			return dst, changed
		}
	}
	return append(dst, out), found
}

// asksFor reports whether the key of an entry is one of those that are wanted.
func (q *query) asksFor(t *Table, e *entryHeader) bool {
	if e.key < len(q.prefix) || q.exact && e.key != len(q.prefix) {
		return false
	}
	return t.span.EqualString(e.keyAt(), q.prefix)
}

func (t *Table) keyOf(e *entryHeader, q *query) string {
	if q.exact {
		return q.prefix
	}
	q.buf = slices.Grow(q.buf[:0], e.key)[:e.key]
	t.span.LoadBytes(q.buf, e.keyAt())
	return string(q.buf)
}

// copyPiece is how much of a value is copied between two looks whether that is still of use: some 50 µs.
const copyPiece = 256 << 10

func (t *Table) valueOf(e *entryHeader, q *query, useful func() bool) (value []byte, ok bool) {
	if e.value <= copyPiece {
		value = make([]byte, e.value)
		t.span.LoadBytes(value, e.valueAt())
		return value, true
	}
	if value = q.large; cap(value) < e.value {
		value = make([]byte, e.value)
	}
	value, q.large = value[:e.value], nil
	for i := 0; i < e.value; i += copyPiece {
		if !useful() {
			q.large = value
			return nil, false
		}
		t.span.LoadBytes(value[i:min(i+copyPiece, e.value)], e.valueAt()+i)
	}
	return value, true
}

const snapshotTries = 3

// All returns the entries whose keys begin with prefix as they were at one moment, in no order. It
// reads without locks, and, if others change the table meanwhile again and again, with all of them:
// then it waits for every writer.
func (t *Table) All(ctx context.Context, prefix string, values bool) (all []Entry, err error) {
	q := query{prefix: prefix, values: values}
	for range snapshotTries {
		if all, err = t.snapshot(ctx, all[:0], &q); err != errAgain {
			return all, err
		}
	}
	if err := t.acquireAll(ctx); err != nil {
		return nil, err
	}
	defer t.unlockAll()
	q.locked = true
	if all, err = t.snapshot(ctx, all[:0], &q); err == errAgain {
		err = corrupt("somebody changes the table who does not hold its locks")
	}
	return all, err
}

// moment says at which revisions everything was read.
type moment struct {
	epoch     uint64
	revisions [MaxStripes]uint64
}

// still reports whether nothing has changed since the moment, apart from one change at most that is
// half done, as others see it: then its revision is not there yet, and its one key is there or is
// not. Of two such, a reader could see the later one alone.
func (t *Table) still(m *moment) bool {
	underWay := 0
	for i := range t.stripes {
		s := &t.stripes[i]
		if s.armed.Load() != 0 { // before its revision is looked at, which goes up before the row is done
			underWay++
		}
		if s.revision.Load() != m.revisions[i] {
			return false
		}
	}
	return underWay <= 1 && t.epoch.Load() == m.epoch
}

// snapshot reads everything; errAgain if the table changed meanwhile.
func (t *Table) snapshot(ctx context.Context, all []Entry, q *query) ([]Entry, error) {
	q.now, q.room = t.now(), t.budget() // one moment for all
	m := moment{epoch: t.epoch.Load()}
	for i := range t.stripes {
		m.revisions[i] = t.stripes[i].revision.Load()
	}
	for i := range int(t.geo.Buckets) {
		var err error
		if all, err = t.collect(ctx, all, t.buckets+i*bucketSize, q); err != nil {
			if !q.locked && !t.still(&m) {
				return nil, errAgain // what moves may be met twice, and be more than the heap holds
			}
			return nil, err
		}
		if i%1024 == 1023 {
			if !t.still(&m) {
				return all, errAgain
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
		}
	}
	if !t.still(&m) {
		return all, errAgain
	}
	return all, nil
}

// scanned is how many bytes, and buckets, a piece of a Scan has.
const (
	scanBytes   = 64 << 10
	scanBuckets = 1024
)

// Scan returns the entries whose keys begin with prefix of some buckets from number next on, and
// the number to go on with, -1 at the end. A key that is there all the time is met once.
func (t *Table) Scan(ctx context.Context, next int, prefix string) (some []Entry, more int, err error) {
	if ctx.Err() != nil {
		return nil, -1, context.Cause(ctx)
	}
	q := query{prefix: prefix, values: true}
	bytes := 0
	for i := next; i < int(t.geo.Buckets); i++ {
		if bytes > scanBytes || i-next > scanBuckets {
			return some, i, nil
		}
		q.now, q.room = 0, t.budget()
		if some, err = t.collect(ctx, some, t.buckets+i*bucketSize, &q); err != nil {
			return nil, -1, err
		}
		bytes += q.used(t)
	}
	return some, -1, nil
}
