package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// interruption is how the operation of a scene is disturbed.
type interruption struct {
	op    operation // nil: the scene's
	undo  func(v *world) error
	grabs []killtest.Grab
	deaf  bool
	waits bool
	skip  []string

	meanwhile func(t *killtest.Trial, state any) error
}

var (
	ofHeap    = grabLock("the heap's lock", func(*world) string { return "heap" })
	ofWriter  = grabLock("the writers' lock", func(w *world) string { return fmt.Sprint("writer ", w.stripe("a")) })
	ofOther   = grabLock("the other writers' lock", func(w *world) string { return fmt.Sprint("writer ", 1-w.stripe("a")) })
	ofBinding = grabLock("the key locks' lock", func(*world) string { return "key locks" })
	ofKey     = killtest.Grab{Of: "the key", Take: func(_ *killtest.Trial, state any) (func() error, error) {
		w := state.(*world)
		switch l, err := w.st.TryLock("a"); {
		case errors.Is(err, shiplap.ErrBusy):
			return nil, nil
		case errors.Is(err, shiplap.ErrOwnerDied): // it is not repaired
			return l.Unlock, nil
		case err != nil:
			return nil, err
		default:
			return l.Unlock, nil
		}
	}}

	changing = interruption{grabs: []killtest.Grab{ofHeap, ofWriter}}
	overall  = interruption{grabs: []killtest.Grab{ofHeap, ofWriter, ofOther}}
	clearing = interruption{grabs: []killtest.Grab{ofHeap, ofWriter, ofOther}, meanwhile: meanwhile}
	locking  = interruption{grabs: []killtest.Grab{ofBinding, ofKey}, undo: func(v *world) error { return v.lock.Unlock() }}
)

var interruptions = map[string]interruption{
	"store/Set, new key":                       changing,
	"store/Set, same size":                     changing,
	"store/Set, between free blocks":           changing,
	"store/Set, with a time":                   changing,
	"store/Set, others have expired":           changing,
	"store/Set, larger, others have expired":   changing,
	"store/Set, overflow":                      changing,
	"store/Set, growing":                       changing,
	"store/Set, full":                          changing,
	"store/Set, room only with another writer": overall,
	"store/Set, evicting":                      overall,
	"store/Create":                             changing,
	"store/Update":                             changing,
	"store/Add":                                changing,
	"store/Delete":                             changing,
	"store/Delete, between free blocks":        changing,
	"store/Delete, overflow":                   changing,
	"store/Delete, others have expired":        changing,
	"store/DeleteRev":                          changing,
	"store/Expire":                             changing,
	"store/Clear":                              clearing,
	"store/Reclaim":                            clearing,
	"store/Load":                               changing,
	"store/Watch":                              {},
	"store/Watch after a death with blocks in its hands": {op: watches, waits: true, grabs: []killtest.Grab{ofHeap}},
	"store/Watch after a death":                          {op: watches, waits: true, grabs: []killtest.Grab{ofHeap}},
	"store/Close":                                        {deaf: true},
	"store/Lock":                                         locking,
	"store/Lock, record used before":                     locking,
	"store/TryLock":                                      {undo: locking.undo},
	"store/Unlock":                                       {deaf: true},
	"store/Repaired":                                     {deaf: true},
}

// watches waits for what nobody writes.
var watches = now(func(v *world) error {
	for _, err := range v.st.Watch(bg, "nothing", nil) {
		return err
	}
	return errors.New("no event")
})

// grabLock takes one of the locks that the object's header names. What a dead owner left is not
// repaired, so its lock is not taken.
func grabLock(of string, which func(w *world) string) killtest.Grab {
	return killtest.Grab{Of: of, Take: func(_ *killtest.Trial, state any) (func() error, error) {
		w := state.(*world)
		name := which(w)
		for _, at := range w.st.obj.Header.Locks {
			if at.Name != name {
				continue
			}
			l := wordlock.New(w.st.obj.Ctl, at.Off, w.st.obj.Space.Table, &wait.Session{})
			if !w.st.obj.Ctl.U32(at.Off).CAS(0, w.st.obj.Space.Table.Self()) {
				return nil, nil
			}
			w.grabbed = name
			return func() error { l.Unlock(); return nil }, nil
		}
		return nil, nil // with one stripe there are no other writers
	}}
}

