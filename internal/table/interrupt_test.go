package table

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// A rival has every lock of a table whenever an operation wants it, and gives it back when the
// operation looks at its context before it sleeps. So each wait of an operation can be the one that
// ends with an error: the n-th, for every n.
type rival struct {
	w     *world
	tb    *Table // of the operation
	how   ending
	left  int  // looks that pass
	over  bool // the operation was told to end
	grown int  // calls of Grow
}

// ending is what ends an operation.
type ending int

const (
	endContext ending = iota // its context
	endOnce                  // its context, and from then on the rival has gone, so that it waits no more
	endClose                 // its handle is closed
	endRemoved               // its table is removed
	endGrow                  // the file system has no more memory
	endFault                 // the memory that it grows into is gone
	endings
)

func (e ending) String() string {
	return [...]string{"context", "once", "close", "removed", "grow", "fault"}[e]
}

const rivalToken = 99

// errEnded looks like something that making room might help against.
var errEnded = fmt.Errorf("test: ended: %w", errs.ErrNoSpace)

func (w *world) locks() []int {
	all := []int{HeapLock, BindingLock}
	for i := range int(w.geo.Stripes) {
		all = append(all, WriterLock(i))
	}
	return all
}

// rivalled opens a table for one operation.
func (w *world) rivalled(token uint32, how ending, left int) (*rival, *Table) {
	r := &rival{w: w, how: how, left: left}
	for _, off := range w.locks() {
		wordlock.Bar(w.span, off) // everybody goes the slow way, and asks Check
	}
	r.tb = w.open(token)
	r.tb.sess.Check = r.hold
	r.tb.stop = r.removed
	for i := range r.tb.stripes {
		r.tb.stripes[i].lock.Stop = r.removed
	}
	r.tb.heapLock.Stop, r.tb.binding.Stop = r.removed, r.removed
	grow := r.tb.grow
	r.tb.grow = func(off, n int64) error {
		if r.grown++; r.grown > r.left && r.how == endGrow {
			r.over = true
			return errNoSpace
		}
		if r.grown > r.left && r.how == endFault {
			r.over = true
			panic(errEnded)
		}
		return grow(off, n)
	}
	return r, r.tb
}

// hold takes what nobody has.
func (r *rival) hold() error {
	if r.over && r.how == endOnce {
		return nil
	}
	for _, off := range r.w.locks() {
		r.w.span.U32(off).CAS(0, rivalToken)
	}
	return nil
}

// release gives it back.
func (r *rival) release() {
	for _, off := range r.w.locks() {
		if w := r.w.span.U32(off); w.Load()&^(1<<31) == rivalToken {
			w.Store(0)
		}
	}
}

func (r *rival) removed() error {
	if r.over && r.how == endRemoved {
		return errEnded
	}
	return nil
}

// looker is the context of an operation with a rival.
type looker struct {
	context.Context
	r *rival
}

func (l looker) Err() error {
	r := l.r
	if r.how > endRemoved {
		r.release()
		return nil
	}
	if r.left--; r.left >= 0 {
		r.release()
		return nil
	}
	r.over = true
	switch r.how {
	case endOnce:
		r.leave()
		return errEnded
	case endContext:
		return errEnded
	case endClose:
		r.tb.sess.Interrupt(errEnded)
	}
	return nil // the next wait, or this one, ends
}

// leave is release for ever.
func (r *rival) leave() {
	r.release()
	for _, off := range r.w.locks() {
		r.w.span.U32(off + 24).Store(0) // the line of the lock: nobody
	}
}

// run does an operation, and lets the locks be as they were.
func (r *rival) run(op func(ctx context.Context, tb *Table) error) (err error) {
	defer func() {
		r.leave()
		switch v := recover(); v {
		case nil:
		case any(errEnded):
			err = errEnded
		default:
			panic(v)
		}
	}()
	return op(looker{bg, r}, r.tb)
}

// copyOf is a world with the same memory, in which everybody lives.
func (w *world) copyOf() *world {
	c := newWorld(w.geo)
	copy(c.span.Bytes(0, c.span.Len()), w.span.Bytes(0, w.span.Len()))
	c.clock.Store(w.clock.Load())
	c.most.Store(w.most.Load())
	w.dead.Range(func(k, v any) bool {
		c.dead.Store(k, v)
		return true
	})
	return c
}

