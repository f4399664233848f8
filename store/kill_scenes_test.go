package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/table"
)

// sets is a Set, and its effect.
func sets(key string, size int, opts ...SetOption) (operation, effect) {
	value := text("victim ", size)
	return now(func(v *world) error { return v.set(key, value, opts...) }), func(c content) { c[key] = value }
}

func has(key string, size int, opts ...SetOption) func(w *world) error {
	return func(w *world) error { return w.set(key, text("first ", size), opts...) }
}

func all(fs ...func(w *world) error) func(w *world) error {
	return func(w *world) error {
		for _, f := range fs {
			if err := f(w); err != nil {
				return err
			}
		}
		return nil
	}
}

// many are enough keys for overflow buckets.
func many(n int) func(w *world) error {
	return func(w *world) error {
		for i := range n {
			if err := w.set("many"+strconv.Itoa(i), "m"); err != nil {
				return err
			}
		}
		return nil
	}
}

// needsOverflow: the bucket of a new key has no free slot (docs/layout.md).
func (w *world) needsOverflow(key string) bool {
	g, err := geometryOf(w.st.obj.Header)
	if err != nil {
		panic(err)
	}
	at := int(g.Overhead()) - 64*int(g.Buckets-w.st.t.Hash(key)%g.Buckets)
	line := w.st.obj.Ctl.Line(at)
	for words, link := line[1:], line[0].Load(); ; {
		for i := range words {
			if words[i].Load() == 0 {
				return false
			}
		}
		if link>>32 == 0 {
			return true
		}
		line = w.st.obj.Ctl.Line(int(link>>32) * 64)
		words, link = line[2:], line[1].Load()
	}
}

func recovers(key string, size int) (operation, effect) {
	value := text("recoverer ", size)
	return now(func(v *world) error { return v.set(key, value) }), func(c content) { c[key] = value }
}

func expired(w *world) error {
	for i := range 6 {
		if err := w.set("old"+strconv.Itoa(i), text("o", 100*i), TTL(-1)); err != nil {
			return err
		}
	}
	return nil
}

// expire is expired, and nothing is changed since.
func expire(w *world) error {
	end := time.Now().Add(4 * time.Millisecond)
	for i := range 6 {
		if err := w.set("old"+strconv.Itoa(i), text("o", 100*i), ExpireAt(end)); err != nil {
			return err
		}
	}
	time.Sleep(time.Until(end))
	return nil
}

// fills leaves no room.
func fills(w *world) error {
	for i := 0; ; i++ {
		if err := w.set("fill"+strconv.Itoa(i), text("f", 300)); errors.Is(err, shiplap.ErrFull) {
			return nil
		} else if err != nil || i > 500 {
			return fmt.Errorf("%d entries: %w", i, err)
		}
	}
}

// spareElsewhere leaves no room but a block that is spare for keys that are changed with another lock than a key's.
func spareElsewhere(key string) func(w *world) error {
	return func(w *world) error {
		if err := fills(w); err != nil {
			return err
		}
		for i := 0; ; i++ {
			if old := "fill" + strconv.Itoa(i); w.stripe(old) != w.stripe(key) {
				return w.st.Delete(bg, old)
			}
		}
	}
}

// evicts fills a store that then evicts.
func evicts(w *world) error {
	for i := range 150 {
		if err := w.set("fill"+strconv.Itoa(i), text("f", 300)); err != nil {
			return err
		}
	}
	return nil
}

func deletes(key string) effect { return func(c content) { delete(c, key) } }

func without(key string) operation {
	return now(func(v *world) error { return v.st.Delete(bg, key) })
}

