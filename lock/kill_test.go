package lock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// scene is one operation on one object.
type scene struct {
	name    string
	covers  []string
	kind    *kind
	setup   func(w *world) error                           // after the object was made
	op      func(v *world) (func() error, error)           // by the victim
	recover func(v *world) (func() error, error)           // by a process of its own
	while   func(t *killtest.Trial, w *world) error        // instead of the kind's
	check   func(t *killtest.Trial, w *world) (more error) // before the kind's
	broken  bool                                           // of a barrier: it may be, whoever lives
	reader  bool                                           // of an RWMutex: the victim writes nothing
	set     bool                                           // an event is, at the end
	before  int                                            // permits of an unowned semaphore, before
	unowned int                                            // and after the operation
	quiet   bool                                           // nobody may be told of a death if the victim finished
}

// kind is what scenes of a type have in common.
type kind struct {
	create, open func(w *world) error
	while, check func(t *killtest.Trial, w *world) error
}

// world is what a process has open, survivor or victim.
type world struct {
	s *scene
	d *shiplap.Domain

	m, m2     *Mutex
	rw, rw2   *RWMutex
	sem       *Semaphore
	sem2      *Semaphore
	e         *Event
	c         *Cond
	bar, bar2 *Barrier
	pair

	entered uint64 // by survivors
	ctx     context.Context
	cancel  func()
	waiter  chan error // of a survivor who waits from the beginning
	waits   bool       // it has not been heard of
}

// pair is what a lock protects: two words that are equal whenever nobody is inside, and who says he is.
type pair struct {
	a, b   *mem.U64
	inside *mem.U32
}

const (
	reading = 1
	writing = 2
)

func pairOf(o *object.Object) pair {
	const at = object.HeaderSize + 3072
	return pair{o.Ctl.U64(at), o.Ctl.U64(at + 64), o.Ctl.U32(at + 128)}
}

// section is what a writer does. err is what he was told when he got the lock.
func (p pair) section(err error) error {
	died := errors.Is(err, shiplap.ErrOwnerDied)
	if err != nil && !died {
		return err
	}
	if was := p.inside.Swap(writing); was == writing && !died {
		return errors.New("not alone")
	}
	if a, b := p.a.Load(), p.b.Load(); a != b {
		if !died {
			return fmt.Errorf("not told of a death, and the words are %d and %d", a, b)
		}
		p.b.Store(a)
	}
	p.a.Store(p.a.Load() + 1)
	p.b.Store(p.b.Load() + 1)
	p.inside.Store(0)
	return nil
}

// look is what a reader does.
func (p pair) look(err error) error {
	died := errors.Is(err, shiplap.ErrOwnerDied)
	if err != nil && !died {
		return err
	}
	p.inside.CAS(0, reading)
	if a, b := p.a.Load(), p.b.Load(); a != b && !died {
		return fmt.Errorf("not told of a death, and the words are %d and %d", a, b)
	}
	p.inside.CAS(reading, 0)
	return nil
}

func enter(s *scene, dir string) (*world, error) {
	d, err := shiplap.Join("", &shiplap.Options{Dir: dir, NoSweep: true})
	if err != nil {
		return nil, err
	}
	w := &world{s: s, d: d, waiter: make(chan error, 1)}
	w.ctx, w.cancel = context.WithCancel(bg)
	return w, nil
}

// wait lets a survivor wait.
func (w *world) wait(f func(ctx context.Context) error) {
	w.waits = true
	go func() { w.waiter <- f(w.ctx) }()
}

// heard is what the survivor who waited got.
func (w *world) heard(ctx context.Context) error {
	select {
	case err := <-w.waiter:
		w.waits = false
		return err
	case <-ctx.Done():
		return errors.New("the survivor waits for ever")
	}
}

// rouse lets a survivor wake whoever sleeps on a word, for nothing, again and again.
func (w *world) rouse(word *mem.U32) {
	w.wait(func(ctx context.Context) error {
		_ = until(ctx, func() bool { wait.Wake(word, futex.All); return false })
		return nil
	})
}

// ending is a context that ends after some questions whether it has. It needs no second thread, which would take another
// way each time.
type ending struct {
	context.Context
	left int
}

func (e *ending) Err() error {
	if e.left--; e.left < 0 {
		return context.Canceled
	}
	return nil
}

// cancelled is a call whose context ends when it has slept once.
func cancelled(f func(ctx context.Context) error) error {
	const asked = 2 // at the beginning, and before the sleep
	if err := f(&ending{bg, asked}); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("cancelled: %v", err)
	}
	return nil
}