// values are the entries that count, by key.
func values(t *testing.T, tb *Table) map[string]string {
	t.Helper()
	all, err := tb.All(bg, "", true)
	must(t, err)
	m := map[string]string{}
	for _, e := range all {
		m[e.Key] = fmt.Sprintf("%x until %d", e.Value, e.Expires)
	}
	return m
}

// scene is an operation on a table that was made ready for it.
type interruptScene struct {
	name  string
	geo   Geometry
	setup func(t *testing.T, w *world, tb *Table)
	op    func(ctx context.Context, tb *Table) error
	loses bool // it may evict other keys
	busy  bool // the rival has the other stripes from the beginning
}

const old = "old" // a key in each scene

func setOf(key string, size int, c Change) func(ctx context.Context, tb *Table) error {
	return func(ctx context.Context, tb *Table) error {
		_, err := tb.Set(ctx, key, []byte(strings.Repeat("n", size)), c)
		return err
	}
}

// rotten leaves what an operation that tidies finds: entries that have expired, too large to become
// spare.
func rotten(t *testing.T, w *world, tb *Table) {
	for i := range 12 {
		soon := Change{Expiry: After, Time: 10}
		must(t, second(tb.Set(bg, fmt.Sprint("rotten", i), make([]byte, 1100+100*i), soon)))
	}
	must(t, second(tb.Set(bg, old, make([]byte, 1500), Change{})))
	w.clock.Add(20)
}

// clearedAway is rotten by a Clear.
func clearedAway(t *testing.T, w *world, tb *Table) {
	for i := range 12 {
		must(t, second(tb.Set(bg, fmt.Sprint("gone", i), make([]byte, 1100+100*i), Change{})))
	}
	must(t, tb.Clear(bg))
	must(t, second(tb.Set(bg, old, make([]byte, 1500), Change{})))
}

// crowded leaves no free slot in the bucket of the key "new", and garbage.
func crowded(t *testing.T, w *world, tb *Table) {
	bucket := tb.bucket(tb.hash("new"))
	for i, n := 0, 0; n < mainSlots; i++ {
		if key := fmt.Sprint("near", i); tb.bucket(tb.hash(key)) == bucket {
			must(t, second(tb.Set(bg, key, make([]byte, 1500), Change{})))
			n++
		}
	}
	rotten(t, w, tb)
}

// inOverflow is crowded, with the key in an overflow bucket of its own.
func inOverflow(t *testing.T, w *world, tb *Table) {
	crowded(t, w, tb)
	must(t, second(tb.Set(bg, "new", make([]byte, 2000), Change{})))
	rotten(t, w, tb)
}

// full leaves room for nothing, and some of what fills it has expired.
func full(t *testing.T, w *world, tb *Table) {
	must(t, second(tb.Set(bg, old, make([]byte, 1400), Change{})))
	for n := 3000; n > 0; n /= 2 {
		for i := 0; ; i++ {
			c := Change{Expiry: After, Time: 1e6}
			if i < 3 {
				c.Time = 10
			}
			if _, err := tb.Set(bg, fmt.Sprint("fill", n, "-", i), make([]byte, n), c); err != nil {
				is(t, err, errs.ErrFull)
				break
			}
			if tb.geo.Evict && i == 20 {
				break
			}
		}
	}
	w.clock.Add(20)
}

// died has a dead writer in each stripe, with blocks in its hands and with the lock of the heap.
func died(t *testing.T, w *world, tb *Table) {
	rotten(t, w, tb)
	victim := w.open(2)
	for i := range victim.stripes {
		s := &victim.stripes[i]
		must(t, s.acquire(bg))
		must(t, second(s.take(20, entry, 0)))
		must(t, second(s.take(1, overflow, 1)))
	}
	must(t, second(victim.heapLock.Lock(bg)))
	w.dead.Store(uint32(2), true)
}

