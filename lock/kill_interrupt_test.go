package lock

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// interruption is how the operation of a scene is disturbed, and what is then there.
type interruption struct {
	op    operation // nil: the scene's
	undo  func(v *world) error
	grabs []killtest.Grab
	deaf  bool
	skip  []string
	check func(t *killtest.Trial, w *world) error // before the kind's; nil: the scene's
}

func undisturbed(*killtest.Trial, *world) error { return nil }

var (
	gives      = func(v *world) error { return v.give(2) }
	takesTwo   = now(func(v *world) error { return v.take(2, v.sem.Acquire) })
	semGrabs   = []killtest.Grab{grabLock("the guard", guardOf), grabLock("the queue", queueOf), grab("all permits", allPermits)}
	guardOnly  = semGrabs[:1]
	mutexGrabs = []killtest.Grab{grab("the mutex", func(w *world) (func() error, error) {
		return taken(w.m.TryLock(), w.m.Unlock)
	})}
	toRead  = grab("the lock, by a reader,", func(w *world) (func() error, error) { return taken(w.rw.TryRLock(), w.rw.RUnlock) })
	toWrite = grab("the lock, by a writer,", func(w *world) (func() error, error) { return taken(w.rw.TryLock(), w.rw.Unlock) })
)

var interruptions = map[string]interruption{
	"mutex/Lock":                   {op: now(lockWhole), grabs: mutexGrabs},
	"mutex/Lock after a death":     {grabs: mutexGrabs},
	"mutex/TryLock":                {},
	"mutex/Unlock":                 {deaf: true},
	"mutex/Unlock, somebody waits": {deaf: true},
	"mutex/Repaired":               {deaf: true},
	"mutex/MarkSince":              {grabs: mutexGrabs},
	"mutex/Close":                  {deaf: true},
	"mutex/Close while held":       {deaf: true},

	"rwmutex/RLock":                     {grabs: []killtest.Grab{toWrite}},
	"rwmutex/RLock after a dead writer": {grabs: []killtest.Grab{toWrite}},
	"rwmutex/TryRLock":                  {},
	"rwmutex/RUnlock":                   {deaf: true},
	"rwmutex/RUnlock, a writer waits":   {deaf: true},
	"rwmutex/Lock":                      {grabs: []killtest.Grab{toWrite, toRead}},
	"rwmutex/Lock after a dead writer":  {grabs: []killtest.Grab{toWrite, toRead}},
	"rwmutex/TryLock":                   {},
	"rwmutex/Unlock":                    {deaf: true},
	"rwmutex/Unlock, a writer waits":    {deaf: true},
	"rwmutex/MarkSince":                 {grabs: []killtest.Grab{toWrite}},
	"rwmutex/Repaired":                  {deaf: true},
	"rwmutex/Close":                     {deaf: true},

	"semaphore/Acquire":                           {op: takesTwo, undo: gives, grabs: semGrabs},
	"semaphore/Acquire after a death":             {op: takesTwo, undo: gives, grabs: semGrabs},
	"semaphore/Acquire after a death in a change": {op: takesTwo, undo: gives, grabs: semGrabs},
	"semaphore/TryAcquire":                        {op: now(func(v *world) error { return v.take(2, v.try) }), undo: gives},
	"semaphore/Release":                           {deaf: true, grabs: guardOnly},
	"semaphore/Release, somebody waits":           {deaf: true, grabs: guardOnly},
	"semaphore/Close":                             {deaf: true, grabs: guardOnly},

	"event/Set, somebody waits": {deaf: true, check: undisturbed},
	"event/Clear":               {deaf: true},
	"event/Wait":                {},
	"event/Close":               {deaf: true},

	"cond/Wait":      {check: survivorEnds},
	"cond/Signal":    {grabs: mutexGrabs, skip: []string{"close"}}, // Close is of the cond, and the wait of the mutex
	"cond/Broadcast": {grabs: mutexGrabs, skip: []string{"close"}},
	"cond/Close":     {deaf: true},

	"barrier/Wait, first": {},
	"barrier/Wait, last":  {check: undisturbed},
	"barrier/Abort":       {check: undisturbed},
	"barrier/Reset":       {},
	"barrier/Close":       {deaf: true},
}

func guardOf(w *world) *wordlock.Lock { return w.sem.guard }
func queueOf(w *world) *wordlock.Lock { return w.sem.queue }

func grab(of string, take func(w *world) (letGo func() error, err error)) killtest.Grab {
	return killtest.Grab{Of: of, Take: func(_ *killtest.Trial, state any) (func() error, error) { return take(state.(*world)) }}
}

// taken is for a survivor who has tried to take something.
func taken(err error, letGo func() error) (func() error, error) {
	switch {
	case errors.Is(err, shiplap.ErrBusy):
		return nil, nil
	case errors.Is(err, shiplap.ErrOwnerDied):
		return letGo, nil
	}
	return letGo, err
}

func grabLock(of string, which func(w *world) *wordlock.Lock) killtest.Grab {
	return grab(of, func(w *world) (func() error, error) {
		l := which(w)
		ok, recovered := l.TryLock()
		if !ok {
			return nil, nil
		}
		if recovered && l == w.sem.guard {
			if err := w.sem.recount(); err != nil {
				return nil, err
			}
		}
		return func() error { l.Unlock(); return nil }, nil
	})
}

