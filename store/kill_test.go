package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/table"
)

// content is what a store holds: text by key. Keys that survivors write begin with "survivor".
type content map[string]string

// effect is what an operation does to the content.
type effect func(c content)

// scene is one operation on one store, and what it does.
type scene struct {
	name    string
	covers  []string
	opt     Options
	setup   func(w *world) error
	op      func(v *world) (func() error, error)
	effect  effect // nil: none
	recover func(v *world) (func() error, error)
	again   effect                                         // of the recoverer
	check   func(t *killtest.Trial, w *world) (more error) // before the common one
	loses   bool                                           // other keys may go: eviction
	slow    bool                                           // only in thorough runs
}

// world is what a process has open, survivor or victim.
type world struct {
	s      *scene
	d      *shiplap.Domain
	st     *Store
	before content
	told   content // to a watcher
	watch  *table.Watcher
	lock   *KeyLock

	grabbed string // the lock that a survivor has taken in the middle of an operation
}

var killOptions = Options{MaxBytes: 68 << 10, Reserve: 1 << 20, Keys: 8, Locks: 2}

func (s *scene) options() *Options {
	o := s.opt
	if o.MaxBytes == 0 {
		o = killOptions
	}
	o.Keys, o.Locks, o.parts = 8, 2, 2
	o.seed = [2]uint64{1, 2} // the same keys in the same buckets: what is stepped through is always the same
	return &o
}

func enter(s *scene, dir string) (*world, error) {
	d, err := shiplap.Join("", &shiplap.Options{Dir: dir, NoSweep: true})
	if err != nil {
		return nil, err
	}
	return &world{s: s, d: d}, nil
}

func (w *world) Close() error {
	if w.lock != nil && !w.lock.done {
		_ = w.lock.Unlock()
	}
	if w.st != nil {
		_ = w.st.Close()
	}
	return w.d.Close()
}

// content reads everything, without survivors' keys.
func (w *world) content() (content, error) {
	all, err := w.st.All(bg, "")
	c := content{}
	for _, e := range all {
		if len(e.Key) < 8 || e.Key[:8] != "survivor" {
			c[e.Key] = string(e.Value)
		}
	}
	return c, err
}

func (w *world) set(key, value string, opts ...SetOption) error {
	_, err := w.st.Set(bg, key, []byte(value), opts...)
	return err
}

// text is a value of n bytes that shows who wrote it.
func text(by string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = by[i%len(by)]
	}
	return string(b)
}

func (w *world) tell(e table.Event) {
	if e.Deleted {
		delete(w.told, e.Key)
	} else {
		w.told[e.Key] = string(e.Value)
	}
}

func (s *scene) prepare(op func(*world) (func() error, error)) func(*killtest.Victim) (func() error, error) {
	return func(kv *killtest.Victim) (func() error, error) {
		v, err := enter(s, kv.Dir)
		if err == nil {
			v.st, err = Open(v.d, "s", nil)
		}
		if err != nil {
			return nil, err
		}
		return op(v)
	}
}

func (s scene) scenario() killtest.Scenario {
	k := killtest.Scenario{Name: "store/" + s.name, Covers: s.covers}
	k.Setup = func(t *killtest.Trial) (any, error) {
		w, err := enter(&s, t.Dir)
		if err != nil {
			return nil, err
		}
		err = func() error {
			if w.st, err = Create(w.d, "s", s.options()); err != nil {
				return err
			}
			if err := w.set("other", "untouched"); err != nil {
				return err
			}
			if s.setup != nil {
				if err := s.setup(w); err != nil {
					return err
				}
			}
			w.told = content{}
			if w.watch, err = w.st.t.Watch(bg, "", false, w.tell); err != nil {
				return err
			}
			w.before, err = w.content()
			return err
		}()
		if err != nil {
			w.Close()
			return nil, err
		}
		return w, nil
	}
	k.Prepare = s.prepare(s.op)
	k.While = func(_ *killtest.Trial, state any) error { return state.(*world).while() }
	k.Check = func(t *killtest.Trial, state any) error { return state.(*world).check(t) }
	if s.recover != nil {
		k.Recover = &killtest.Recovery{Prepare: s.prepare(s.recover), Steps: deaths}
	}
	k.Interrupt = s.interrupt(s.prepare)
	return k
}

