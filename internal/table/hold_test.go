package table

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

const (
	stopped = 7 // tokens of a process that lives and does nothing,
	deadOne = 6 // and of one that is dead
	limit   = 10 * time.Second
)

// eight is a table of eight stripes with a key in each.
func eight(t *testing.T) (w *world, tb *Table, keys []string) {
	w = newWorld(Geometry{Buckets: 16, Stripes: 8, Size: 256 << 10})
	w.dead.Store(uint32(deadOne), true)
	tb = w.open(1)
	not := map[string]bool{}
	for i := range 8 {
		keys = append(keys, inBucket(tb, i*int(tb.own()), not))
		for range 2 { // there is a spare block: changing it needs no heap
			must(t, second(tb.Set(bg, keys[i], []byte("first"), Change{})))
		}
	}
	return w, tb, keys
}

// within is a context that ends only if something hangs.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(bg, limit)
	t.Cleanup(cancel)
	return ctx
}

// TestStoppedWriterAndAllStripes: while somebody waits for all stripes because of one whose writer
// is stopped, the others can be changed.
func TestStoppedWriterAndAllStripes(t *testing.T) {
	for name, op := range map[string]func(ctx context.Context, tb *Table) error{
		"Clear": func(ctx context.Context, tb *Table) error { return tb.Clear(ctx) },
		"Check": func(ctx context.Context, tb *Table) error { return tb.Check(ctx) },
		"All":   func(ctx context.Context, tb *Table) error { return second(tb.All(ctx, "", true)) },
	} {
		t.Run(name, func(t *testing.T) {
			for at := range 8 {
				w, tb, keys := eight(t)
				other := (at + 1) % 8
				lock := w.span.U32(WriterLock(at))
				lock.Store(stopped)
				tb.stripes[at].armed.Store(1) // two changes under way: no snapshot
				tb.stripes[other].armed.Store(1)
				tb.stripes[other].row.s[0].off = 0
				w.span.U64(tb.stripes[other].row.redo).Store(uint64(tb.stripes[other].base + offHand))
				ctx, cancel := context.WithCancel(bg)
				done := make(chan error)
				waiter := w.open(2)
				go func() { done <- op(ctx, waiter) }()
				asleep := func() bool { return len(wordlock.Inspect(w.span, WriterLock(at)).Waiters) > 0 }
				for start := time.Now(); !asleep() && time.Since(start) < limit; {
					time.Sleep(time.Millisecond)
				}
				for range 3 {
					for i, key := range keys {
						if i != at {
							if _, err := tb.Set(within(t), key, []byte("second"), Change{}); err != nil {
								t.Errorf("stripe %d is stopped, %d cannot be changed: %v", at, i, err)
							}
						}
					}
				}
				cancel()
				is(t, <-done, context.Canceled)
				tb.stripes[at].armed.Store(0)
				lock.Store(0)
				must(t, tb.Check(within(t)))
			}
		})
	}
}

// TestAllStripesAmongWriters: whoever wants all stripes gets them although others have each of them
// nearly all the time.
func TestAllStripesAmongWriters(t *testing.T) {
	w, tb, keys := eight(t)
	stop := make(chan struct{})
	var writers []chan error
	var begun sync.WaitGroup
	for i, key := range keys {
		done := make(chan error)
		writers = append(writers, done)
		view := w.open(uint32(10 + i))
		begun.Add(1)
		first := sync.OnceFunc(begun.Done)
		go func() {
			for {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				if err := view.stripeOf(view.hash(key)).acquire(bg); err != nil {
					done <- err
					return
				}
				first()
				time.Sleep(2 * time.Millisecond)
				view.stripeOf(view.hash(key)).unlock()
			}
		}()
	}
	begun.Wait()
	for range 3 {
		must(t, tb.Clear(within(t)))
		must(t, tb.Check(within(t)))
	}
	close(stop)
	for _, done := range writers {
		must(t, <-done)
	}
}

// halfDone leaves a dead writer in the stripe of a key, which it had begun to change.
func halfDone(t *testing.T, w *world, tb *Table, key string) {
	t.Helper()
	s := tb.stripeOf(tb.hash(key))
	var now int64
	must(t, s.acquire(bg))
	p, err := s.find(key, tb.hash(key), &now)
	must(t, err)
	r := s.begin()
	s.removal(r, &p)
	s.announce(r, p.bucket)
	for i := range r.n {
		w.span.U64(r.redo + 16*i).Store(uint64(r.s[i].off))
		w.span.U64(r.redo + 16*i + 8).Store(r.s[i].v)
	}
	s.armed.Store(uint64(r.n))
	w.span.U32(WriterLock(s.i)).Store(deadOne)
}