func interruptScenes() (all []interruptScene) {
	large := Geometry{Buckets: 8, Size: 256 << 10}
	growing := Geometry{Buckets: 8, Size: 512 << 10}
	tight := Geometry{Buckets: 8, Size: 32 << 10}
	evicting := Geometry{Buckets: 8, Size: 48 << 10, Evict: true}
	one := Geometry{Buckets: 8, Size: 256 << 10, Stripes: 1}
	anyOf := func(name string, geo Geometry, setup func(*testing.T, *world, *Table),
		op func(context.Context, *Table) error) {
		all = append(all, interruptScene{name: name, geo: geo, setup: setup, op: op})
	}
	del := func(key string) func(context.Context, *Table) error {
		return func(ctx context.Context, tb *Table) error { return second(tb.Delete(ctx, key, Change{})) }
	}
	expire := func(ctx context.Context, tb *Table) error {
		return second(tb.Expire(ctx, old, Change{Expiry: After, Time: 1e9}))
	}
	add := func(ctx context.Context, tb *Table) error {
		_, _, err := tb.Add(ctx, "number", 1)
		return err
	}
	reclaim := func(ctx context.Context, tb *Table) error { return second(tb.Reclaim(ctx)) }
	check := func(ctx context.Context, tb *Table) error { return tb.Check(ctx) }
	clear := func(ctx context.Context, tb *Table) error { return tb.Clear(ctx) }
	for _, s := range []struct {
		name  string
		setup func(*testing.T, *world, *Table)
	}{{"expired", rotten}, {"cleared", clearedAway}, {"a death", died}} {
		for geoName, geo := range map[string]Geometry{"2 stripes": large, "1 stripe": one} {
			name := s.name + ", " + geoName + ": "
			anyOf(name+"Set new", geo, s.setup, setOf("new", 2000, Change{}))
			anyOf(name+"Set larger", geo, s.setup, setOf(old, 4000, Change{}))
			anyOf(name+"Set small", geo, s.setup, setOf(old, 10, Change{}))
			anyOf(name+"Delete", geo, s.setup, del(old))
			anyOf(name+"Expire", geo, s.setup, expire)
			anyOf(name+"Add", geo, s.setup, add)
			anyOf(name+"Reclaim", geo, s.setup, reclaim)
			anyOf(name+"Clear", geo, s.setup, clear)
			anyOf(name+"Check", geo, s.setup, check)
			anyOf(name+"All", geo, s.setup, func(ctx context.Context, tb *Table) error {
				return second(tb.All(ctx, "", true))
			})
		}
	}
	anyOf("Set, overflow", large, crowded, setOf("new", 2000, Change{}))
	anyOf("Delete, overflow", large, inOverflow, del("new"))
	anyOf("Set, growing", growing, func(t *testing.T, w *world, tb *Table) {
		rotten(t, w, tb)
		fillReserved(t, w, tb)
	}, setOf("new", 100<<10, Change{}))
	anyOf("Set, overflow, growing", growing, func(t *testing.T, w *world, tb *Table) {
		crowded(t, w, tb)
		fillReserved(t, w, tb)
	}, setOf("new", 2000, Change{}))
	for _, n := range []int{1, 700, 1500, 4000, 9000} {
		anyOf(fmt.Sprint("Set, full, ", n), tight, full, setOf("new", n, Change{}))
		anyOf(fmt.Sprint("Set old, full, ", n), tight, full, setOf(old, n, Change{}))
		anyOf(fmt.Sprint("Set, evicting, ", n), evicting, full, setOf("new", n, Change{}))
		all[len(all)-1].loses = true
		anyOf(fmt.Sprint("Set, full, busy, ", n), tight, full, setOf("new", n, Change{}))
		all[len(all)-1].busy = true
	}
	anyOf("Reclaim, full", tight, full, reclaim)
	anyOf("LockKey", large, rotten, func(ctx context.Context, tb *Table) error {
		l, _, err := tb.LockKey(ctx, "key", false, Kept)
		if err == nil {
			l.Unlock()
		}
		return err
	})
	return all
}

// fillReserved leaves nearly no memory that is set aside.
func fillReserved(t *testing.T, _ *world, tb *Table) {
	for i := 0; tb.reserved.Load()-uint64(uint32(tb.top.Load()))*Granule > 2000; i++ {
		must(t, second(tb.Set(bg, fmt.Sprint("fill", i), make([]byte, 1500), Change{})))
	}
}

