//go:build explore

package explore

import (
	"context"
	"fmt"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/rwlock"
	"github.com/shiplap-ipc/shiplap/internal/shares"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

const (
	rwInside = rwlock.Size // u32 each process: 1 reads, 2 writes
	rwSize   = rwInside + 64
)

func newRW(p *Proc, r *mem.Region) *rwlock.Lock {
	return rwlock.New(rwlock.Config{
		Ctl: r.Span(0), Table: r.Span(1), Stride: 8, Owners: p.Owners(), Slot: p.ID, Sess: &wait.Session{},
	})
}

// readersAndWriters lets each process read or write once. No two may be inside of whom one writes; who comes
// after a writer that died inside finds the damage noted; whoever lives gets his turn.
func readersAndWriters(writes ...bool) func() *System {
	return func() *System {
		r := mem.NewHeap(mem.Part{Len: rwSize}, mem.Part{Len: shares.Slots * 8})
		s := r.Span(0)
		inside := func(i int) *mem.U32 { return s.U32(rwInside + 4*i) }
		sys := &System{Memory: []*mem.Span{s, r.Span(1)}, Clock: lockClock(0), Bounded: []int{lineOf(0)}, Quiet: [][2]int{{rwlock.Bitmap + 8, rwlock.Bitmap + shares.BitmapSize}}}
		for i, write := range writes {
			sys.Procs = append(sys.Procs, func(p *Proc) {
				m := newRW(p, r)
				enter, me := m.RLock, uint32(1)
				if write {
					enter, me = m.Lock, 2
				}
				if err := enter(context.Background()); err != nil {
					p.Failf("%v", err)
					return
				}
				inside(i).Store(me)
				for j := range writes {
					if j == i {
						continue
					}
					other := inside(j).Load()
					if other == 0 || me+other < 3 {
						continue
					}
					dead := p.Owners().Dead(uint32(j) + 1)
					switch {
					case !dead && inside(j).Load() == other:
						p.Failf("inside (%d) with %d (%d)", me, j, other)
					case dead && other == 2 && !m.Damaged():
						p.Failf("not told that %d died writing", j)
					}
				}
				inside(i).Store(0)
				if write {
					m.Unlock()
				} else {
					m.RUnlock()
				}
			})
		}
		sys.Idle = func(asleep []int) error { return fmt.Errorf("%+v", wordlock.Inspect(s, 0)) }
		return sys
	}
}

func TestRWLock(t *testing.T) {
	const r, w = false, true
	for _, c := range []struct {
		deaths, switches int
		procs            []bool
	}{
		{0, 4, []bool{r, w}}, {0, 4, []bool{w, w}}, {1, 3, []bool{r, w}}, {1, 3, []bool{w, w}},
		{0, 2, []bool{r, r, w}}, {0, 2, []bool{r, w, w}}, {1, 1, []bool{r, r, w}}, {1, 1, []bool{r, w, w}},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			explored(t, Options{Deaths: c.deaths, Timeouts: 2 * c.deaths, Switches: c.switches}, readersAndWriters(c.procs...))
		})
	}
}

// Where stores are late.
func TestRWLockWeak(t *testing.T) {
	const r, w = false, true
	for _, procs := range [][]bool{{r, w}, {w, w}} {
		t.Run(fmt.Sprint(procs), func(t *testing.T) {
			explored(t, Options{Buffers: true, Weak: true, AtOnce: true, Switches: 2}, readersAndWriters(procs...))
		})
	}
}

// Without time-outs: a reader or writer that dies is noticed by those who wait for it.
func TestRWLockNotices(t *testing.T) {
	const r, w = false, true
	for _, c := range []struct {
		window, edge bool
		procs        []bool
	}{{false, true, []bool{r, w}}, {true, false, []bool{r, w}}, {false, true, []bool{w, w}}, {true, false, []bool{w, w}}} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			explored(t, Options{Deaths: 1, Watch: true, Window: c.window, Edge: c.edge, Switches: 3}, readersAndWriters(c.procs...))
		})
	}
}

// A writer dies, and so does the one that takes over: the third must be told.
func TestRWLockDeathOfTaker(t *testing.T) {
	const r, w = false, true
	explored(t, Options{Deaths: 2, Mortal: 1 | 2, Timeouts: 8, Switches: 1}, readersAndWriters(w, w, r))
}
