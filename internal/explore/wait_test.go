//go:build explore

package explore

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// deeper is how many switches more are wanted than fit into the usual time.
func deeper() int {
	n, _ := strconv.Atoi(os.Getenv("SHIPLAP_EXPLORE_SWITCHES"))
	return n
}

func explored(t *testing.T, opt Options, build func() *System) {
	t.Helper()
	if opt.Switches > 0 {
		opt.Switches += deeper()
	}
	start := time.Now()
	res, err := Run(opt, build)
	t.Logf("%v, %v", res, time.Since(start).Round(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if !res.Complete {
		t.Error("not everything was explored")
	}
}

// mustFail shows that the explorer sees a mistake.
func mustFail(t *testing.T, opt Options, build func() *System, like string) {
	t.Helper()
	res, err := Run(opt, build)
	t.Log(res)
	var f *Failure
	if !errors.As(err, &f) || !strings.Contains(f.Error(), like) {
		t.Fatalf("the mistake was not found (%q), but %v", like, err)
	}
	t.Log(f)
}

// Variants of the protocol of wait.Event over the same hooks.
type variant struct {
	name                                 string
	noRecheck, noLastWake, noFence, acks bool
}

const sleepers = 1

func (v variant) arm(w *mem.U32) uint32 {
	if v == (variant{}) {
		return wait.NewEvent(w).Arm()
	}
	if v.acks {
		return w.Load()
	}
	x := w.Load()
	for x&sleepers == 0 && !w.CAS(x, x|sleepers) {
		x = w.Load()
	}
	if !v.noFence {
		mem.Heavy()
	}
	return x | sleepers
}

func (v variant) wake(w *mem.U32, n int) {
	if v == (variant{}) || v.noFence || v.noRecheck {
		wait.NewEvent(w).Wake(n)
		return
	}
	x := w.Load()
	if v.acks { // wake only if nobody has since the last change
		if x&1 == 0 && w.CAS(x, x+1) {
			wait.Wake(w, n)
		}
		return
	}
	if x&sleepers == 0 || wait.Wake(w, n) > 0 {
		return
	}
	if w.CAS(x, x+1) && !v.noLastWake {
		wait.Wake(w, futex.All)
	}
}

// items are what producers make and consumers take: one word each, published by StoreRelease as a
// ring does, taken by CAS.
func items(producers, consumers, each int, v variant) func() *System {
	return func() *System {
		n := producers * each
		s := mem.NewHeap(mem.Part{Len: 64 + 8*n}).Span(0)
		word := s.U32(0)
		item := func(i int) *mem.U32 { return s.U32(64 + 8*i) }
		sys := &System{Memory: []*mem.Span{s}}
		for i := range producers {
			sys.Procs = append(sys.Procs, func(p *Proc) {
				for k := range each {
					p.State(k)
					item(i*each + k).StoreRelease(1)
					v.wake(word, 1)
				}
			})
		}
		take := func() bool {
			for i := range n {
				if item(i).Load() == 1 && item(i).CAS(1, 2) {
					return true
				}
			}
			return false
		}
		there := func() bool {
			for i := range n {
				if item(i).Load() == 1 {
					return true
				}
			}
			return false
		}
		for i := range consumers {
			share := n / consumers
			if i < n%consumers {
				share++
			}
			sys.Procs = append(sys.Procs, func(p *Proc) {
				for got := 0; got < share; {
					p.State(got)
					if take() {
						got++
						continue
					}
					if err := sleepOnce(armed(v, word), recheck(v, there)); err != nil {
						p.Failf("%v", err)
					}
				}
			})
		}
		return sys
	}
}

// counter is items with one word for all, where neither side needs a fence.
func counter(producers, consumers, each int, v variant) func() *System {
	return func() *System {
		s := mem.NewHeap(mem.Part{Len: 128}).Span(0)
		word, count := s.U32(0), s.U32(64)
		sys := &System{Memory: []*mem.Span{s}}
		for range producers {
			sys.Procs = append(sys.Procs, func(p *Proc) {
				for k := range each {
					p.State(k)
					count.Add(1)
					v.wake(word, 1)
				}
			})
		}
		n := producers * each
		for i := range consumers {
			share := n / consumers
			if i < n%consumers {
				share++
			}
			sys.Procs = append(sys.Procs, func(p *Proc) {
				for got := 0; got < share; {
					p.State(got)
					if c := count.Load(); c > 0 {
						if count.CAS(c, c-1) {
							got++
						}
						continue
					}
					if err := sleepOnce(armed(v, word), recheck(v, func() bool { return count.Load() > 0 })); err != nil {
						p.Failf("%v", err)
					}
				}
			})
		}
		return sys
	}
}

// quietAtOnce has each request to fence taken back by the first wake-up that meets no sleeper.
func quietAtOnce(t *testing.T) {
	was := wait.QuietMost
	wait.QuietMost = 1
	t.Cleanup(func() { wait.QuietMost = was })
}

func TestEventCounter(t *testing.T) {
	for _, c := range [][4]int{{1, 1, 3}, {1, 2, 2}, {2, 1, 2, 6}, {2, 2, 1, 5}, {2, 2, 2, 3}, {1, 3, 3, 3}, {3, 2, 1, 3}} {
		t.Run(fmt.Sprintf("%dx%dx%d switches %d", c[0], c[1], c[2], c[3]), func(t *testing.T) {
			explored(t, Options{Switches: c[3]}, counter(c[0], c[1], c[2], variant{}))
		})
	}
}

// Several items, or none, in one publication: whoever has not fallen asleep yet counts as well.
func TestEventBatch(t *testing.T) {
	batch := func(consumers, n int) func() *System {
		return func() *System {
			sys := counter(0, consumers, 0, variant{})()
			word, count := sys.Memory[0].U32(0), sys.Memory[0].U32(64)
			sys.Procs = nil
			for range consumers {
				sys.Procs = append(sys.Procs, func(p *Proc) {
					for {
						if c := count.Load(); c > 0 && (n == 0 || count.CAS(c, c-1)) {
							return
						}
						arm := func() (*mem.U32, uint32) { return word, wait.NewEvent(word).Arm() }
						_ = sleepOnce(arm, func() bool { return count.Load() > 0 })
					}
				})
			}
			sys.Procs = append(sys.Procs, func(p *Proc) {
				if n == 0 {
					count.Store(1)
					wait.NewEvent(word).WakeAll()
					return
				}
				count.Add(uint32(n))
				wait.NewEvent(word).Wake(n)
			})
			return sys
		}
	}
	t.Run("2 items, 2 consumers", func(t *testing.T) { explored(t, Options{}, batch(2, 2)) })
	t.Run("3 items, 3 consumers", func(t *testing.T) { explored(t, Options{Switches: 4}, batch(3, 3)) })
	t.Run("news for 2", func(t *testing.T) { explored(t, Options{}, batch(2, 0)) })
	t.Run("news for 3", func(t *testing.T) { explored(t, Options{Switches: 4}, batch(3, 0)) })
}

// Under the memory order of amd64, where a StoreRelease may be passed by the load behind it, and a weaker one.
func TestEventStoreBuffers(t *testing.T) {
	quietAtOnce(t)
	for _, c := range [][4]int{{1, 1, 1}, {1, 1, 3}, {1, 2, 2}, {2, 1, 1}, {2, 2, 1, 4}} {
		t.Run(fmt.Sprintf("%dx%dx%d", c[0], c[1], c[2]), func(t *testing.T) {
			explored(t, Options{Buffers: true, Switches: c[3]}, items(c[0], c[1], c[2], variant{}))
		})
	}
	for _, c := range [][3]int{{1, 1, 2}, {1, 2, 2}, {2, 1, 1}} {
		t.Run(fmt.Sprintf("weak, %dx%dx%d", c[0], c[1], c[2]), func(t *testing.T) {
			explored(t, Options{Buffers: true, Weak: true, AtOnce: true, Switches: 3}, items(c[0], c[1], c[2], variant{}))
		})
	}
}

// The explorer must see what happens without each part of the protocol.
func TestEventMutations(t *testing.T) {
	const stuck = "asleep for ever"
	t.Run("no re-check", func(t *testing.T) {
		mustFail(t, Options{}, counter(1, 1, 1, variant{noRecheck: true}), stuck)
	})
	t.Run("no last wake-all", func(t *testing.T) {
		mustFail(t, Options{Switches: 4}, counter(2, 2, 2, variant{noLastWake: true}), stuck)
	})
	t.Run("acknowledged counter", func(t *testing.T) {
		mustFail(t, Options{}, counter(1, 1, 2, variant{acks: true}), stuck)
	})
	t.Run("no fence", func(t *testing.T) {
		mustFail(t, Options{Buffers: true}, items(1, 1, 1, variant{noFence: true}), stuck)
		explored(t, Options{}, items(1, 1, 1, variant{noFence: true})) // it is the buffers that need it
	})
}
