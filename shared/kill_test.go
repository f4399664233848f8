package shared_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/shared"
)

// The objects of a trial and the files that hold them: everything begins with old.
const (
	old      = 1  // what is there first
	new_     = 2  // what the victim writes, or adds up to
	bySecond = 10 // what survivors add while the victim stands still
)

// world is what a process has open.
type world struct {
	d      *shiplap.Domain
	word   *shared.Value[int64]
	short  *shared.Value[int16]
	float  *shared.Value[float64]
	block  *shared.Value[block]
	plain  *shared.Array[int]
	frames *shared.Array[int]
	added  int // what survivors added meanwhile
}

var names = []string{"block", "float", "frames", "plain", "short", "word"}

const length = 20 // of the arrays

func (w *world) Close() error {
	if err := w.closeAll(); err != nil && !errors.Is(err, shiplap.ErrClosed) {
		return err
	}
	return w.d.Close()
}

func (w *world) closeAll() error {
	var failed error
	for _, c := range []closer{w.word, w.short, w.float, w.block, w.plain, w.frames} {
		failed = errors.Join(failed, c.Close())
	}
	return failed
}

func makeWorld(t *killtest.Trial) (any, error) {
	d, err := shiplap.Join("", &shiplap.Options{Dir: t.Dir})
	if err != nil {
		return nil, err
	}
	w := &world{d: d}
	var e [7]error
	w.word, e[0] = shared.CreateValue(d, "word", int64(old), nil)
	w.short, e[1] = shared.CreateValue(d, "short", int16(old), nil)
	w.float, e[2] = shared.CreateValue(d, "float", float64(old), nil)
	w.block, e[3] = shared.CreateValue(d, "block", blockOf(old), nil)
	w.plain, e[4] = shared.CreateArray[int](d, "plain", []int{length}, nil)
	w.frames, e[5] = shared.CreateArray[int](d, "frames", []int{length}, &shared.ArrayOptions{Frames: 2})
	if err := errors.Join(e[:]...); err != nil {
		return nil, err
	}
	src := make([]int, length)
	_ = filled(old)(src)
	return w, errors.Join(w.plain.Replace(bg, src), second(w.frames.Publish(bg, filled(old))))
}

func openWorld(kv *killtest.Victim) (*world, error) {
	d, err := shiplap.Join("", &shiplap.Options{Dir: kv.Dir, NoSweep: true})
	if err != nil {
		return nil, err
	}
	w := &world{d: d}
	var e [6]error
	w.word, e[0] = shared.OpenValue[int64](d, "word")
	w.short, e[1] = shared.OpenValue[int16](d, "short")
	w.float, e[2] = shared.OpenValue[float64](d, "float")
	w.block, e[3] = shared.OpenValue[block](d, "block")
	w.plain, e[4] = shared.OpenArray[int](d, "plain")
	w.frames, e[5] = shared.OpenArray[int](d, "frames")
	return w, errors.Join(e[:]...)
}

// thing is one object seen as a number.
type thing struct {
	read func(w *world) (int, error)
	add  func(ctx context.Context, w *world, n int) error
}

func number[T shared.Number](v func(w *world) *shared.Value[T]) thing {
	return thing{
		read: func(w *world) (int, error) { n, err := v(w).Load(); return int(n), err },
		add:  func(_ context.Context, w *world, n int) error { return second(shared.Add(v(w), T(n))) },
	}
}

var (
	aWord  = number(func(w *world) *shared.Value[int64] { return w.word })
	aShort = number(func(w *world) *shared.Value[int16] { return w.short })
	aFloat = number(func(w *world) *shared.Value[float64] { return w.float })
	aBlock = thing{
		read: func(w *world) (int, error) {
			b, err := w.block.Load()
			if err == nil && b != blockOf(b.n()) {
				err = fmt.Errorf("torn: %+v", b)
			}
			return b.n(), err
		},
		add: func(ctx context.Context, w *world, n int) error {
			return second(w.block.Update(ctx, func(b *block) error { *b = blockOf(b.n() + n); return nil }))
		},
	}
	someFrames = thing{
		read: func(w *world) (int, error) {
			dst := make([]int, length)
			_, err := w.frames.Latest(dst)
			if err != nil {
				return 0, err
			}
			return same(dst)
		},
		add: func(ctx context.Context, w *world, n int) error {
			return second(w.frames.Publish(ctx, func(f []int) error {
				dst := make([]int, length)
				return errors.Join(second(w.frames.Latest(dst)), filled(dst[0]+n)(f))
			}))
		},
	}
	anElement = thing{
		read: func(w *world) (int, error) { return w.plain.At(3) },
		add: func(_ context.Context, w *world, n int) error {
			x, err := w.plain.At(3)
			return errors.Join(err, w.plain.Set(x+n, 3))
		},
	}
)