// TestSettleDoesNotWait: a watcher that finds dead writers neither waits for a heap that somebody
// stopped has, nor keeps their stripes; as soon as the heap is free it is told.
func TestSettleDoesNotWait(t *testing.T) {
	w, tb, keys := eight(t)
	watcher, err := tb.Watch(bg, "", false, nil)
	must(t, err)
	for _, key := range keys[:6] {
		halfDone(t, w, tb, key)
	}
	heap := w.span.U32(HeapLock)
	heap.Store(stopped)
	settle := func() (did bool) {
		t.Helper()
		done := make(chan error, 1)
		go func() {
			var err error
			did, err = tb.Settle()
			done <- err
		}()
		select {
		case err := <-done:
			must(t, err)
		case <-time.After(limit):
			t.Fatal("it waits")
		}
		return did
	}
	for range 3 {
		settle()
		for i := range 6 {
			if o := wordlock.Inspect(w.span, WriterLock(i)).Owner; o != 0 && o != deadOne {
				t.Errorf("stripe %d is held by %d", i, o)
			}
		}
	}
	must(t, second(tb.Set(within(t), keys[7], []byte("new"), Change{})))
	var told []string
	tell := func(e Event) { told = append(told, e.Key) }
	polled(t, watcher, tell)
	if len(told) != 1 || told[0] != keys[7] {
		t.Errorf("told of %v", told)
	}
	ctx, cancel := context.WithCancelCause(bg)
	cancel(errEnded)
	is(t, second(tb.Set(ctx, keys[0], nil, Change{})), errEnded)
	heap.Store(0)
	if !settle() {
		t.Error("nothing was settled")
	}
	polled(t, watcher, tell)
	if len(told) != 7 {
		t.Errorf("told of %v", told)
	}
	must(t, tb.Check(within(t)))
}

// TestReaderDoesNotWaitForTheHeap: it takes the lock of a dead writer, and gives it back.
func TestReaderDoesNotWaitForTheHeap(t *testing.T) {
	w, tb, keys := eight(t)
	halfDone(t, w, tb, keys[0])
	s := tb.stripeOf(tb.hash(keys[0]))
	w.span.U32(HeapLock).Store(stopped)
	if done, err := s.readLocked(bg, limit, func() result { return found }); done || err != errHeapBusy {
		t.Errorf("%v, %v", done, err)
	}
	if s.lock.Held() {
		t.Error("it keeps the lock")
	}
}

// TestRingsWhenSomethingChanged: watchers are woken by what has changed, by whomever it is
// finished, and by nothing else.
func TestRingsWhenSomethingChanged(t *testing.T) {
	_, _, keys := eight(t)
	dead := func(t *testing.T, w *world, tb *Table) { halfDone(t, w, tb, keys[0]) }
	silent := func(t *testing.T, w *world, tb *Table) { // died between its change and the telling
		w.span.U32(WriterLock(tb.stripeOf(tb.hash(keys[0])).i)).Store(deadOne)
	}
	reads := func(tb *Table) error {
		return second(tb.stripeOf(tb.hash(keys[0])).readLocked(bg, limit, func() result { return found }))
	}
	for _, c := range []struct {
		name  string
		setup func(t *testing.T, w *world, tb *Table)
		op    func(tb *Table) error
		want  error
		rings bool
	}{
		{"Set", nil, func(tb *Table) error { return second(tb.Set(bg, keys[0], nil, Change{})) }, nil, true},
		{"Create that fails", nil, func(tb *Table) error {
			return second(tb.Set(bg, keys[0], nil, Change{Condition: IfAbsent}))
		}, errs.ErrExist, false},
		{"Update that fails", nil, func(tb *Table) error {
			return second(tb.Set(bg, keys[0], nil, Change{Condition: IfSame, Revision: 99}))
		}, errs.ErrConflict, false},
		{"Set without room", nil, func(tb *Table) error {
			return second(tb.Set(bg, keys[0], make([]byte, 230_900), Change{}))
		}, errs.ErrFull, false},
		{"Expire that fails", nil, func(tb *Table) error {
			return second(tb.Expire(bg, "none", Change{}))
		}, errs.ErrNotExist, false},
		{"Delete", nil, func(tb *Table) error { return second(tb.Delete(bg, keys[0], Change{})) }, nil, true},
		{"Delete that fails", nil, func(tb *Table) error {
			return second(tb.Delete(bg, "none", Change{}))
		}, errs.ErrNotExist, false},
		{"Clear", nil, func(tb *Table) error { return tb.Clear(bg) }, nil, true},
		{"Check", nil, func(tb *Table) error { return tb.Check(bg) }, nil, false},
		{"Reclaim of nothing", nil, func(tb *Table) error { return second(tb.Reclaim(bg)) }, nil, false},
		{"Reclaim", func(t *testing.T, w *world, tb *Table) {
			must(t, second(tb.Expire(bg, keys[0], Change{Expiry: After, Time: 5})))
			w.clock.Add(10)
		}, func(tb *Table) error { return second(tb.Reclaim(bg)) }, nil, true},
		{"a reader after a death", dead, reads, nil, true},
		{"a reader after a death before the telling", silent, reads, nil, true},
		{"Settle after that", silent, func(tb *Table) error { return second(tb.Settle()) }, nil, true},
		{"a reader", nil, reads, nil, false},
		{"Check after a death", dead, func(tb *Table) error { return tb.Check(bg) }, nil, true},
		{"Create that fails, after a death", dead, func(tb *Table) error {
			return second(tb.Set(bg, keys[0], nil, Change{Condition: IfPresent}))
		}, errs.ErrNotExist, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, tb, _ := eight(t)
			if c.setup != nil {
				c.setup(t, w, tb)
			}
			armed := tb.Event().Arm()
			is(t, c.op(tb), c.want)
			if rung := tb.Event().Word().Load() != armed; rung != c.rings {
				t.Errorf("watchers are woken: %v", rung)
			}
		})
	}
}