func scenes() []scene {
	setNew, newEffect := sets("a", 100)
	setSame, sameEffect := sets("a", 100)
	setLarge, largeEffect := sets("a", 1000)
	setFill, fillEffect := sets("a", 300)
	setTTL, ttlEffect := sets("a", 100, TTL(time.Hour))
	recover, recoverEffect := recovers("b", 100)
	recoverSame, recoverSameEffect := recovers("a", 100)
	holes := all(has("x", 300), has("a", 500), has("y", 900), has("z", 300), func(w *world) error {
		return errors.Join(w.st.Delete(bg, "x"), w.st.Delete(bg, "y"), flush(w))
	})
	scenes := []scene{
		{name: "Set, new key", covers: []string{"store.Store.Set"}, op: setNew, effect: newEffect, recover: recover, again: recoverEffect},
		{name: "Set, same size", setup: has("a", 100), op: setSame, effect: sameEffect, recover: recoverSame, again: recoverSameEffect},
		{name: "Set, between free blocks", setup: holes, op: setLarge, effect: largeEffect, recover: recover, again: recoverEffect},
		{name: "Set, with a time", setup: has("a", 300), op: setTTL, effect: ttlEffect, recover: recover, again: recoverEffect, slow: true},
		{name: "Set, others have expired", setup: all(has("a", 100), expire), op: setSame, effect: sameEffect},
		{name: "Set, larger, others have expired", setup: twoToFree, op: setLarge, effect: largeEffect, slow: true},
		{name: "Set, overflow", setup: fillsBucket("a"), op: setNew, effect: newEffect, recover: recover, again: recoverEffect},
		{name: "Set, growing", opt: Options{MaxBytes: 128 << 10, first: 8 << 10},
			setup: fillReserved, op: setLarge, effect: largeEffect, recover: recover, again: recoverEffect},
		{name: "Set, full", setup: fills, covers: nil,
			op: now(func(v *world) error {
				if err := v.set("a", text("x", 2000)); !errors.Is(err, shiplap.ErrFull) {
					return fmt.Errorf("%w, and there is no room", err)
				}
				return nil
			})},
		{name: "Set, room only with another writer", setup: spareElsewhere("a"), op: setFill, effect: fillEffect, recover: recover, again: recoverEffect},
		{name: "Set, evicting", opt: Options{MaxBytes: 64 << 10, Evict: true}, setup: evicts, loses: true,
			op: setLarge, effect: largeEffect, recover: recover, again: recoverEffect, slow: true},
		{name: "Create", covers: []string{"store.Store.Create"}, effect: newEffect, slow: true,
			op: now(func(v *world) error { _, err := v.st.Create(bg, "a", []byte(text("victim ", 100))); return err })},
		{name: "Update", covers: []string{"store.Store.Update"}, setup: has("a", 100), effect: sameEffect, slow: true,
			op: func(v *world) (func() error, error) {
				e, err := v.st.Entry("a")
				return func() error {
					_, err := v.st.Update(bg, "a", []byte(text("victim ", 100)), e.Revision)
					return err
				}, err
			}},
		{name: "Add", covers: []string{"store.Store.Add"}, setup: func(w *world) error { return w.set("a", "41") },
			op:      now(func(v *world) error { _, err := v.st.Add(bg, "a", 1); return err }),
			recover: now(func(v *world) error { _, err := v.st.Add(bg, "a", 1); return err }),
			effect:  adds, again: adds},
		{name: "Delete", covers: []string{"store.Store.Delete"}, setup: all(has("a", 100), has("b", 10)), op: without("a"), effect: deletes("a"),
			recover: without("b"), again: deletes("b")},
		{name: "Delete, between free blocks", setup: holes, op: without("a"), effect: deletes("a"), recover: recover, again: recoverEffect},
		{name: "Delete, overflow", setup: all(fillsBucket("a"), has("a", 100)), op: without("a"), effect: deletes("a"), recover: recover, again: recoverEffect},
		{name: "Delete, others have expired", setup: twoToFree, op: without("a"), effect: deletes("a"), slow: true},
		{name: "DeleteRev", covers: []string{"store.Store.DeleteRev"}, setup: has("a", 100), effect: deletes("a"), slow: true,
			op: func(v *world) (func() error, error) {
				e, err := v.st.Entry("a")
				return func() error { return v.st.DeleteRev(bg, "a", e.Revision) }, err
			}},
		{name: "Expire", covers: []string{"store.Store.Expire", "store.Store.Persist"}, setup: has("a", 500),
			op: now(func(v *world) error {
				return errors.Join(v.st.Expire(bg, "a", time.Hour), v.st.Persist(bg, "a"))
			}), slow: true},
		{name: "Clear", covers: []string{"store.Store.Clear"}, setup: many(20), op: now(func(v *world) error { return v.st.Clear(bg) }),
			effect: func(c content) { clear(c) }, recover: recover, again: recoverEffect},
		{name: "Reclaim", covers: []string{"store.Store.Reclaim"}, setup: all(expired, many(3)),
			op: now(func(v *world) error { _, err := v.st.Reclaim(bg); return err }), recover: recover, again: recoverEffect},
		{name: "Load", covers: []string{"store.Store.Load"}, slow: true,
			op: func(v *world) (func() error, error) {
				in := strings.NewReader(`{"key":"a","value":"` + text("victim ", 100) + `"}`)
				return func() error { _, err := v.st.Load(bg, in); return err }, nil
			}, effect: newEffect},
		{name: "Watch", covers: []string{"store.Store.Watch"}, setup: has("a", 10),
			op: now(func(v *world) error {
				for e, err := range v.st.Watch(bg, "a*", &WatchOptions{Initial: true}) {
					if err != nil || e.Key != "a" {
						return fmt.Errorf("%v, %w", e, err)
					}
					return nil
				}
				return errors.New("no event")
			})},
		{name: "Watch after a death", setup: deadWriter, slow: true,
			op: now(func(v *world) error { _, err := v.st.t.Settle(); return err }), recover: recover, again: recoverEffect},
		{name: "Watch after a death with blocks in its hands", setup: deadWithBlocks, slow: true,
			op: now(func(v *world) error { _, err := v.st.t.Settle(); return err }), recover: recover, again: recoverEffect},
		{name: "Close", covers: []string{"store.Store.Close"}, op: now(func(v *world) error { return v.st.Close() })},
	}
	return append(scenes, lockScenes()...)
}

