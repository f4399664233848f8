package shares

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// town is who lives: tokens are the slot, and a generation above.
type town struct {
	mu      sync.Mutex
	dead    map[uint32]bool
	watches map[uint32]map[*func()]bool
	blind   bool // the kernel tells of no death
}

func newTown() *town { return &town{dead: map[uint32]bool{}, watches: map[uint32]map[*func()]bool{}} }

func (w *town) kill(token uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead[token] = true
	for f := range w.watches[token] {
		(*f)()
	}
}

// resident is the town as one process sees it.
type resident struct {
	*town
	me uint32
}

func (r resident) Self() uint32 { return r.me }

func (r resident) Dead(token uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return token != r.me && r.dead[token]
}

func (r resident) Watch(token uint32, f func()) func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.blind {
		return func() {}
	}
	if r.watches[token] == nil {
		r.watches[token] = map[*func()]bool{}
	}
	r.watches[token][&f] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watches[token], &f)
	}
}

const stride = 8

func token(slot, generation int) uint32 { return uint32(generation<<10 | slot) }

// views are tables of several processes over one memory.
func views(w *town, slots ...int) []*Table {
	r := mem.NewHeap(mem.Part{Len: 4096}, mem.Part{Len: Slots * stride})
	var all []*Table
	for _, slot := range slots {
		all = append(all, New(r.Span(0), 1024, r.Span(1), stride, resident{w, token(slot, 1)}, slot))
	}
	return all
}

func TestTable(t *testing.T) {
	w := newTown()
	v := views(w, 0, 63, 64, Slots-1)
	for i, x := range v {
		if x.Add(int32(i)) != uint32(i) || x.Add(1) != uint32(i+1) {
			t.Error("add")
		}
	}
	if n := v[0].Sum(); n != 10 || len(v[1].All()) != 4 || v[2].Reap() != 0 {
		t.Errorf("sum %d, %v", n, v[1].All())
	}
	if v[3].Add(-4) != 0 || len(v[0].All()) != 3 {
		t.Error("what is zero is listed")
	}
	w.kill(token(63, 1))
	if !v[0].AnyDead(func(n uint32) bool { return n == 2 }, never) || v[0].AnyDead(func(n uint32) bool { return n == 3 }, never) {
		t.Error("AnyDead")
	}
	if n := v[0].Sum(); n != 6 {
		t.Errorf("AnyDead changed the sum to %d", n)
	}
	if v[0].AnyDead(never, func(n uint32) bool { return n == 2 }) || v[0].Sum() != 4 {
		t.Error("AnyDead did not clear what is past")
	}
	w.kill(token(64, 1))
	if v[0].Reap() != 1 || v[0].Reap() != 0 || v[0].Sum() != 1 {
		t.Errorf("reaped, and the sum is %d", v[0].Sum())
	}
	if !v[1].Living() || v[0].Add(-1) != 0 || v[1].Living() {
		t.Error("living")
	}
}

func never(uint32) bool { return false }

// The next owner of a slot begins with nothing, whatever the last one left, and is not taken for him.
func TestNextOwner(t *testing.T) {
	w := newTown()
	v := views(w, 5, 6)
	v[0].Add(7)
	w.kill(token(5, 1))
	next := *v[0]
	next.me, next.owners = token(5, 2), resident{w, token(5, 2)}
	if next.Add(1) != 1 || v[1].Reap() != 0 || v[1].Sum() != 1 {
		t.Errorf("sum %d", v[1].Sum())
	}
	if e := v[1].All(); len(e) != 1 || e[0] != (Entry{token(5, 2), 1}) {
		t.Errorf("%v", e)
	}
}

// Goroutines of several processes add, while others look and reap.
func TestConcurrent(t *testing.T) {
	w := newTown()
	v := views(w, 1, 2, 3)
	end := make(chan struct{})
	var adders, lookers sync.WaitGroup
	for _, x := range v {
		for range 3 {
			adders.Go(func() {
				for range 2000 {
					x.Add(2)
					x.Update(func(n uint32) uint32 { return n - 1 })
				}
			})
		}
		lookers.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				if x.Reap() != 0 || x.AnyDead(func(uint32) bool { return true }, never) {
					t.Error("the living were called dead")
					return
				}
			}
		})
	}
	adders.Wait()
	close(end)
	lookers.Wait()
	if n := v[0].Sum(); n != 9*2000 {
		t.Errorf("sum %d", n)
	}
}

// waitFor waits until nobody lives in the table.
func waitFor(ctx context.Context, v *Table, ev wait.Event, s *wait.Session) error {
	return v.Wait(ctx, s, ev, func(t *Table) (bool, error) { return !t.Living(), nil })
}