// until waits, in the victim's preparation or with a survivor, for what the others do first.
func until(ctx context.Context, f func() bool) error {
	for !f() {
		time.Sleep(50 * time.Microsecond)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// Close gives up everything, also what the waiter got.
func (w *world) Close() error {
	w.cancel()
	if w.waits {
		<-w.waiter
	}
	for _, h := range []interface{ Close() error }{w.m, w.m2, w.rw, w.rw2, w.sem, w.sem2, w.e, w.c, w.bar, w.bar2} {
		switch h := h.(type) { // typed nils
		case *Mutex:
			if h != nil {
				if h.m.Held() {
					_ = h.Unlock()
				}
				_ = h.Close()
			}
		case *RWMutex:
			if h != nil {
				if h.held.Held() {
					_ = h.Unlock()
				}
				for h.readers.Load() > 0 {
					_ = h.RUnlock()
				}
				_ = h.Close()
			}
		case *Semaphore:
			if h != nil {
				if h.mine.Load() > 0 {
					_ = h.Release(int(h.mine.Load()))
				}
				_ = h.Close()
			}
		case *Event:
			if h != nil {
				_ = h.Close()
			}
		case *Cond:
			if h != nil {
				_ = h.Close()
			}
		case *Barrier:
			if h != nil {
				_ = h.Close()
			}
		}
	}
	return w.d.Close()
}

// tidy checks that after a sweep nothing of the dead is left.
func (w *world) tidy() error {
	if _, err := w.d.Sweep(bg, false); err != nil {
		return err
	}
	if m, err := w.d.Members(); err != nil || len(m) != 1 {
		return fmt.Errorf("members after a sweep: %v (%v)", m, err)
	}
	locks, err := w.d.Locks("")
	for _, l := range locks {
		if l.Holder != nil {
			return fmt.Errorf("lock %s of %s is still held by %v", l.Lock, l.Object, *l.Holder)
		}
	}
	return err
}

func (s scene) scenario() killtest.Scenario {
	k := killtest.Scenario{Name: s.name, Covers: s.covers}
	k.Setup = func(t *killtest.Trial) (any, error) {
		w, err := enter(&s, t.Dir)
		if err != nil {
			return nil, err
		}
		if err = s.kind.create(w); err == nil && s.setup != nil {
			err = s.setup(w)
		}
		if err != nil {
			w.Close()
			return nil, err
		}
		return w, nil
	}
	prepare := func(op func(*world) (func() error, error)) func(*killtest.Victim) (func() error, error) {
		return func(kv *killtest.Victim) (func() error, error) {
			v, err := enter(&s, kv.Dir)
			if err == nil {
				err = s.kind.open(v)
			}
			if err != nil {
				return nil, err
			}
			return op(v)
		}
	}
	k.Prepare = prepare(s.op)
	k.While = func(t *killtest.Trial, state any) error {
		w := state.(*world)
		f := s.kind.while
		if s.while != nil {
			f = s.while
		}
		if err := f(t, w); err != nil {
			return err
		}
		if _, err := w.d.Sweep(bg, false); err != nil {
			return err
		}
		if m, err := w.d.Members(); err != nil || len(m) != 2 {
			return fmt.Errorf("%d members after a sweep beside a living process (%v)", len(m), err)
		}
		return nil
	}
	k.Check = func(t *killtest.Trial, state any) error {
		w := state.(*world)
		if s.check != nil {
			if err := s.check(t, w); err != nil {
				return err
			}
		}
		return errors.Join(s.kind.check(t, w), w.tidy())
	}
	if s.recover != nil {
		k.Recover = &killtest.Recovery{Prepare: prepare(s.recover), Steps: deaths}
	}
	k.Interrupt = s.interrupt(prepare)
	return k
}

type operation = func(v *world) (func() error, error)

// now is an operation that needs no preparation.
func now(f func(v *world) error) operation {
	return func(v *world) (func() error, error) { return func() error { return f(v) }, nil }
}

// after is an operation behind another one.
func after(first, f func(v *world) error) operation {
	return func(v *world) (func() error, error) { return func() error { return f(v) }, first(v) }
}

// finished: the victim did all that it had to.
func finished(t *killtest.Trial) bool { return t.Done || t.Mode == killtest.Pause }

func scenes() []scene {
	return slices.Concat(mutexScenes, rwScenes, semaphoreScenes, eventScenes, condScenes, barrierScenes)
}

func scenarios() (all []killtest.Scenario) {
	for _, s := range scenes() {
		all = append(all, s.scenario())
	}
	return all
}

// deaths are those that are recovered from, unless all are.
func deaths(total int) []int { return []int{total / 3, total * 2 / 3, total - total/10} }

func TestKilledAnywhere(t *testing.T) { killtest.RunKills(t, nil, scenarios()...) }

func TestEveryOperationHasAScenario(t *testing.T) {
	const (
		looks = "it reads, and changes nothing that is shared"
		birth = "package object does it, as in CreateSemaphore here and in the scenarios of package queue"
	)
	exempt := map[string]string{
		"lock.*.Stats": looks, "lock.*.String": looks, "lock.*.Name": looks, "lock.Event.IsSet": looks, "lock.Barrier.Parties": looks,
	}
	for _, kind := range []string{"Mutex", "RWMutex", "Cond", "Event", "Barrier"} {
		for _, verb := range []string{"Create", "Open", "OpenOrCreate"} {
			exempt["lock."+verb+kind] = birth
		}
	}
	killtest.CheckCovered(t, ".", exempt, scenarios()...)
}

// briefly is a call that has to wait as long as the victim stands still.
func briefly(what string, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(bg, 3*time.Millisecond)
	defer cancel()
	if err := f(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s returned %v, and has to wait", what, err)
	}
	return nil
}

func busy(what string, err error) error {
	if !errors.Is(err, shiplap.ErrBusy) {
		return fmt.Errorf("%s: %v, and it is busy", what, err)
	}
	return nil
}