// flush frees the spare blocks.
func flush(w *world) error {
	_, err := w.st.Reclaim(bg)
	return err
}

func adds(c content) {
	n, _ := strconv.Atoi(c["a"])
	c["a"] = strconv.Itoa(n + 1)
}

// fillsBucket leaves no free slot in the bucket of a key.
func fillsBucket(key string) func(w *world) error {
	return func(w *world) error {
		for i := 0; !w.needsOverflow(key); i++ {
			if err := w.set("more"+strconv.Itoa(i), ""); err != nil {
				return err
			}
		}
		return nil
	}
}

// fillReserved leaves no memory that is set aside.
func fillReserved(w *world) error {
	for i := 0; ; i++ {
		st, err := w.st.Stats()
		if err != nil {
			return err
		}
		if st.Overhead+st.Used+900 > st.Reserved {
			return nil
		}
		if err := w.set("fill"+strconv.Itoa(i), text("f", 400)); err != nil {
			return err
		}
	}
}

// deadWriter died after it had begun to let a change happen.
func deadWriter(w *world) error {
	if err := w.set("a", "half done"); err != nil {
		return err
	}
	w.st.obj.Ctl.U32(table.WriterLock(w.stripe("a"))).Store(deadToken)
	return nil
}

// deadWithBlocks died before it could give back to the heap what it had deleted.
func deadWithBlocks(w *world) error {
	spare := "b"
	for w.stripe(spare) != w.stripe("a") {
		spare += "b"
	}
	err := errors.Join(w.set("a", text("first ", 100)), w.set(spare, text("first ", 100)),
		w.st.Delete(bg, spare))
	letGo, err2 := ofHeap.Take(nil, w)
	if err = errors.Join(err, err2); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(bg, time.Millisecond)
	defer cancel()
	err = errors.Join(w.st.Delete(ctx, "a"), letGo())
	w.st.obj.Ctl.U32(table.WriterLock(w.stripe("a"))).Store(deadToken)
	return err
}

