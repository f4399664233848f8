//go:build explore

package explore

import (
	"context"
	"fmt"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/barrier"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/shares"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

const (
	arrived     = barrier.Size // u32 each process
	barrierSize = arrived + 64

	barrierBroken = 1 << 31
)

func newBarrier(p *Proc, r *mem.Region, parties int) *barrier.Barrier {
	return barrier.New(barrier.Config{
		Ctl: r.Span(0), Table: r.Span(1), Parties: uint32(parties), Owners: p.Owners(), Slot: p.ID, Sess: &wait.Session{},
		Gone: func() error { return nil },
	})
}

// meeting lets n processes meet once, the first of them with a context that is done if impatient. All who live go
// on, or none; who goes on knows that all came, and that nobody died who had not been let go.
func meeting(n int, impatient bool) func() *System {
	return func() *System {
		r := mem.NewHeap(mem.Part{Len: barrierSize}, mem.Part{Len: shares.Slots * 8})
		s := r.Span(0)
		sys := &System{Memory: []*mem.Span{s, r.Span(1)}, Quiet: [][2]int{{barrier.Bitmap + 8, barrier.Bitmap + shares.BitmapSize}}}
		results := make([]error, n)
		ended := make([]bool, n)
		for i := range n {
			sys.Procs = append(sys.Procs, func(p *Proc) {
				ctx := context.Background()
				if impatient && i == 0 {
					c, cancel := context.WithCancel(ctx)
					cancel()
					ctx = c
				}
				b := newBarrier(p, r, n)
				s.U32(arrived + 4*i).Store(1)
				_, results[i] = b.Wait(ctx)
				ended[i] = true
				if results[i] != nil {
					return
				}
				for j := range n {
					if s.U32(arrived+4*j).Load() == 0 {
						p.Failf("went on before %d came", j)
					}
				}
			})
		}
		sys.Idle = func([]int) error { // who died before he came is waited for
			there := uint32(0)
			for i := range n {
				if r.Span(1).U64(8*i).Load()>>48 != 0 {
					there++
				}
			}
			if v := s.U64(barrier.Round).Load(); v>>32 != 0 || v&barrierBroken != 0 || uint32(v) != there || int(there) == n {
				return fmt.Errorf("the word is %#x, and %d are there", v, there)
			}
			for _, p := range lastProcs {
				if p.state == dead && r.Span(1).U64(8*p.ID).Load()>>48 != 0 {
					return fmt.Errorf("%d died there", p.ID)
				}
			}
			return nil
		}
		sys.Final = func() error {
			met := s.U64(barrier.Round).Load()>>32 != 0
			for i, err := range results {
				if ended[i] && (err == nil) != met {
					return fmt.Errorf("process %d got %v; they met: %v", i, err, met)
				}
			}
			return nil
		}
		return sys
	}
}

func TestBarrier(t *testing.T) {
	for _, c := range []struct {
		n, deaths, switches int
		impatient           bool
	}{{2, 0, 3, false}, {2, 0, 2, true}, {2, 1, 2, false}, {3, 0, 1, false}, {3, 0, 1, true}} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			explored(t, Options{Deaths: c.deaths, Timeouts: 6 * c.deaths, Switches: c.switches}, meeting(c.n, c.impatient))
		})
	}
}

// Where stores are late.
func TestBarrierWeak(t *testing.T) {
	explored(t, Options{Buffers: true, Weak: true, AtOnce: true, Switches: 2}, meeting(2, false))
}

// Without time-outs: one that dies while the other waits breaks the round.
func TestBarrierNotices(t *testing.T) {
	for _, window := range []bool{false, true} {
		explored(t, Options{Deaths: 1, Watch: true, Window: window, Edge: !window, Switches: 2}, meeting(2, false))
	}
	if deeper() > 0 {
		explored(t, Options{Deaths: 1, Mortal: 1, Watch: true, Edge: true, Switches: 1}, meeting(3, false))
	}
}

// One that was counted and died is found by the last one to come.
func TestBarrierAfterDeath(t *testing.T) {
	explored(t, Options{Deaths: 1, Mortal: 1}, func() *System {
		r := mem.NewHeap(mem.Part{Len: barrierSize}, mem.Part{Len: shares.Slots * 8})
		return &System{Memory: []*mem.Span{r.Span(0), r.Span(1)}, Procs: []func(*Proc){
			func(p *Proc) { _, _ = newBarrier(p, r, 2).Wait(context.Background()) },
			func(p *Proc) {
				if !p.Owners().Dead(1) || r.Span(0).U64(barrier.Round).Load() == 0 {
					return
				}
				if _, err := newBarrier(p, r, 2).Wait(context.Background()); err != barrier.ErrBroken {
					p.Failf("met a dead one: %v", err)
				}
			},
		}, Idle: func(asleep []int) error {
			if len(asleep) == 1 && asleep[0] == 0 {
				return nil // the other one did not come
			}
			return fmt.Errorf("%v", asleep)
		}}
	})
}
