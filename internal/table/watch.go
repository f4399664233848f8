package table

import (
	"container/heap"
	"context"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// Event is what a watcher tells: what a key has now, or that it has nothing any more.
type Event struct {
	Entry
	Deleted bool
}

// Watcher finds what changed. It belongs to one goroutine. The last value of each key is told, and its end; values in
// between may be left out. It remembers the keys that it told of.
type Watcher struct {
	t      *Table
	q      query
	seen   [MaxStripes]uint64 // every change of the stripe up to this revision was told, or its bucket waits
	bucket int                // that of the one key that is watched, 0 for a prefix
	at     instant            // in place of seen, if it is one key
	newer  [MaxStripes]uint64 // values that are not newer were told
	known  map[int]*known
	bytes  int // of known keys
	expiry expiries
	some   []Entry
	marked map[int]bool // buckets that wait to be looked at
	next   int          // and as many as left from this number on, around
	left   int
}

// known is what was told of a bucket.
type known struct {
	bucket  int
	keys    []knownKey
	expires int64 // when the first of them does, 0: never
	index   int   // in the watcher's expiry
}

type knownKey struct {
	key     string
	rev     uint64
	expires int64
	met     bool // in the last look at its bucket
}

// expiries are the buckets that have to be looked at at some time, soonest first.
type expiries []*known

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].expires < e[j].expires }
func (e expiries) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].index, e[j].index = i, j
}

func (e *expiries) Push(x any) {
	k := x.(*known)
	k.index = len(*e)
	*e = append(*e, k)
}

func (e *expiries) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = nil
	*e = (*e)[:last]
	return x
}

// schedule notes when a bucket has to be looked at; 0: never.
func (w *Watcher) schedule(k *known, expires int64) {
	switch was := k.expires; {
	case was == expires:
	case was == 0:
		k.expires = expires
		heap.Push(&w.expiry, k)
	case expires == 0:
		heap.Remove(&w.expiry, k.index)
		k.expires = 0
	default:
		k.expires = expires
		heap.Fix(&w.expiry, k.index)
	}
}

// Watch begins to watch a key, or all that begin with a prefix. tell is called with what is there now; without it values are not even read.
func (t *Table) Watch(ctx context.Context, key string, exact bool, tell func(Event)) (*Watcher, error) {
	w := &Watcher{t: t, q: query{prefix: key, exact: exact}, known: map[int]*known{}, marked: map[int]bool{}}
	for i := range t.stripes {
		w.seen[i] = t.stripes[i].revision.Load() // before the look: what comes later will be news
	}
	if exact {
		w.bucket = t.bucket(t.hash(key))
		w.at = w.instant()
	}
	w.markAll()
	if w.q.values = tell != nil; tell == nil {
		tell = func(Event) {}
	}
	for used := 0; w.waits(); {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		n, err := w.piece(ctx, tell)
		if err != nil {
			return nil, err
		}
		if used += n; used > most*t.budget().bytes {
			return nil, w.tooMuch()
		}
	}
	w.q.values = true
	return w, nil
}

// instant is a state of one bucket: the head changes with every change in it, and the epoch when
// everything is cleared.
type instant struct{ head, epoch uint64 }

func (w *Watcher) instant() instant {
	return instant{w.t.span.U64(w.bucket).Load(), w.t.epoch.Load()}
}

// Changed reports whether what is watched may have changed since, or a Poll did not tell everything. Of
// one key only changes in its bucket count, whatever else happens in the table.
func (w *Watcher) Changed() bool {
	if w.bucket != 0 {
		return w.waits() || w.instant() != w.at
	}
	for i := range w.t.stripes {
		if w.t.stripes[i].revision.Load() != w.seen[i] {
			return true
		}
	}
	return w.waits()
}

func (w *Watcher) waits() bool { return len(w.marked) > 0 || w.left > 0 }

// Ready reports whether there may be something to tell. While the watcher's goroutine sleeps, others may ask.
func (w *Watcher) Ready() bool {
	return w.Changed() || len(w.expiry) > 0 && w.expiry[0].expires <= w.t.now()
}

// Expires is for how long, at most, nothing that is known expires; ok is false if nothing does.
func (w *Watcher) Expires() (in time.Duration, ok bool) {
	if len(w.expiry) == 0 {
		return 0, false
	}
	return time.Duration(w.expiry[0].expires - w.t.now()), true
}

// Poll tells what has changed since the last call; of much it tells a part, and Changed says that there is more.
func (w *Watcher) Poll(ctx context.Context, tell func(Event)) error {
	if !w.waits() {
		w.newer = w.seen
	}
	for i := range w.t.stripes {
		s := &w.t.stripes[i]
		if now := s.revision.Load(); now != w.seen[i] {
			if w.bucket == 0 && !w.markLogged(s, now) {
				w.markAll()
			}
			w.seen[i] = now
		}
	}
	if w.bucket != 0 {
		if now := w.instant(); now != w.at {
			w.mark(w.bucket)
			w.at = now
		}
	}
	if len(w.expiry) > 0 {
		for now := w.t.now(); len(w.expiry) > 0 && w.expiry[0].expires <= now; {
			w.mark(w.expiry[0].bucket)
			w.schedule(w.expiry[0], 0)
		}
	}
	_, err := w.piece(ctx, tell)
	return err
}

func (w *Watcher) mark(bucket int) { w.marked[bucket] = true }