// idle: whatever the victim was told, it holds nothing, and nothing is lost.
func idle(t *killtest.Trial, state any) error {
	w := state.(*world)
	st, err := w.st.Stats()
	if err != nil {
		return err
	}
	for _, l := range append(st.Writers, st.Heap) {
		if l.Holder != 0 && l.Holder != deadToken {
			return fmt.Errorf("a lock is still held: %+v", l)
		}
	}
	return killtest.Promptly("key locks and check", func(ctx context.Context) error {
		for _, key := range []string{"a", "b", "c"} {
			l, err := w.st.TryLock(key)
			if err != nil && !errors.Is(err, shiplap.ErrOwnerDied) {
				return fmt.Errorf("key %s: %w", key, err)
			}
			if died := err != nil; died && w.s.setup == nil {
				return fmt.Errorf("key %s: nobody died, and %w", key, err)
			}
			if err := l.Unlock(); err != nil {
				return err
			}
		}
		return w.st.Check(ctx)
	})
}

// awaits is what survivors do who wait for a victim that dies while it forks.
func awaits(_ *killtest.Trial, state any) error {
	w := state.(*world)
	return killtest.Promptly("wait", func(ctx context.Context) error {
		for i := range 8 { // with all writers' locks
			if err := w.st.Delete(ctx, fmt.Sprint("survivor ", i)); !errors.Is(err, shiplap.ErrNotExist) {
				return err
			}
		}
		l, err := w.st.Lock(ctx, "a")
		if err != nil && !errors.Is(err, shiplap.ErrOwnerDied) {
			return err
		}
		return l.Unlock()
	})
}

// meanwhile: while an operation waits for the lock of some writers, the others get on.
func meanwhile(_ *killtest.Trial, state any) error {
	w := state.(*world)
	if !strings.HasPrefix(w.grabbed, "writer") {
		return nil
	}
	key := "survivor"
	for fmt.Sprint("writer ", w.stripe(key)) == w.grabbed {
		key += "."
	}
	return killtest.Promptly("write beside "+w.grabbed, func(ctx context.Context) error {
		if _, err := w.st.Set(ctx, key, nil); err != nil {
			return err
		}
		return w.st.Delete(ctx, key)
	})
}

func (s *scene) interrupt(prepare func(operation) func(*killtest.Victim) (func() error, error)) *killtest.Interruption {
	i, ok := interruptions["store/"+s.name]
	if !ok {
		return nil
	}
	op := i.op
	if op == nil {
		op = s.op
	}
	return &killtest.Interruption{
		Grabs: i.grabs, Deaf: i.deaf, Waits: i.waits, Skip: i.skip, Idle: idle, Slow: s.slow, Await: awaits, Meanwhile: i.meanwhile,
		Prepare: func(kv *killtest.Victim) (func() error, error) {
			var v *world
			run, err := prepare(func(w *world) (func() error, error) { v = w; return op(w) })(kv)
			if err != nil {
				return nil, err
			}
			kv.Close = v.st.Close
			kv.Leave = func() error {
				if err := v.st.Close(); err != nil && !errors.Is(err, shiplap.ErrClosed) {
					return err
				}
				return v.d.Close()
			}
			if i.undo != nil {
				kv.Undo = func() error { return i.undo(v) }
			}
			return run, nil
		},
		Check: func(t *killtest.Trial, state any) error { return state.(*world).common(t) },
	}
}

func TestInterruptedAnywhere(t *testing.T) {
	killtest.Known(t, interruptions, scenarios())
	killtest.RunInterrupts(t, scenarios()...)
}

// twoToFree is for an operation that takes away key a, in a store where that gives the heap back a
// block, and where it then meets an entry that has expired and gives back another one: both are of a
// size of which there is a spare block.
func twoToFree(w *world) error {
	const size = 100
	end := time.Now().Add(6 * time.Millisecond)
	key := func(prefix string, i int) (string, int) {
		for w.stripe(fmt.Sprint(prefix, i)) != w.stripe("a") {
			i++
		}
		return fmt.Sprint(prefix, i), i + 1
	}
	for n, next := 0, 0; n < 4; n++ {
		var old string
		old, next = key("old", next)
		if err := w.set(old, text("o", size), ExpireAt(end)); err != nil {
			return err
		}
	}
	spare, _ := key("b", 0)
	err := errors.Join(w.set("a", text("first ", size)), w.set(spare, text("first ", size)),
		w.st.Delete(bg, spare))
	time.Sleep(time.Until(end))
	return err
}