func lockScenes() []scene {
	lockOp := now(func(v *world) (err error) {
		v.lock, err = v.st.Lock(bg, "a")
		return err
	})
	wasLocked := func(w *world) error { // the record is bound to another key
		for _, key := range []string{"x", "y"} {
			l, err := w.st.Lock(bg, key)
			if err == nil {
				err = l.Unlock()
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	locked := func(v *world) (err error) {
		v.lock, err = v.st.Lock(bg, "a")
		return err
	}
	return []scene{
		{name: "Lock", covers: []string{"store.Store.Lock"}, op: lockOp, check: dieLocked(true), recover: now(lockUnlock)},
		{name: "Lock, record used before", setup: wasLocked, op: lockOp, check: dieLocked(true), recover: now(lockUnlock)},
		{name: "TryLock", covers: []string{"store.Store.TryLock"}, check: dieLocked(true), slow: true,
			op: now(func(v *world) (err error) { v.lock, err = v.st.TryLock("a"); return err })},
		{name: "Unlock", covers: []string{"store.KeyLock.Unlock"}, check: dieLocked(false),
			op: after(locked, func(v *world) error { return v.lock.Unlock() }), recover: now(lockUnlock)},
		{name: "Lock after a death", setup: deadLocker, check: dieDamaged, recover: now(lockUnlock),
			op: now(func(v *world) (err error) {
				if v.lock, err = v.st.Lock(bg, "a"); !errors.Is(err, shiplap.ErrOwnerDied) {
					return fmt.Errorf("not told of a death: %w", err)
				}
				return nil
			})},
		{name: "Repaired", covers: []string{"store.KeyLock.Repaired"}, setup: deadLocker, check: dieDamaged, slow: true,
			op: after(func(v *world) (err error) {
				v.lock, _ = v.st.Lock(bg, "a")
				return nil
			}, func(v *world) error { return errors.Join(v.lock.Repaired(), v.lock.Unlock()) })},
		{name: "Lock without damage", covers: []string{"store.NoDamage"}, check: dieHarmlessly,
			recover: now(func(v *world) error {
				l, err := v.st.Lock(bg, "a", NoDamage())
				if err != nil {
					return err
				}
				return l.Unlock()
			}),
			op: now(func(v *world) (err error) {
				v.lock, err = v.st.Lock(bg, "a", NoDamage())
				return err
			})},
		{name: "ForgetLocks", covers: []string{"store.Store.ForgetLocks"}, setup: deadLocker, check: dieDamaged,
			recover: now(lockUnlock),
			op: now(func(v *world) error {
				if n, err := v.st.ForgetLocks("a"); n != 1 || err != nil {
					return fmt.Errorf("%d locks are forgotten: %w", n, err)
				}
				return nil
			})},
	}
}

// dieHarmlessly: nobody is told of the death, and all keys can be locked.
func dieHarmlessly(_ *killtest.Trial, w *world) error {
	return killtest.Promptly("lock", func(context.Context) error {
		for _, key := range []string{"a", "b", "c"} {
			l, err := w.st.TryLock(key)
			if err != nil {
				return fmt.Errorf("key %s: %w", key, err)
			}
			if err := l.Unlock(); err != nil {
				return err
			}
		}
		return nil
	})
}

func lockUnlock(v *world) error {
	l, err := v.st.Lock(bg, "a")
	if err != nil && !errors.Is(err, shiplap.ErrOwnerDied) {
		return err
	}
	if err != nil {
		err = l.Repaired()
	}
	return errors.Join(err, l.Unlock())
}

// dieLocked: who locks next is told of a death if the victim had the lock, and not if it was not inside.
func dieLocked(stays bool) func(t *killtest.Trial, w *world) error {
	return func(t *killtest.Trial, w *world) error {
		return killtest.Promptly("lock", func(context.Context) error {
			for _, key := range []string{"a", "b", "c"} {
				l, err := w.st.TryLock(key)
				died := errors.Is(err, shiplap.ErrOwnerDied)
				if err != nil && !died {
					return err
				}
				must := key == "a" && t.Done && stays && t.Mode != killtest.Recover
				never := key != "a" || t.Done && !stays || t.Mode == killtest.Pause && !stays || t.RecoverDone
				if must && !died || never && died {
					return fmt.Errorf("key %s: told of a death: %v", key, died)
				}
				if died {
					err = l.Repaired()
				}
				if err = errors.Join(err, l.Unlock()); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// dieDamaged: whoever had the lock from the dead one, the damage is not forgotten until it is repaired.
func dieDamaged(t *killtest.Trial, w *world) error {
	l, err := w.st.TryLock("a")
	died := errors.Is(err, shiplap.ErrOwnerDied)
	if err != nil && !died {
		return err
	}
	repairs := w.s.name == "Repaired" || w.s.name == "ForgetLocks"
	if !repairs && !died && !t.RecoverDone && !(t.Mode == killtest.Recover) || repairs && finished(t) && died {
		return fmt.Errorf("told of a death: %v", died)
	}
	if died {
		if err := l.Repaired(); err != nil {
			return err
		}
	}
	return l.Unlock()
}

// deadLocker died with the lock of key a.
func deadLocker(w *world) error {
	l, err := w.st.Lock(bg, "a")
	if err != nil {
		return err
	}
	l.done = true // it will not be unlocked
	w.st.obj.Gate.Leave()
	return w.killLockers()
}

// killLockers makes all key locks that this process has those of a dead one.
func (w *world) killLockers() error {
	g, err := geometryOf(w.st.obj.Header)
	for i := range int(g.Locks) {
		word := w.st.obj.Ctl.U32(8192 + 2048*int(g.Stripes) + 8*int(g.Log) + 128*i)
		const waiters = 1 << 31 // set by whoever took over from a dead one
		self := w.st.obj.Space.Table.Self()
		_ = word.CAS(self, deadToken) || word.CAS(self|waiters, deadToken|waiters)
	}
	return err
}

const deadToken = 77<<10 | 900 // of a slot that never had this generation
