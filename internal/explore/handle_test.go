//go:build explore

package explore

import (
	"fmt"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
)

// A pin is closed by one goroutine while another one calls, or has a view. What it calls when it is over unmaps.
func TestPin(t *testing.T) {
	for _, c := range []Options{{}, {Buffers: true}, {Buffers: true, Weak: true}} {
		for _, lend := range []bool{false, true} {
			t.Run(fmt.Sprintf("lend=%v, buffers=%v, weak=%v", lend, c.Buffers, c.Weak), func(t *testing.T) {
				explored(t, c, func() *System {
					s := mem.NewHeap(mem.Part{Len: 64}).Span(0)
					pin, over := &object.Pin{}, 0
					pin.Init(func() {
						over++
						current().Leave(true)
					})
					sys := &System{Memory: []*mem.Span{s}, Private: []any{pin}, Process: []int{0, 0}}
					sys.Procs = []func(*Proc){
						func(*Proc) {
							for range 2 {
								if !pin.Enter() {
									return
								}
								s.U64(0).Load()
								if !lend {
									pin.Leave()
									continue
								}
								pin.Lend()
								s.U64(8).Load()
								pin.Return()
							}
						},
						func(*Proc) { pin.Close() },
					}
					sys.Final = func() error {
						if over != 1 {
							return fmt.Errorf("it was over %d times", over)
						}
						return nil
					}
					return sys
				})
			})
		}
	}
}

// One goroutine sleeps, another one pokes it: before, while, or after it falls asleep. The words of a Waiter are no
// words of package mem, so states are not told apart.
func TestPoke(t *testing.T) {
	t.Run("one sleep", func(t *testing.T) {
		explored(t, Options{NoStates: true}, func() *System {
			s := mem.NewHeap(mem.Part{Len: 64}).Span(0)
			w := futex.Get()
			return &System{Memory: []*mem.Span{s}, Touch: true, Process: []int{0, 0}, Procs: []func(*Proc){
				func(*Proc) { w.Sleep(s.U32(0).Ptr(), 0, time.Second, nil) },
				func(*Proc) { w.Poke() },
			}}
		})
	})
	t.Run("until a level", func(t *testing.T) {
		explored(t, Options{NoStates: true}, func() *System {
			s := mem.NewHeap(mem.Part{Len: 64}).Span(0)
			w := futex.Get()
			return &System{Memory: []*mem.Span{s}, Touch: true, Process: []int{0, 0}, Procs: []func(*Proc){
				func(*Proc) {
					for s.U32(8).Load() == 0 {
						if w.Sleep(s.U32(0).Ptr(), 0, time.Second, nil) == futex.Poked {
							w.ClearPoke()
						}
					}
				},
				func(*Proc) {
					w.Poke()
					s.U32(8).Store(1)
					w.Poke()
				},
			}}
		})
	})
}