// markAll marks every bucket that may matter. Where it has got to it goes on: if it happens again and again, no bucket waits for ever.
func (w *Watcher) markAll() {
	if w.bucket != 0 {
		w.mark(w.bucket)
		return
	}
	clear(w.marked)
	w.left = int(w.t.geo.Buckets)
}

// markLogged marks the buckets that the change log names; false if it does not go back that far, or names all.
func (w *Watcher) markLogged(s *stripe, now uint64) bool {
	t, seen := w.t, w.seen[s.i]
	if now < seen || now-seen > t.logged()-1 { // the entry behind the last may be in the making
		return false
	}
	for rev := seen + 1; rev <= now; rev++ {
		v := t.span.U64(s.logAt(rev)).Load()
		if uint32(v>>32) != uint32(rev) || v&all >= t.geo.Buckets {
			return false // overwritten meanwhile, or a Clear, or nonsense
		}
		if b := int(v & all); (b-w.next)&int(t.mask) >= w.left {
			w.mark(t.buckets + b*bucketSize)
		}
	}
	return true
}

// pieceBytes is about how much is read at a time: what was told has to be kept until somebody takes it.
const pieceBytes = 1 << 20

// piece looks at buckets that wait. It returns about how many bytes it read.
func (w *Watcher) piece(ctx context.Context, tell func(Event)) (read int, err error) {
	for buckets := 0; read+buckets*bucketSize < pieceBytes; buckets++ {
		bucket := 0
		for bucket = range w.marked {
			break
		}
		switch {
		case bucket != 0:
			delete(w.marked, bucket)
		case w.left > 0:
			bucket = w.t.buckets + w.next*bucketSize
			w.next = (w.next + 1) & int(w.t.mask)
			w.left--
		default:
			return read, nil
		}
		if err := w.look(ctx, bucket, tell); err != nil {
			w.mark(bucket) // it is still to be told
			return read, err
		}
		read += w.q.used(w.t)
	}
	return read, nil
}

// read collects what the bucket has now, values of what is newer.
func (w *Watcher) read(ctx context.Context, bucket int, newer uint64) (err error) {
	w.q.now, w.q.room = 0, w.t.budget()
	w.q.newer = newer
	w.some, err = w.t.collect(ctx, w.some[:0], bucket, &w.q)
	return err
}

// look tells how a bucket differs from what is known of it.
func (w *Watcher) look(ctx context.Context, bucket int, tell func(Event)) error {
	newer := w.newer[w.t.stripeOf(w.t.number(bucket)).i]
	if err := w.read(ctx, bucket, newer); err != nil {
		return err
	}
	k := w.known[bucket]
	if k == nil {
		if len(w.some) == 0 {
			return nil
		}
		k = &known{bucket: bucket}
		w.known[bucket] = k
	}
	index := indexOf(k.keys)
	for i := range w.some { // what is no news was told, they say; does nobody know of it? A clock that was set back does that.
		e := &w.some[i]
		if j, ok := index(e.Key); e.Revision <= newer && (!ok || k.keys[j].rev != e.Revision) {
			if err := w.read(ctx, bucket, 0); err != nil {
				return err
			}
			break
		}
	}
	for _, e := range w.some {
		i, ok := index(e.Key)
		if ok && k.keys[i].rev == e.Revision {
			k.keys[i].met = true
			continue
		}
		if !ok {
			k.keys = append(k.keys, knownKey{key: e.Key})
			i = len(k.keys) - 1
			w.bytes += len(e.Key)
		}
		k.keys[i].rev, k.keys[i].expires, k.keys[i].met = e.Revision, e.Expires, true
		tell(Event{Entry: e})
	}
	w.forget(k, tell)
	clear(w.some) // values are the receiver's
	if w.bytes > most*w.t.budget().bytes {
		return w.tooMuch()
	}
	return nil
}

// most is how often what is read of all buckets may fill the heap: they are read one by one, and entries may move meanwhile.
const most = 8

func (w *Watcher) tooMuch() error {
	return corrupt("the buckets hold more than %d times what the heap has room for", most)
}

// forget tells of the keys of a bucket that were not met, and finds out when the next one expires.
func (w *Watcher) forget(k *known, tell func(Event)) {
	rest, soonest := k.keys[:0], int64(0)
	for _, key := range k.keys {
		if !key.met {
			w.bytes -= len(key.key)
			tell(Event{Entry: Entry{Key: key.key}, Deleted: true})
			continue
		}
		if key.expires != 0 && (soonest == 0 || key.expires < soonest) {
			soonest = key.expires
		}
		key.met = false
		rest = append(rest, key)
	}
	clear(k.keys[len(rest):])
	k.keys = rest
	if w.schedule(k, soonest); len(rest) == 0 {
		delete(w.known, k.bucket)
	}
}

// indexOf finds keys in a list. A few are searched one by one.
func indexOf(keys []knownKey) func(key string) (int, bool) {
	const few = 32
	if len(keys) <= few {
		return func(key string) (int, bool) {
			for i := range keys {
				if keys[i].key == key {
					return i, true
				}
			}
			return 0, false
		}
	}
	index := make(map[string]int, len(keys))
	for i := range keys {
		index[keys[i].key] = i
	}
	return func(key string) (int, bool) {
		i, ok := index[key]
		return i, ok
	}
}

// Event is what watchers sleep on.
func (w *Watcher) Event() wait.Event { return w.t.event }