// outcomes are the contents that are possible.
func (w *world) outcomes(t *killtest.Trial) (all []content) {
	all = []content{w.before}
	step := func(e effect, done bool) {
		if e == nil || t.Failed() {
			return
		}
		var next []content
		for _, c := range all {
			n := maps.Clone(c)
			e(n)
			if next = append(next, n); !done {
				next = append(next, c)
			}
		}
		all = next
	}
	step(w.s.effect, t.Done || t.Mode == killtest.Pause)
	if t.Mode == killtest.Recover {
		step(w.s.again, t.RecoverDone)
	}
	return all
}

func (w *world) isOneOf(all []content) error {
	c, err := w.content()
	if err != nil {
		return err
	}
	for _, want := range all {
		if w.s.loses {
			lost := maps.Clone(want)
			maps.DeleteFunc(lost, func(k, _ string) bool { _, ok := c[k]; return !ok })
			want = lost
		}
		if maps.Equal(c, want) {
			return nil
		}
	}
	return fmt.Errorf("there is %v; possible are %v", c, all)
}

// while the victim stands still, readers see what was, or is to be; writers get on unless it holds their lock.
func (w *world) while() error {
	after := maps.Clone(w.before)
	if w.s.effect != nil {
		w.s.effect(after)
	}
	err := killtest.Promptly("reading", func(context.Context) error {
		if err := w.isOneOf([]content{w.before, after}); err != nil {
			return err
		}
		for key, v := range w.before {
			if after[key] != v {
				continue
			}
			if b, err := w.st.Get(key); !w.s.loses && (err != nil || string(b) != v) {
				return fmt.Errorf("%s is %q, %v", key, b, err)
			}
		}
		_, err := w.st.Stats()
		return err
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(bg, 3*time.Millisecond)
	defer cancel()
	st, err := w.st.Stats()
	if err != nil {
		return err
	}
	held, mine := st.Heap.Holder != 0, st.Writers[w.stripe("survivor")].Holder != 0
	for _, l := range st.Writers {
		held = held || l.Holder != 0
	}
	_, err = w.st.Set(ctx, "survivor", []byte(strconv.Itoa(os.Getpid())))
	switch timeout := errors.Is(err, context.DeadlineExceeded); {
	case mine && !timeout:
		return fmt.Errorf("the victim holds the lock, and a survivor's Set returns %v", err)
	case !held && err != nil && !errors.Is(err, shiplap.ErrFull), held && err != nil && !timeout:
		return fmt.Errorf("a survivor's Set, while %+v and the heap's %+v: %w", st.Writers, st.Heap, err)
	}
	if _, err := w.d.Sweep(bg, false); err != nil {
		return err
	}
	return nil
}

func (w *world) check(t *killtest.Trial) error {
	if w.s.check != nil {
		if err := w.s.check(t, w); err != nil {
			return err
		}
	}
	return w.common(t)
}

func (w *world) common(t *killtest.Trial) error {
	possible := w.outcomes(t)
	if err := w.isOneOf(possible); err != nil {
		return fmt.Errorf("before anybody repairs: %w", err)
	}
	// A watcher hears of everything before anybody else has written.
	err := killtest.Promptly("watching", func(context.Context) error {
		if _, err := w.st.t.Settle(); err != nil {
			return err
		}
		return w.watch.Poll(bg, w.tell)
	})
	if err != nil {
		return err
	}
	c, err := w.content()
	if err != nil {
		return err
	}
	told := maps.Clone(w.told)
	delete(told, "survivor")
	if !maps.Equal(told, c) {
		return fmt.Errorf("a watcher knows of %v, there is %v", told, c)
	}
	if err := w.isOneOf(possible); err != nil {
		return fmt.Errorf("after the repair: %w", err)
	}
	err = killtest.Promptly("writing", func(ctx context.Context) error {
		if w.s.loses {
			return w.st.Check(ctx)
		}
		if _, err := w.st.Add(ctx, "survivor2", 1); err != nil && !errors.Is(err, shiplap.ErrFull) {
			return err
		}
		return w.st.Check(ctx)
	})
	if err != nil {
		return err
	}
	if err := w.isOneOf(possible); err != nil {
		return fmt.Errorf("after a survivor wrote: %w", err)
	}
	return errors.Join(w.allComesBack(), w.tidy())
}

// allComesBack: of no operation memory is kept for good.
func (w *world) allComesBack() error {
	if err := w.st.Clear(bg); err != nil {
		return err
	}
	if _, err := w.st.Reclaim(bg); err != nil {
		return err
	}
	st, err := w.st.Stats()
	if err != nil {
		return err
	}
	if st.Keys != 0 || st.Used != 0 || st.Overflows != 0 || st.Cleared != 0 || st.Expiring != 0 || st.Free != st.MaxBytes-st.Overhead || st.Largest != st.Free {
		return fmt.Errorf("everything is deleted: %+v", st)
	}
	n := 0
	for ; err == nil; n++ {
		err = w.set("survivor fills"+strconv.Itoa(n), text("x", 4000))
		if w.s.options().Evict && n > 100 {
			return w.st.Check(bg)
		}
	}
	if !errors.Is(err, shiplap.ErrFull) || int64(n)*4096 < st.Free-4096-64*10 {
		return fmt.Errorf("%d entries of 4096 bytes fit into %d: %w", n, st.Free, err)
	}
	return w.st.Check(bg)
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

// stripe is the number of the lock with which a key is changed (docs/layout.md).
func (w *world) stripe(key string) int {
	g, err := geometryOf(w.st.obj.Header)
	if err != nil {
		panic(err)
	}
	return int(w.st.t.Hash(key) % g.Buckets / (g.Buckets / g.Stripes))
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

func finished(t *killtest.Trial) bool { return t.Done || t.Mode == killtest.Pause }

func scenarios() (all []killtest.Scenario) {
	for _, s := range scenes() {
		all = append(all, s.scenario())
	}
	return append(all, birth())
}

// birth is the making of a store: only part of its memory is set aside.
func birth() killtest.Scenario {
	s := &scene{}
	return killtest.Scenario{
		Name: "store/Create, the store", Covers: []string{"store.Create", "store.Open", "store.OpenOrCreate"},
		Setup: func(t *killtest.Trial) (any, error) { return enter(s, t.Dir) },
		Prepare: func(kv *killtest.Victim) (func() error, error) {
			v, err := enter(s, kv.Dir)
			return func() error {
				st, err := OpenOrCreate(v.d, "s", s.options())
				if err == nil {
					_, err = st.Set(bg, "a", []byte("victim's"))
				}
				return err
			}, err
		},
		Check: func(t *killtest.Trial, state any) (err error) {
			w := state.(*world)
			if w.st, err = OpenOrCreate(w.d, "s", s.options()); err != nil {
				return err
			}
			if b, err := w.st.GetOr("a", nil); err != nil || b == nil && t.Done || b != nil && string(b) != "victim's" {
				return fmt.Errorf("%q, %v", b, err)
			}
			return errors.Join(w.st.Check(bg), w.allComesBack(), w.tidy())
		},
	}
}

// deaths are those that are recovered from, unless all are.
func deaths(total int) []int { return []int{total / 2, total * 3 / 4, total * 7 / 8} }

func TestKilledAnywhere(t *testing.T) {
	slow := map[string]bool{}
	for _, s := range scenes() {
		slow["store/"+s.name] = s.slow
	}
	killtest.RunKills(t, func(s killtest.Scenario, _ *killtest.Options) (skip string) {
		if slow[s.Name] && !killtest.Thorough() {
			return "it is like others, and takes seconds; set CI or SHIPLAP_KILL_BUDGET"
		}
		return ""
	}, scenarios()...)
}

func TestEveryOperationHasAScenario(t *testing.T) {
	const (
		looks = "it reads, and changes nothing that is shared"
		typed = "it encodes, then calls the operation of Store"
	)
	killtest.CheckCovered(t, ".", map[string]string{
		"store.Store.Get": looks, "store.Store.GetOr": looks, "store.Store.Append": looks, "store.Store.Entry": looks, "store.Store.Has": looks,
		"store.Store.TTL": looks, "store.Store.Len": looks, "store.Store.Revision": looks, "store.Store.All": looks, "store.Store.Keys": looks,
		"store.Store.Scan": looks, "store.Store.Dump": looks, "store.Store.Name": looks, "store.*.String": looks, "store.Store.Stats": looks,
		"store.Store.Check": looks, "store.KeyLock.Key": looks, "store.Store.DeadLocks": looks, "store.Get": looks, "store.GetOr": looks, "store.As": looks,
		"store.Typed.All": looks, "store.Typed.Entry": looks, "store.Typed.Get": looks, "store.Typed.GetOr": looks, "store.Typed.Store": looks,
		"store.Typed.Create": typed, "store.Typed.Update": typed, "store.Typed.Set": typed, "store.Typed.Watch": typed, "store.Set": typed,
		"store.TTL": "an option", "store.ExpireAt": "an option", "store.KeepTTL": "an option", "store.Encoded": "an option",
	}, scenarios()...)
}