func allPermits(w *world) (func() error, error) {
	n := int(w.sem.available.Load())
	if n == 0 {
		return nil, nil
	}
	return taken(w.sem.TryAcquire(n), func() error { return w.sem.Release(n) })
}

// closeOne closes the handle that the operation uses, and leave all, without giving up anything that is held.
func (w *world) closeOne() error { return w.closeHandles(true) }

func (w *world) leave() error {
	err := w.closeHandles(false)
	if err = errors.Join(err, w.d.Close()); err == nil && w.sem != nil && w.sem.mine.Load() != 0 {
		err = fmt.Errorf("the handle believes that it holds %d permits", w.sem.mine.Load())
	}
	return err
}

func (w *world) closeHandles(one bool) error {
	var err error
	if w.m != nil && (!one || w.c == nil) {
		err = errors.Join(err, w.m.Close())
	}
	if w.rw != nil {
		err = errors.Join(err, w.rw.Close())
	}
	if w.sem != nil {
		err = errors.Join(err, w.sem.Close())
	}
	if w.e != nil {
		err = errors.Join(err, w.e.Close())
	}
	if w.c != nil {
		err = errors.Join(err, w.c.Close())
	}
	if w.bar != nil {
		err = errors.Join(err, w.bar.Close())
	}
	if one {
		return err
	}
	if w.m2 != nil {
		err = errors.Join(err, w.m2.Close())
	}
	if w.rw2 != nil {
		err = errors.Join(err, w.rw2.Close())
	}
	return err
}

// idle: whatever the victim was told, it holds nothing.
func idle(t *killtest.Trial, state any) error {
	w := state.(*world)
	switch {
	case w.sem != nil && !w.sem.unowned && !w.waits:
		if theirs, _ := w.held(); theirs != 0 && w.s.setup == nil {
			return fmt.Errorf("the victim still holds %d permits", theirs)
		}
		if w.locked(offGuard) || w.locked(offQueue) {
			return fmt.Errorf("the victim still holds a lock: guard %v, queue %v", w.locked(offGuard), w.locked(offQueue))
		}
		if err := w.sem.TryAcquire(permits); err != nil {
			return fmt.Errorf("all permits, which nobody has: %w", err)
		}
		return w.sem.Release(permits)
	case w.rw != nil && !w.waits && w.anyReads():
		return fmt.Errorf("somebody still reads")
	case w.rw != nil && !w.waits && t.Failed() && w.writerWord()&^waitersBit != 0 && w.writerWord()&^waitersBit != deadToken:
		return fmt.Errorf("the writer's word is %#x", w.writerWord())
	case w.m != nil && !w.waits && t.Failed() && w.word()&^waitersBit != 0 && w.word()&^waitersBit != deadToken:
		return fmt.Errorf("the mutex's word is %#x", w.word())
	}
	return nil
}

// awaits is what survivors do who wait for a victim that dies while it forks, by scene.
func (s scene) awaits() func(t *killtest.Trial, state any) error {
	switch s.name {
	case "mutex/Lock", "mutex/Unlock", "rwmutex/Lock", "rwmutex/RLock", "rwmutex/RUnlock", "semaphore/Acquire", "semaphore/Release":
	default:
		return nil
	}
	return func(_ *killtest.Trial, state any) error {
		w := state.(*world)
		return killtest.Promptly("wait", func(ctx context.Context) error {
			switch {
			case w.m != nil:
				return w.enters(w.m.Lock(ctx))
			case w.rw != nil && s.reader:
				return w.writes(w.rw.Lock(ctx))
			case w.rw != nil:
				return errors.Join(w.reads(w.rw.RLock(ctx)), w.writes(w.rw.Lock(ctx)))
			}
			return errors.Join(w.sem.Acquire(ctx, permits), w.sem.Release(permits))
		})
	}
}

// interrupt makes what a scenario needs.
func (s scene) interrupt(prepare func(operation) func(*killtest.Victim) (func() error, error)) *killtest.Interruption {
	i, ok := interruptions[s.name]
	if !ok {
		return nil
	}
	op := i.op
	if op == nil {
		op = s.op
	}
	check := i.check
	if check == nil {
		check = s.check
	}
	return &killtest.Interruption{
		Grabs: i.grabs, Deaf: i.deaf, Skip: i.skip, Idle: idle, Await: s.awaits(),
		Prepare: func(kv *killtest.Victim) (func() error, error) {
			var v *world
			run, err := prepare(func(w *world) (func() error, error) { v = w; return op(w) })(kv)
			if err != nil {
				return nil, err
			}
			kv.Close, kv.Leave = v.closeOne, v.leave
			if i.undo != nil {
				kv.Undo = func() error { return i.undo(v) }
			}
			return run, nil
		},
		Check: func(t *killtest.Trial, state any) error {
			w := state.(*world)
			if check != nil {
				if err := check(t, w); err != nil {
					return err
				}
			}
			return errors.Join(s.kind.check(t, w), w.tidy())
		},
	}
}

func TestInterruptedAnywhere(t *testing.T) {
	killtest.Known(t, interruptions, scenarios())
	killtest.RunInterrupts(t, scenarios()...)
}