// TestWatchOneKey: only changes in its bucket count, and what empties it.
func TestWatchOneKey(t *testing.T) {
	w := newWorld(Geometry{Buckets: 16, Size: 128 << 10})
	tb, not := w.open(1), map[string]bool{}
	mine, near, far := inBucket(tb, 3, not), inBucket(tb, 3, not), inBucket(tb, 4, not)
	watcher, err := tb.Watch(bg, mine, true, nil)
	must(t, err)
	told := ""
	for _, c := range []struct {
		what    string
		do      func() error
		changed bool
		told    string
	}{
		{"another bucket", func() error { return second(tb.Set(bg, far, nil, Change{})) }, false, ""},
		{"its bucket", func() error { return second(tb.Set(bg, near, nil, Change{})) }, true, ""},
		{"itself", func() error { return second(tb.Set(bg, mine, []byte("1"), Change{})) }, true, "1"},
		{"another delete", func() error { return second(tb.Delete(bg, far, Change{})) }, false, ""},
		{"Clear", func() error { return tb.Clear(bg) }, true, "deleted"},
		{"itself again", func() error { return second(tb.Set(bg, mine, []byte("2"), Change{})) }, true, "2"},
		{"Delete", func() error { return second(tb.Delete(bg, mine, Change{})) }, true, "deleted"},
	} {
		must(t, c.do())
		if watcher.Changed() != c.changed || watcher.Ready() != c.changed {
			t.Errorf("%s: changed is %v", c.what, watcher.Changed())
		}
		told = ""
		polled(t, watcher, func(e Event) {
			if told = string(e.Value); e.Deleted {
				told = "deleted"
			}
		})
		if told != c.told {
			t.Errorf("%s: told %q, not %q", c.what, told, c.told)
		}
	}
}

// restless is a context that changes a bucket whenever it is asked, and ends in the end.
type restless struct {
	context.Context
	change func()
	left   int
}

func (r *restless) Err() error {
	if r.left--; r.left < 0 {
		return errEnded
	}
	r.change()
	return nil
}

// TestReadingEndsWithItsContext: also where a bucket changes all the time, and in the middle of a
// large value.
func TestReadingEndsWithItsContext(t *testing.T) {
	w := newWorld(Geometry{Buckets: 64, Size: 4 << 20})
	tb := w.open(1)
	const key = "large"
	must(t, second(tb.Set(bg, key, make([]byte, 3*copyPiece), Change{})))
	bucket := tb.bucket(tb.hash(key))
	head := w.span.U64(bucket)
	for what, op := range map[string]func(ctx context.Context) error{
		"All": func(ctx context.Context) error { return second(tb.All(ctx, "", true)) },
		"Scan": func(ctx context.Context) error {
			_, _, err := tb.Scan(ctx, 0, "")
			return err
		},
		"Watch": func(ctx context.Context) error {
			return second(tb.Watch(ctx, "", false, func(Event) {}))
		},
		"Watch of a key": func(ctx context.Context) error {
			return second(tb.Watch(ctx, key, true, func(Event) {}))
		},
		"again": func(ctx context.Context) error {
			return tb.stripeOf(tb.number(bucket)).again(ctx, func() result { return changed })
		},
	} {
		for looks := range 40 {
			ctx := &restless{bg, func() { head.Store(step(head.Load())) }, looks}
			if err := op(ctx); !errors.Is(err, errEnded) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	locked := query{values: true, locked: true, room: tb.budget()}
	is(t, second(tb.collect(&restless{bg, func() {}, 1}, nil, bucket, &locked)), errEnded)
}

// TestWrongKeyUnlock harms only its caller.
func TestWrongKeyUnlock(t *testing.T) {
	w := newWorld(Geometry{Buckets: 8, Locks: 2})
	mine, others := w.open(1), w.open(2)
	l, _, err := mine.LockKey(bg, "a", false, Kept)
	must(t, err)
	must(t, l.Unlock())
	o, _, err := others.LockKey(bg, "a", false, Kept)
	must(t, err)
	w.span.U32(mine.record(o.i) + 28).Store(1) // damaged
	is(t, l.Repaired(), errs.ErrConflict)
	is(t, l.Unlock(), errs.ErrConflict)
	if !o.lock.Mine() || o.inside.Load() != 1 || o.lock.Damaged().Load() != 1 {
		t.Error("the lock of another process was changed")
	}
	must(t, o.Repaired())
	must(t, o.Unlock())
	is(t, o.Unlock(), errs.ErrConflict)
}