// scene is one operation that makes old into new_, one time by the victim, one time by the recoverer.
type scene struct {
	name    string
	covers  []string
	thing   thing
	op      func(w *world) (func() error, error)
	recover bool
	// results after which survivors have added; nil: the victim's change, then theirs, or the other way round
	allowed func(added int) []int
}

func plainly(f func(w *world) error) func(w *world) (func() error, error) {
	return func(w *world) (func() error, error) { return func() error { return f(w) }, nil }
}

func (s scene) scenario() killtest.Scenario {
	prepare := func(kv *killtest.Victim) (func() error, error) {
		w, err := openWorld(kv)
		if err != nil {
			return nil, err
		}
		kv.Own(w)
		kv.Close = w.closeAll
		return s.op(w)
	}
	k := killtest.Scenario{Name: "shared/" + s.name, Covers: s.covers, Setup: makeWorld, Prepare: prepare,
		Check: func(t *killtest.Trial, state any) error { return s.check(t, state.(*world)) },
		While: func(_ *killtest.Trial, state any) error { return s.while(state.(*world)) }}
	if s.recover {
		k.Recover = &killtest.Recovery{Prepare: prepare, Steps: deaths}
	}
	return k
}

// while the victim stands still, readers read, and writers write unless it is in the middle.
func (s *scene) while(w *world) error {
	for range 3 {
		if n, err := s.thing.read(w); err != nil || n != old && n != new_ {
			return fmt.Errorf("read %d: %w", n, err)
		}
	}
	err := s.addWithin(3*time.Millisecond, w)
	if errors.Is(err, context.DeadlineExceeded) {
		if none := w.held(true); none == nil {
			err = nil
		} else if err = s.addWithin(5*time.Second, w); err != nil { // a busy machine takes longer
			return errors.Join(none, err)
		}
	}
	if err != nil {
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

// addWithin is a survivor's change.
func (s *scene) addWithin(d time.Duration, w *world) error {
	ctx, cancel := context.WithTimeout(bg, d)
	defer cancel()
	err := s.thing.add(ctx, w, bySecond)
	if err == nil {
		w.added = bySecond
	}
	return err
}

// held checks that some lock is held by another living process, or all by nobody.
func (w *world) held(want bool) error {
	locks, err := w.d.Locks("")
	if err != nil {
		return err
	}
	held := false
	for _, l := range locks {
		if l.Holder == nil {
			continue
		}
		if !want {
			return fmt.Errorf("lock %s of %s is still held by %v", l.Lock, l.Object, *l.Holder)
		}
		held = held || l.Holder.Alive && l.Holder.Pid != os.Getpid()
	}
	if held != want {
		return errors.New("a lock is not to be had, and nobody holds one")
	}
	return nil
}

func (s *scene) check(t *killtest.Trial, w *world) error {
	err := killtest.Promptly("use", func(ctx context.Context) error {
		n, err := s.thing.read(w)
		if err != nil {
			return err
		}
		if err := s.result(t, n, w.added); err != nil {
			return err
		}
		if err := s.thing.add(ctx, w, 5); err != nil {
			return err
		}
		if again, err := s.thing.read(w); err != nil || again != n+5 {
			return fmt.Errorf("%d and 5 is %d (%v)", n, again, err)
		}
		return second(w.word.Update(ctx, func(*int64) error { return nil })) // which takes the lock that Add does not need
	})
	return errors.Join(err, w.held(false), tidy(w.d, names...))
}

func (s *scene) result(t *killtest.Trial, n, added int) error {
	possible := []int{old, new_}
	switch {
	case t.Mode == killtest.Pause && added > 0:
		possible = []int{new_ + added, new_} // it was added, or overwritten
		if s.allowed != nil {
			possible = s.allowed(added)
		}
	case t.Done || t.Mode == killtest.Pause:
		possible = []int{new_}
	}
	if t.Mode == killtest.Recover { // made twice; some operations add, some write
		possible = []int{new_, new_ + (new_ - old)}
		if !t.Done && !t.RecoverDone {
			possible = append(possible, old)
		}
	}
	if !slices.Contains(possible, n) {
		return fmt.Errorf("it is %d; possible are %v", n, possible)
	}
	return nil
}

// tidy checks that after a sweep nothing of the dead is left.
func tidy(d *shiplap.Domain, names ...string) error {
	if _, err := d.Sweep(bg, false); err != nil {
		return err
	}
	if m, err := d.Members(); err != nil || len(m) != 1 {
		return fmt.Errorf("members after a sweep: %v (%v)", m, err)
	}
	files, err := peertest.Files(d)
	if err != nil {
		return err
	}
	if !slices.Equal(files, names) {
		return fmt.Errorf("files %v; %v are wanted", files, names)
	}
	return nil
}

func pinnedWord(f func(w shared.Word[int64])) func(w *world) (func() error, error) {
	return func(w *world) (func() error, error) {
		word, err := shared.Pin(w.word)
		return func() error { f(word); return nil }, err
	}
}

func increment(b *block) error { *b = blockOf(b.n() + 1); return nil }

func scenes() []scene {
	lost := func(added int) []int { return []int{new_, old + added, new_ + added} } // a compare and swap may fail
	zero := func(added int) []int { return []int{new_, new_ + added} }
	cell := func(name string, covers ...string) []string {
		return append(covers, "shared.Value."+name, "shared.RawValue."+name)
	}
	return []scene{
		{name: "Store of a word", covers: cell("Store"), thing: aWord, op: plainly(func(w *world) error { return w.word.Store(bg, new_) })},
		{name: "Swap of a word", covers: cell("Swap"), thing: aWord, op: plainly(func(w *world) error { return second(w.word.Swap(bg, new_)) })},
		{name: "CompareAndSwap of a word", covers: cell("CompareAndSwap"), thing: aWord, allowed: lost,
			op: plainly(func(w *world) error { return second(w.word.CompareAndSwap(bg, old, new_)) })},
		{name: "CompareAndSwap of a short word", thing: aShort, allowed: lost,
			op: plainly(func(w *world) error { return second(w.short.CompareAndSwap(bg, old, new_)) })},
		{name: "Add", covers: []string{"shared.Add"}, thing: aWord, op: plainly(func(w *world) error { return second(shared.Add(w.word, new_-old)) })},
		{name: "Add of a float", thing: aFloat, op: plainly(func(w *world) error { return second(shared.Add(w.float, new_-old)) })},
		{name: "Update of a word", covers: cell("Update"), thing: aWord, recover: true,
			op: plainly(func(w *world) error {
				return second(w.word.Update(bg, func(n *int64) error { *n += new_ - old; return nil }))
			})},
		{name: "Store in place", covers: []string{"shared.Word.Store"}, thing: aWord, op: pinnedWord(func(w shared.Word[int64]) { w.Store(new_) })},
		{name: "Swap in place", covers: []string{"shared.Word.Swap"}, thing: aWord, op: pinnedWord(func(w shared.Word[int64]) { w.Swap(new_) })},
		{name: "CompareAndSwap in place", covers: []string{"shared.Word.CompareAndSwap"}, thing: aWord, allowed: lost,
			op: pinnedWord(func(w shared.Word[int64]) { w.CompareAndSwap(old, new_) })},
		{name: "Add in place", covers: []string{"shared.Word.Add", "shared.Word.Wake"}, thing: aWord,
			op: pinnedWord(func(w shared.Word[int64]) { w.Add(new_ - old); _ = w.Wake() })},

		{name: "Store", thing: aBlock, recover: true, op: plainly(func(w *world) error { return w.block.Store(bg, blockOf(new_)) })},
		{name: "Swap", thing: aBlock, op: plainly(func(w *world) error { return second(w.block.Swap(bg, blockOf(new_))) })},
		{name: "CompareAndSwap", thing: aBlock, allowed: lost,
			op: plainly(func(w *world) error { return second(w.block.CompareAndSwap(bg, blockOf(old), blockOf(new_))) })},
		{name: "Update", thing: aBlock, recover: true, op: plainly(func(w *world) error { return second(w.block.Update(bg, increment)) })},

		{name: "Publish", covers: []string{"shared.Array.Publish", "shared.RawArray.Publish"}, thing: someFrames, recover: true,
			op: plainly(func(w *world) error { return second(w.frames.Publish(bg, filled(new_))) })},
		{name: "Set", covers: []string{"shared.Array.Set", "shared.RawArray.WriteAt"}, thing: anElement, allowed: zero,
			op: plainly(func(w *world) error { return w.plain.Set(new_, 3) })},
	}
}

// Locks, and what is done under them.

// keeper is what a process knows that has the users' lock of "word" or "plain".
type keeper interface {
	Lock(context.Context) error
	TryLock() error
	Unlock() error
	Repaired() error
}

type lockScene struct {
	name    string
	covers  []string
	of      func(w *world) keeper
	damaged bool // somebody died with the lock before
	op      func(w *world) (func() error, error)
	holds   bool // the victim holds the lock when it is done
	held    bool // and when it begins
	repairs bool // and repairs
}

const deadToken = 77<<10 | 900 // of a slot that never had this generation

func (s lockScene) scenario() killtest.Scenario {
	return killtest.Scenario{Name: "shared/" + s.name, Covers: s.covers,
		Setup: func(t *killtest.Trial) (any, error) {
			w, err := makeWorld(t)
			if err == nil && s.damaged {
				err = patch(w.(*world).d, "plain", 4224, deadToken)
			}
			return w, err
		},
		Prepare: func(kv *killtest.Victim) (func() error, error) {
			w, err := openWorld(kv)
			if err != nil {
				return nil, err
			}
			return s.op(w)
		},
		While: func(_ *killtest.Trial, state any) error {
			w := state.(*world)
			switch err := s.of(w).TryLock(); {
			case err == nil || errors.Is(err, shiplap.ErrOwnerDied):
				if s.held && s.holds {
					return errors.New("the victim was robbed")
				}
				return s.of(w).Unlock()
			case err == shiplap.ErrBusy:
				return w.held(true)
			default:
				return err
			}
		},
		Check: func(t *killtest.Trial, state any) error {
			w := state.(*world)
			err := killtest.Promptly("lock", func(ctx context.Context) error { return s.survive(ctx, t, w) })
			return errors.Join(err, w.held(false), tidy(w.d, names...))
		},
	}
}

func patch(d *shiplap.Domain, name string, off int64, v uint32) error {
	f, err := os.OpenFile(filepath.Join(d.Dir(), name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(binary.LittleEndian.AppendUint32(nil, v), off)
	return errors.Join(err, f.Close())
}

// survive: the next one gets the lock, is told of a death in it, and can repair.
func (s *lockScene) survive(ctx context.Context, t *killtest.Trial, w *world) error {
	l := s.of(w)
	err := l.Lock(ctx)
	told := errors.Is(err, shiplap.ErrOwnerDied)
	if err != nil && !told {
		return err
	}
	finished := t.Done || t.Mode == killtest.Pause
	switch {
	case told && finished && !s.holds && (!s.damaged || s.repairs):
		return errors.New("told of a death, but the lock was given back in order")
	case !told && (finished && s.holds || t.Step == 0 && s.held && !finished):
		return errors.New("not told of a death with the lock")
	case !told && s.damaged && !s.repairs:
		return errors.New("not told of a death that nobody has repaired")
	}
	if err := errors.Join(l.Unlock(), l.Lock(ctx)); told != errors.Is(err, shiplap.ErrOwnerDied) {
		return fmt.Errorf("told once %v, and then: %w", told, err)
	}
	if err := errors.Join(l.Repaired(), l.Unlock(), l.TryLock(), l.Unlock()); err != nil {
		return fmt.Errorf("repaired, and then: %w", err)
	}
	return nil
}

func lockScenes() []lockScene {
	ofWord := func(w *world) keeper { return w.word }
	ofPlain := func(w *world) keeper { return w.plain }
	locked := func(of func(*world) keeper, op func(keeper) error) func(w *world) (func() error, error) {
		return func(w *world) (func() error, error) {
			err := of(w).Lock(bg)
			if errors.Is(err, shiplap.ErrOwnerDied) {
				err = nil
			}
			return func() error { return op(of(w)) }, err
		}
	}
	lock := func(k keeper) error {
		if err := k.Lock(bg); err != nil && !errors.Is(err, shiplap.ErrOwnerDied) {
			return err
		}
		return nil
	}
	unlocked := func(of func(*world) keeper, op func(keeper) error) func(w *world) (func() error, error) {
		return plainly(func(w *world) error { return op(of(w)) })
	}
	every := func(name string) []string {
		return []string{"shared.Value." + name, "shared.RawValue." + name, "shared.Array." + name, "shared.RawArray." + name}
	}
	snapshot := func(w *world) error { return w.plain.Snapshot(bg, make([]int, length)) }
	return []lockScene{
		{name: "Lock", covers: every("Lock"), of: ofWord, holds: true, op: unlocked(ofWord, lock)},
		{name: "Lock after a death", of: ofPlain, damaged: true, holds: true, op: unlocked(ofPlain, lock)},
		{name: "TryLock", covers: every("TryLock"), of: ofWord, holds: true, op: unlocked(ofWord, keeper.TryLock)},
		{name: "Unlock", covers: every("Unlock"), of: ofWord, held: true, op: locked(ofWord, keeper.Unlock)},
		{name: "Repaired", covers: every("Repaired"), of: ofPlain, damaged: true, held: true, holds: true, op: locked(ofPlain, keeper.Repaired)},
		{name: "Repaired and Unlock", of: ofPlain, damaged: true, held: true, repairs: true,
			op: locked(ofPlain, func(k keeper) error { return errors.Join(k.Repaired(), k.Unlock()) })},
		{name: "Snapshot", covers: []string{"shared.Array.Snapshot", "shared.RawArray.Snapshot"}, of: ofPlain, op: plainly(snapshot)},
	}
}

// replace: all old or all new, or everybody who takes the lock is told that it is neither; who replaces repairs.
func replace(damaged bool) killtest.Scenario {
	name, covers := "shared/Replace", []string{"shared.Array.Replace", "shared.RawArray.Replace"}
	if damaged {
		name += " after a death"
	}
	op := func(kv *killtest.Victim) (func() error, error) {
		w, err := openWorld(kv)
		src := make([]int, length)
		_ = filled(new_)(src)
		return func() error { return w.plain.Replace(bg, src) }, err
	}
	return killtest.Scenario{Name: name, Covers: covers, Prepare: op, Recover: &killtest.Recovery{Prepare: op, Steps: deaths},
		Setup: func(t *killtest.Trial) (any, error) {
			w, err := makeWorld(t)
			if err == nil && damaged {
				err = patch(w.(*world).d, "plain", 4224, deadToken)
			}
			return w, err
		},
		While: func(_ *killtest.Trial, state any) error {
			w := state.(*world)
			ctx, cancel := context.WithTimeout(bg, 3*time.Millisecond)
			defer cancel()
			dst := make([]int, length)
			switch err := w.plain.Snapshot(ctx, dst); {
			case errors.Is(err, context.DeadlineExceeded):
				return w.held(true)
			case damaged && errors.Is(err, shiplap.ErrOwnerDied):
				return nil
			case err != nil:
				return err
			}
			return second(same(dst))
		},
		Check: func(t *killtest.Trial, state any) error {
			w := state.(*world)
			dst := make([]int, length)
			err := killtest.Promptly("look", func(ctx context.Context) error {
				finished := t.Done && t.Mode != killtest.Recover || t.RecoverDone || t.Mode == killtest.Pause
				err := w.plain.Snapshot(ctx, dst)
				if errors.Is(err, shiplap.ErrOwnerDied) {
					if finished {
						return fmt.Errorf("it is done: %w", err)
					}
					_ = filled(7)(dst)
					return errors.Join(w.plain.Replace(ctx, dst), w.plain.Snapshot(ctx, dst), second(same(dst)))
				}
				n, e := same(dst)
				if err != nil || e != nil || n != new_ && (n != old || finished) {
					return fmt.Errorf("it is %v (%w, %w)", dst, err, e)
				}
				return nil
			})
			return errors.Join(err, w.held(false), tidy(w.d, names...))
		},
	}
}

// Birth and end.

func births() []killtest.Scenario {
	type life struct {
		name   string
		covers []string
		op     func(d *shiplap.Domain) error
	}
	value := func(d *shiplap.Domain) error {
		v, err := shared.OpenOrCreateValue(d, "n", int64(old), nil)
		if err != nil {
			return err
		}
		return v.Close()
	}
	array := func(d *shiplap.Domain) error {
		a, err := shared.OpenOrCreateArray[int64](d, "n", []int{length}, nil)
		if err != nil {
			return err
		}
		return a.Close()
	}
	var all []killtest.Scenario
	for _, l := range []life{
		{"OpenOrCreateValue", []string{"shared.OpenOrCreateValue", "shared.OpenValue", "shared.OpenRawValue", "shared.CreateValue", "shared.CreateRawValue",
			"shared.Value.Close", "shared.RawValue.Close"}, value},
		{"OpenOrCreateArray", []string{"shared.OpenOrCreateArray", "shared.OpenArray", "shared.OpenArrayShape", "shared.OpenRawArray", "shared.CreateArray",
			"shared.CreateRawArray", "shared.Array.Close", "shared.RawArray.Close"}, array},
	} {
		all = append(all, killtest.Scenario{Name: "shared/" + l.name, Covers: l.covers,
			Setup: func(t *killtest.Trial) (any, error) { return shiplap.Join("", &shiplap.Options{Dir: t.Dir}) },
			Prepare: func(kv *killtest.Victim) (func() error, error) {
				d, err := shiplap.Join("", &shiplap.Options{Dir: kv.Dir, NoSweep: true})
				if err != nil {
					return nil, err
				}
				return func() error { return l.op(d) }, nil
			},
			Check: func(t *killtest.Trial, state any) error {
				d := state.(*shiplap.Domain)
				return killtest.Promptly("use", func(ctx context.Context) error {
					return errors.Join(l.op(d), l.op(d), tidy(d, "n"), d.Remove(ctx, "n"), l.op(d), tidy(d, "n"))
				})
			},
		})
	}
	return all
}

func scenarios() (all []killtest.Scenario) {
	for _, s := range scenes() {
		all = append(all, s.scenario())
	}
	for _, s := range lockScenes() {
		all = append(all, s.scenario())
	}
	return append(append(all, replace(false), replace(true)), births()...)
}

// deaths are those that are recovered from, unless all are.
func deaths(total int) []int { return []int{total, total * 3 / 4, total / 2} }

func TestKilledAnywhere(t *testing.T) {
	killtest.RunKills(t, func(s killtest.Scenario, opt *killtest.Options) (skip string) {
		if testing.Short() && (strings.HasPrefix(s.Name, "shared/OpenOrCreate") || strings.HasSuffix(s.Name, "after a death")) {
			return "its recording takes seconds"
		}
		if strings.HasSuffix(s.Name, "in place") { // some dozen instructions: all of them
			opt.Stride = 1
		}
		return ""
	}, scenarios()...)
}

func TestEveryOperationHasAScenario(t *testing.T) {
	const (
		looks = "it reads, and changes nothing that is shared"
		lends = "it keeps memory of this process mapped, and changes nothing that is shared"
		place = "it is the program's own stores to elements; nothing is promised of several of them"
	)
	killtest.CheckCovered(t, ".", map[string]string{
		"shared.*.Load": looks, "shared.*.Stats": looks, "shared.*.String": looks, "shared.*.Name": looks, "shared.*.Type": looks,
		"shared.ToFloat16": looks, "shared.ToBFloat16": looks, "shared.Float16Of": looks, "shared.BFloat16Of": looks,
		"shared.*.Raw": looks, "shared.*.Shape": looks, "shared.*.Len": looks, "shared.*.FrameCount": looks, "shared.*.DType": looks,
		"shared.*.Size": looks, "shared.RawValue.IsWord": looks, "shared.*.At": looks, "shared.RawArray.ReadAt": looks,
		"shared.*.Latest": looks, "shared.Array.View": looks, "shared.RawArray.View": looks, "shared.Array.Frames": looks, "shared.Protect": looks,
		"shared.*.WaitUntil": "it sets the bit of the event word, as every wait does (package wait)", "shared.*.Watch": "as WaitUntil",
		"shared.Pin": lends, "shared.Array.Pin": lends, "shared.Array.Slice": lends, "shared.*.Release": lends,
		"shared.View.Strides": looks, "shared.View.Sub": looks, "shared.View.Slice": looks, "shared.View.Transpose": looks, "shared.View.Contiguous": looks,
		"shared.View.All": looks, "shared.View.Ptr": looks, "shared.View.CopyTo": looks,
		"shared.View.Set": place, "shared.View.Fill": place, "shared.View.CopyFrom": place,
	}, scenarios()...)
}