func TestWait(t *testing.T) {
	for _, blind := range []bool{false, true} {
		w := newTown()
		w.blind = blind
		v := views(w, 1, 2, 3)
		word := mem.NewHeap(mem.Part{Len: 64}).Span(0).U32(0)
		ev := wait.NewEvent(word)
		var s wait.Session
		if err := waitFor(t.Context(), v[0], ev, &s); err != nil {
			t.Fatal(err)
		}
		v[1].Add(1)
		v[2].Add(1)
		done := make(chan error)
		go func() { done <- waitFor(t.Context(), v[0], ev, &s) }()
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
		v[1].Add(-1)
		ev.WakeAll()
		begin := time.Now()
		w.kill(token(3, 1))
		if err := <-done; err != nil {
			t.Error(err)
		}
		t.Logf("blind %v: told of the death after %v", blind, time.Since(begin))
		for token, fs := range w.watches {
			if len(fs) > 0 {
				t.Errorf("%#x is still watched", token)
			}
		}
	}
}

// What has to end says why, unless what it waits for is there just then.
func TestWaitEnds(t *testing.T) {
	v := views(newTown(), 1, 2)
	ev := wait.NewEvent(mem.NewHeap(mem.Part{Len: 64}).Span(0).U32(0))
	v[1].Add(1)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(5*time.Millisecond, cancel)
	if err := waitFor(ctx, v[0], ev, &wait.Session{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	time.AfterFunc(5*time.Millisecond, cancel)
	took := 0
	err := v[0].Wait(ctx, &wait.Session{}, ev, func(*Table) (bool, error) { // true once, and for good
		if ctx.Err() == nil {
			return false, nil
		}
		took++
		return took == 1, nil
	})
	if err != nil || took != 1 {
		t.Errorf("%v after %d looks", err, took)
	}
	why := errors.New("why")
	if err := v[0].Wait(context.Background(), &wait.Session{}, ev, func(*Table) (bool, error) { return false, why }); err != why {
		t.Errorf("%v", err)
	}
}

// FuzzTable reads tables that somebody made up.
func FuzzTable(f *testing.F) {
	f.Add([]byte{1}, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, []byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, bitmap, entries []byte) {
		r := mem.NewHeap(mem.Part{Len: 4096}, mem.Part{Len: Slots * stride})
		copy(r.Span(0).Bytes(1024, BitmapSize), bitmap)
		copy(r.Span(1).Bytes(0, Slots*stride), entries)
		w := newTown()
		v := New(r.Span(0), 1024, r.Span(1), stride, resident{w, token(3, 1)}, 3)
		for _, e := range v.All() {
			w.kill(e.Token)
		}
		v.AnyDead(func(n uint32) bool { return n == 1 }, func(n uint32) bool { return n == 2 })
		v.Reap()
		for _, e := range v.All() {
			if e.Token != token(3, 1) {
				t.Fatalf("%+v is left", e)
			}
		}
		// Nobody but its owner writes an entry with the owner's token, and its mark before it.
		if e := split(v.own.Load()); e.Token == token(3, 1) && r.Span(0).U64(1024).Load()&(1<<3) == 0 {
			return
		}
		before := v.Sum()
		if v.Add(1); before < 1<<32-1 && v.Sum() != before+1 {
			t.Errorf("%d, and one more is %d", before, v.Sum())
		}
	})
}

// leaver is a town in which a process gives back what it holds, and leaves, when its death is asked about.
type leaver struct {
	resident
	leaves func()
}

func (l leaver) Dead(token uint32) bool {
	l.leaves()
	return l.resident.Dead(token)
}

// A process that gives back what it holds between the look at its entry and the look whether it lives has not died with
// it.
func TestLeftBeforeDeath(t *testing.T) {
	w := newTown()
	v := views(w, 1, 2)
	leaves := func() {}
	x := *v[0]
	x.owners = leaver{resident{w, token(1, 1)}, func() { leaves() }}
	counts := func(n uint32) bool { return n > 0 }
	v[1].Add(2)
	leaves = func() { v[1].Add(-2); w.kill(token(2, 1)); leaves = func() {} }
	if x.AnyDead(counts, never) {
		t.Error("one that left is found dead")
	}
	if n := x.DiedWith(token(2, 1)); n != 0 {
		t.Errorf("one that left died with %d", n)
	}
	v = views(w, 1, 3)
	v[1].Add(2)
	w.kill(token(3, 1))
	if n := v[0].DiedWith(token(3, 1)); n != 2 || !v[0].AnyDead(counts, never) {
		t.Errorf("died with %d", n)
	}
}