// interrupted runs the operation of a scene on a copy of a world, ended at its n-th look. done says
// that it was not.
func (s *interruptScene) interrupted(w *world, token uint32, how ending, n int) (
	c *world, done bool, err error) {
	c = w.copyOf()
	r, _ := c.rivalled(token, how, n)
	if s.busy {
		own := r.tb.stripeOf(r.tb.hash("new")).i
		for i := range r.tb.stripes {
			if i != own {
				c.span.U32(WriterLock(i)).Store(rivalToken)
			}
		}
	}
	err = r.run(s.op)
	return c, !r.over, err
}

// inOrder says what is wrong with a world after operations were cut short: nothing is lost, and
// everything can be had back.
func inOrder(t *testing.T, w *world, what string, want ...map[string]string) {
	t.Helper()
	tb := w.open(3)
	if err := tb.Check(bg); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if want != nil {
		got, ok := values(t, tb), false
		for _, m := range want {
			ok = ok || maps.Equal(got, m)
		}
		if !ok {
			t.Fatalf("%s: other entries are there than should be", what)
		}
	}
	must(t, tb.Clear(bg))
	must(t, second(tb.Reclaim(bg)))
	if st, err := tb.Stats(); err != nil || st.Top != st.Heap || st.Free != 0 || st.Spare != 0 {
		t.Fatalf("%s: everything is deleted, and the heap goes from %d to %d: %v", what, st.Heap, st.Top, err)
	}
}

// TestInterrupted ends every operation at each of its waits, in every way, and each second
// operation that follows it at each of its own. No block is lost. An operation that failed has
// changed nothing of what counts, any other has done all of it.
func TestInterrupted(t *testing.T) {
	few := slowdown > 1 || testing.Short()
	scenes := interruptScenes()
	trials := 0
	for i := range scenes {
		s := &scenes[i]
		w := newWorld(s.geo)
		s.setup(t, w, w.open(1))
		before := values(t, w.copyOf().open(3))
		plain := w.copyOf()
		want := s.op(bg, plain.open(4))
		after := values(t, plain.open(3))
		for how := range endings {
			for n := 0; ; n++ {
				c, done, err := s.interrupted(w, 4, how, n)
				what := fmt.Sprintf("%s, %v at look %d (%v)", s.name, how, n, err)
				expected := errors.Is(err, want) || !done && (err == nil ||
					errors.Is(err, errEnded) || errors.Is(err, errs.ErrFull))
				if !expected {
					t.Fatalf("%s: the error should be %v", what, want)
				}
				switch trials++; {
				case s.loses:
					inOrder(t, c.copyOf(), what)
				case err != nil:
					inOrder(t, c.copyOf(), what, before)
				default:
					inOrder(t, c.copyOf(), what, after)
				}
				if done {
					break
				}
				if n > 1000 {
					t.Fatalf("%s: it does not come to an end", what)
				}
				if how == endOnce && n == 0 || !few && n < 4 {
					trials += s.twice(t, c, what, few)
				}
			}
		}
	}
	t.Logf("%d trials of %d scenes", trials, len(scenes))
}

// twice ends a second operation, of another process, on what the first one left.
func (s *interruptScene) twice(t *testing.T, w *world, what string, few bool) (trials int) {
	ops := []func(ctx context.Context, tb *Table) error{
		setOf(old, 1700, Change{}),
		func(ctx context.Context, tb *Table) error { return second(tb.Delete(ctx, old, Change{})) },
		func(ctx context.Context, tb *Table) error { return second(tb.Reclaim(ctx)) },
	}
	if few {
		ops = ops[:1]
	}
	for i, op := range ops {
		next := interruptScene{op: op}
		for n := 0; ; n++ {
			c, done, err := next.interrupted(w, 5, endContext, n)
			trials++
			inOrder(t, c, fmt.Sprintf("%s, then operation %d ended at look %d (%v)", what, i, n, err))
			if done {
				break
			}
		}
	}
	return trials
}
