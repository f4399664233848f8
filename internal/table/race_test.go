package table

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// number is a value that shows when it is torn: n, over and over.
func number(n uint64, size int) []byte {
	b := make([]byte, 8*size)
	for i := range size {
		binary.LittleEndian.PutUint64(b[8*i:], n)
	}
	return b
}

func numberOf(b []byte) (n uint64, err error) {
	if len(b) < 8 {
		return 0, fmt.Errorf("%d bytes", len(b))
	}
	n = binary.LittleEndian.Uint64(b)
	if !bytes.Equal(b, number(n, len(b)/8)) {
		return 0, fmt.Errorf("torn: %x", b)
	}
	return n, nil
}

// TestConcurrently: readers see whole values that never go back, whatever writers, deleters and an evicting table do.
func TestConcurrently(t *testing.T) {
	for _, evict := range []bool{false, true} {
		t.Run(fmt.Sprintf("evict=%v", evict), func(t *testing.T) {
			w := newWorld(Geometry{Buckets: 8, Evict: evict, Size: 64 << 10})
			const keys, rounds = 12, 4000 / slowdown
			var wg sync.WaitGroup
			var stop atomic.Bool
			var highest [keys]atomic.Uint64
			for i := range 2 {
				tb := w.open(uint32(1 + i))
				wg.Go(func() {
					defer stop.Store(true)
					for n := range rounds {
						k := (n*7 + i) % keys
						key := fmt.Sprint("key", k)
						var err error
						switch n % 11 {
						case 10:
							_, err = tb.Delete(bg, key, Change{})
						case 9:
							_, err = tb.Expire(bg, key, Change{Expiry: After, Time: 1e9})
						default:
							size := 1 + n%60
							if n%50 == 0 {
								size = 900
							}
							_, err = tb.Set(bg, key, number(uint64(n), size), Change{})
							highest[k].Add(1)
						}
						if err != nil && !errors.Is(err, errs.ErrNotExist) && !errors.Is(err, errs.ErrFull) {
							t.Error(err)
							return
						}
						if n%500 == 499 {
							err := tb.Clear(bg)
							if err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
			for i := range 2 {
				tb := w.open(uint32(10 + i))
				wg.Go(func() {
					var seen [keys]uint64
					buf := make([]byte, 0, 8<<10)
					for n := 0; !stop.Load(); n++ {
						k := n % keys
						b, m, err := getOf(tb, buf[:0], fmt.Sprint("key", k))
						if errors.Is(err, errs.ErrNotExist) {
							continue
						}
						if err == nil {
							_, err = numberOf(b)
						}
						if err != nil {
							t.Error(err)
							return
						}
						if m.Revision < seen[k] {
							t.Errorf("revision %d after %d", m.Revision, seen[k])
						}
						seen[k] = m.Revision
					}
				})
			}
			wg.Go(func() {
				tb := w.open(20)
				for !stop.Load() {
					all, err := tb.All(bg, "key", true)
					if err != nil {
						t.Error(err)
						return
					}
					for _, e := range all {
						if _, err := numberOf(e.Value); err != nil {
							t.Error(err)
						}
					}
					if _, err := tb.Stats(); err != nil {
						t.Error(err)
					}
				}
			})
			told := map[string]uint64{}
			tell := func(e Event) {
				if e.Deleted {
					delete(told, e.Key)
					return
				}
				if _, err := numberOf(e.Value); err != nil {
					t.Error(err)
				}
				if e.Revision < told[e.Key] {
					t.Errorf("told of revision %d after %d", e.Revision, told[e.Key])
				}
				told[e.Key] = e.Revision
			}
			tb := w.open(21)
			watcher, err := tb.Watch(bg, "key", false, tell)
			must(t, err)
			for !stop.Load() {
				must(t, watcher.Poll(bg, tell))
			}
			wg.Wait()
			must(t, watcher.Poll(bg, tell))
			must(t, tb.Check(bg))
			all, err := tb.All(bg, "", false)
			must(t, err)
			if len(all) != len(told) {
				t.Errorf("told of %d keys, %d are there", len(told), len(all))
			}
			for _, e := range all {
				if told[e.Key] != e.Revision {
					t.Errorf("%s: told of revision %d, there is %d", e.Key, told[e.Key], e.Revision)
				}
			}
		})
	}
}

// TestLargeValueAndFastWriters: a reader that copies for longer than the value stands gets it in the end.
func TestLargeValueAndFastWriters(t *testing.T) {
	w := newWorld(Geometry{Buckets: 64, Size: 4 << 20})
	large := number(1, 20_000)
	must(t, second(w.open(1).Set(bg, "large", large, Change{})))
	same := ""
	for i := 0; ; i++ { // another key in its bucket
		if tb := w.open(1); tb.bucket(tb.hash(fmt.Sprint(i))) == tb.bucket(tb.hash("large")) {
			same = fmt.Sprint(i)
			break
		}
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		tb := w.open(2)
		for !stop.Load() {
			if _, err := tb.Set(bg, same, nil, Change{}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	tb := w.open(3)
	for range 8 {
		b, _, err := getOf(tb, nil, "large")
		must(t, err)
		if !bytes.Equal(b, large) {
			t.Fatal("torn")
		}
	}
	stop.Store(true)
	wg.Wait()
}

func second[T any](_ T, err error) error { return err }

// TestKeyLocks: of one key there is one holder at a time, however few records there are.
func TestKeyLocks(t *testing.T) {
	w := newWorld(Geometry{Buckets: 8, Locks: 3})
	var inside [6]atomic.Int32
	var wg sync.WaitGroup
	for i := range 3 { // as many as there are records: nobody finds them all held
		tb := w.open(uint32(1 + i))
		wg.Go(func() {
			for n := range 800 {
				k := (n*5 + i*n) % len(inside)
				l, died, err := tb.LockKey(bg, fmt.Sprint("key", k), n%3 == 0, Kept)
				if errors.Is(err, errs.ErrBusy) && n%3 == 0 {
					continue
				}
				if err != nil || died {
					t.Error(died, err)
					return
				}
				if inside[k].Add(1) != 1 {
					t.Error("not alone")
				}
				inside[k].Add(-1)
				l.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestKeyLockDeath(t *testing.T) {
	w := newWorld(Geometry{Buckets: 8, Locks: 2})
	victim, tb := w.open(2), w.open(1)
	lock := func(key string) (*KeyLock, bool) {
		t.Helper()
		l, died, err := tb.LockKey(bg, key, false, Kept)
		must(t, err)
		return l, died
	}
	_, _, err := victim.LockKey(bg, "a", false, Kept)
	must(t, err)
	_, _, err = tb.LockKey(bg, "a", true, Kept)
	is(t, err, errs.ErrBusy)
	w.dead.Store(uint32(2), true)
	l, died := lock("b") // does not take the record that the dead one holds for a
	if died {
		t.Error("told of a death that was with another key")
	}
	_, _, err = tb.LockKey(bg, "c", false, Kept)
	is(t, err, errs.ErrFull)
	la, died := lock("a")
	if !died {
		t.Error("not told of the death")
	}
	la.Unlock()
	_, _, err = tb.LockKey(bg, "c", false, Kept) // still damaged: it keeps its record
	is(t, err, errs.ErrFull)
	if la, died = lock("a"); !died {
		t.Error("not told once more")
	}
	la.Repaired()
	la.Unlock()
	if la, died = lock("a"); died {
		t.Error("told after the repair")
	}
	if n := len(tb.KeyLocks()); n != 2 {
		t.Errorf("%d key locks are held", n)
	}
	la.Unlock()
	l.Unlock()
	if lc, died := lock("c"); died || lc == nil {
		t.Error("no record for a third key")
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	_, _, err = tb.LockKey(ctx, "c", false, Kept)
	is(t, err, context.Canceled)
}

// TestTryKeyLockDoesNotWait: also not for somebody who is stopped while he gives a record to a key.
func TestTryKeyLockDoesNotWait(t *testing.T) {
	w := newWorld(Geometry{Buckets: 8, Locks: 2})
	tb := w.open(1)
	w.span.U32(BindingLock).Store(7) // lives
	_, _, err := tb.LockKey(bg, "a", true, Kept)
	is(t, err, errs.ErrBusy)
	w.dead.Store(uint32(7), true)
	l, died, err := tb.LockKey(bg, "a", true, Kept)
	must(t, err)
	if died {
		t.Error("told of a death that was not inside")
	}
	l.Unlock()
}
