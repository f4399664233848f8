package table

import (
	"container/heap"
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
	seen   uint64 // every change up to this revision was told
	known  map[int][]known
	bytes  int // of known keys
	expiry expiries
	some   []Entry
	marked map[int]bool
}

// known is a key that was told.
type known struct {
	key string
	rev uint64
	met bool // in the last look at its bucket
}

// expiries are the times at which buckets have to be looked at, soonest first.
type expiries []expiry

type expiry struct {
	time   int64
	bucket int
}

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].time < e[j].time }
func (e expiries) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *expiries) Push(x any)        { *e = append(*e, x.(expiry)) }
func (e *expiries) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}

// Watch begins to watch a key, or all that begin with a prefix. tell is called with what is there now.
func (t *Table) Watch(key string, exact bool, tell func(Event)) (*Watcher, error) {
	w := &Watcher{t: t, q: query{prefix: key, exact: exact, values: true}, known: map[int][]known{}, marked: map[int]bool{}}
	w.q.room = t.budget()
	return w, w.lookAll(tell)
}

// Changed reports whether the table has changed since.
func (w *Watcher) Changed() bool { return w.t.revision.Load() != w.seen }

// Ready reports whether there may be something to tell. While the watcher's goroutine sleeps, others may ask.
func (w *Watcher) Ready() bool {
	return w.Changed() || len(w.expiry) > 0 && w.expiry[0].time <= w.t.now()
}

// Expires is for how long, at most, nothing that is known expires; ok is false if nothing does.
func (w *Watcher) Expires() (in time.Duration, ok bool) {
	if len(w.expiry) == 0 {
		return 0, false
	}
	return time.Duration(w.expiry[0].time - w.t.now()), true
}

// Poll tells what has changed since the last call.
func (w *Watcher) Poll(tell func(Event)) error {
	w.q.newer, w.q.room = w.seen, w.t.budget()
	if now := w.t.revision.Load(); now != w.seen {
		if w.q.exact {
			w.mark(w.t.bucket(w.t.hash(w.q.prefix)))
		} else if !w.markLogged(now) {
			return w.lookAll(tell)
		}
		w.seen = now
	}
	if len(w.expiry) > 0 {
		for now := w.t.now(); len(w.expiry) > 0 && w.expiry[0].time <= now; heap.Pop(&w.expiry) {
			w.mark(w.expiry[0].bucket)
		}
	}
	for b := range w.marked {
		delete(w.marked, b)
		if err := w.look(b, tell); err != nil {
			return err
		}
	}
	return nil
}

func (w *Watcher) mark(bucket int) { w.marked[bucket] = true }

// markLogged marks the buckets that the change log names; false if it does not go back that far, or names all.
func (w *Watcher) markLogged(now uint64) bool {
	t := w.t
	if now < w.seen || now-w.seen > t.geo.Log-1 { // the entry behind the last may be in the making
		return false
	}
	for rev := w.seen + 1; rev <= now; rev++ {
		v := t.span.U64(t.logAt(rev)).Load()
		if uint32(v>>32) != uint32(rev) || v&all >= t.geo.Buckets {
			return false // overwritten meanwhile, or a Clear, or nonsense
		}
		w.mark(t.buckets + int(v&all)*bucketSize)
	}
	return true
}

// lookAll looks at every bucket that may matter.
func (w *Watcher) lookAll(tell func(Event)) error {
	clear(w.marked)
	w.seen = w.t.revision.Load() // before the look: what comes later will be news
	if w.q.exact {
		return w.look(w.t.bucket(w.t.hash(w.q.prefix)), tell)
	}
	for i := range int(w.t.geo.Buckets) {
		if err := w.look(w.t.buckets+i*bucketSize, tell); err != nil {
			return err
		}
	}
	return nil
}

// look tells how a bucket differs from what is known of it.
func (w *Watcher) look(bucket int, tell func(Event)) (err error) {
	w.q.now = 0
	if w.some, err = w.t.collect(w.some[:0], bucket, &w.q); err != nil {
		return err
	}
	keys := w.known[bucket]
	index := indexOf(keys)
	for _, e := range w.some {
		i, ok := index(e.Key)
		if ok && keys[i].rev == e.Revision {
			keys[i].met = true
			continue
		}
		if e.Revision <= w.q.newer { // it was told, they say; nobody knows of it
			w.q.newer = 0
			return w.look(bucket, tell)
		}
		if !ok {
			keys = append(keys, known{key: e.Key})
			i = len(keys) - 1
			w.bytes += len(e.Key)
		}
		keys[i].rev, keys[i].met = e.Revision, true
		if e.Expires != 0 {
			heap.Push(&w.expiry, expiry{e.Expires, bucket})
		}
		tell(Event{Entry: e})
	}
	rest := keys[:0]
	for _, k := range keys {
		if !k.met {
			w.bytes -= len(k.key)
			tell(Event{Entry: Entry{Key: k.key}, Deleted: true})
			continue
		}
		k.met = false
		rest = append(rest, k)
	}
	if len(rest) == 0 {
		delete(w.known, bucket)
	} else {
		w.known[bucket] = rest
	}
	clear(w.some) // values are the receiver's
	if w.bytes > w.t.budget().bytes {
		return corrupt("there are more keys than the heap has room for")
	}
	return nil
}

// indexOf finds keys in a list. A few are searched one by one.
func indexOf(keys []known) func(key string) (int, bool) {
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
