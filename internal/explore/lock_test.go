//go:build explore

package explore

import (
	"context"
	"fmt"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// lockClock are the times in a lock record at off.
func lockClock(off int) (words []int) {
	words = append(words, off+8)
	for i := range 6 {
		words = append(words, off+40+16*i)
	}
	return words
}

// lineOf is where newcomers stand behind somebody in line, for a short time by design.
func lineOf(off int) int { return off + 24 }

// lockers locks with n processes, rounds times each. No two may be inside; who follows a dead one
// must be told; and whoever lives gets his turn.
func lockers(n, rounds int) func() *System {
	return func() *System {
		s := mem.NewHeap(mem.Part{Len: 256}).Span(0)
		inside := s.U32(128) // 1 + who is inside
		sys := &System{Memory: []*mem.Span{s}, Clock: lockClock(0), Bounded: []int{lineOf(0)}}
		done := make([]int, n)
		var died uint // bit i: i was seen dead
		for i := range n {
			sys.Procs = append(sys.Procs, func(p *Proc) {
				o := p.Owners()
				l := wordlock.New(s, 0, o, &wait.Session{})
				for k := range rounds {
					p.State(k)
					recovered, err := l.Lock(context.Background())
					if err != nil {
						p.Failf("%v", err)
						return
					}
					if was := inside.Load(); was != 0 {
						switch {
						case !o.Dead(was):
							p.Failf("%d is inside and lives", was-1)
						case !recovered:
							p.Failf("not told that %d died inside", was-1)
						}
						died |= 1 << (was - 1)
					}
					inside.Store(uint32(p.ID) + 1)
					if inside.Load() != uint32(p.ID)+1 {
						p.Failf("not alone")
					}
					inside.Store(0)
					l.Unlock()
					done[i]++
				}
			})
		}
		sys.Idle = func(asleep []int) error { return fmt.Errorf("%+v", wordlock.Inspect(s, 0)) }
		return sys
	}
}

func TestLock(t *testing.T) {
	for _, c := range []struct{ procs, rounds, deaths, switches int }{
		{2, 1, 0, 0}, {2, 2, 0, 0}, {2, 1, 1, 0}, {3, 1, 0, 4}, {3, 1, 1, 3}, {3, 1, 2, 2}, {2, 2, 1, 4},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			explored(t, Options{Deaths: c.deaths, Timeouts: 2 * c.deaths, Switches: c.switches}, lockers(c.procs, c.rounds))
		})
	}
}

// Where stores are late.
func TestLockWeak(t *testing.T) {
	explored(t, Options{Buffers: true, Weak: true, AtOnce: true, Switches: 3}, lockers(2, 1))
}

// Without time-outs: whoever sleeps is woken, or told of the death of the owner.
func TestLockNotices(t *testing.T) {
	for _, c := range []struct {
		procs, deaths, switches int
		window, edge            bool
	}{
		{2, 1, 0, false, false}, {2, 1, 0, true, false}, {2, 1, 0, false, true}, {3, 1, 1, false, true}, {3, 2, 1, false, true},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			explored(t, Options{Deaths: c.deaths, Watch: true, Window: c.window, Edge: c.edge, Switches: c.switches}, lockers(c.procs, 1))
		})
	}
}

// A lock that forgets to wake, and one that does not keep others in mind.
func TestLockMutations(t *testing.T) {
	simple := func(bit func(uint32) uint32) func() *System {
		return func() *System {
			s := mem.NewHeap(mem.Part{Len: 128}).Span(0)
			w := s.U32(0)
			sys := &System{Memory: []*mem.Span{s}}
			for range 3 {
				sys.Procs = append(sys.Procs, func(p *Proc) {
					me := uint32(p.ID) + 1
					for !w.CAS(0, bit(me)) {
						v := w.Load()
						if v == 0 || v>>31 == 0 && !w.CAS(v, v|1<<31) {
							continue
						}
						_ = sleepOnce(func() (*mem.U32, uint32) { return w, v | 1<<31 }, nil)
					}
					if w.Swap(0)>>31 != 0 {
						wait.Wake(w, 1)
					}
				})
			}
			return sys
		}
	}
	// Who takes the lock after a sleep must leave the bit set for those who sleep on.
	mustFail(t, Options{Switches: 4}, simple(func(me uint32) uint32 { return me }), "asleep for ever")
	explored(t, Options{Switches: 2}, simple(func(me uint32) uint32 { return me | 1<<31 }))
}
