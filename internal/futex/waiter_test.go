//go:build linux && (amd64 || arm64)

package futex

import (
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestWake(t *testing.T) {
	eachWay(t, func(t *testing.T, y way) {
		word := uint32(7)
		s := fall(&word, 7, time.Hour, new(flag))
		y.asleepIn(t, 1)
		wakeExactly(t, &word, 1)
		s.want(t, Woken)
		if n := Wake(&word, All); n != 0 {
			t.Fatalf("woke %d of nobody", n)
		}
	})
}

func TestChanged(t *testing.T) {
	eachWay(t, func(t *testing.T, y way) {
		word := uint32(7)
		fall(&word, 8, time.Hour, new(flag)).want(t, Changed)
		word = 0
		fall(&word, math.MaxUint32, time.Hour, new(flag)).want(t, Changed)
	})
}

func TestTimedOut(t *testing.T) {
	eachWay(t, func(t *testing.T, y way) {
		for _, bound := range []time.Duration{1, time.Millisecond, 20 * time.Millisecond} {
			onTime(t, lookEvery+time.Second, func() time.Duration {
				var word uint32
				start := time.Now()
				fall(&word, 0, bound, new(flag)).want(t, TimedOut)
				late := time.Since(start) - bound
				if late < 0 {
					t.Errorf("bound %v: early by %v", bound, -late)
				}
				return late
			})
		}
	})
}

func TestLongestBound(t *testing.T) {
	eachWay(t, func(t *testing.T, y way) {
		var word uint32
		s := fall(&word, 0, math.MaxInt64, nil)
		must(t, "asleep", func() bool { d, _, _ := Sleepers(); return d > 0 })
		s.w.Poke()
		s.want(t, Poked)
	})
}

func TestPokeBefore(t *testing.T) {
	eachWay(t, func(t *testing.T, y way) {
		var word uint32
		w := Get()
		defer w.Put()
		w.Poke()
		for range 3 { // sticky
			if r := w.Sleep(&word, 0, time.Hour, new(flag)); r != Poked {
				t.Fatal(r)
			}
		}
		w.ClearPoke()
		if r := w.Sleep(&word, 0, time.Millisecond, new(flag)); r != TimedOut {
			t.Fatalf("after ClearPoke: %v", r)
		}
	})
}

func TestPokeDuring(t *testing.T) {
	eachWay(t, func(t *testing.T, y way) {
		var word uint32
		var worst time.Duration
		for range 50 {
			s := fall(&word, 0, time.Hour, new(flag))
			y.asleepIn(t, 1)
			start := time.Now()
			s.w.Poke()
			s.want(t, Poked)
			worst = max(worst, time.Since(start))
		}
		t.Logf("slowest of 50: %v", worst)
	})
}

// A Poke at any moment around the start of a sleep must not be missed.
func TestPokeRace(t *testing.T) {
	eachWay(t, func(t *testing.T, y way) {
		var word uint32
		w := Get()
		defer w.Put()
		f := new(flag)
		start, done := make(chan int), make(chan struct{})
		go func() {
			for n := range start {
				for range n {
					spin.Add(1)
				}
				w.Poke()
				done <- struct{}{}
			}
		}()
		defer close(start)
		for i := range 3000 {
			start <- i % 300
			if r := w.Sleep(&word, 0, time.Minute, f); r != Poked {
				t.Fatalf("try %d: %v", i, r)
			}
			<-done
			w.ClearPoke()
		}
	})
}

var spin atomic.Int64

// Pokes that come after Put are at worst spurious wake-ups for the next user,
// which here is the same Waiter every time, as if the pool had given it back.
func TestLatePoke(t *testing.T) {
	eachWay(t, func(t *testing.T, y way) {
		var word uint32
		stop, stopped := make(chan struct{}), make(chan struct{})
		w := Get()
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
					w.Poke()
					runtime.Gosched()
				}
			}
		}()
		for i := range 500 {
			w.ClearPoke()
			switch r := w.Sleep(&word, 0, time.Millisecond, new(flag)); r {
			case Woken, Poked, TimedOut:
			default:
				t.Errorf("try %d: %v", i, r)
			}
		}
		close(stop)
		<-stopped
		w.Put()
	})
}

// A sleeper on one of many words is woken by its own word alone.
func TestWakeOthersStay(t *testing.T) {
	eachWay(t, func(t *testing.T, y way) {
		var words [8]uint32
		var all []*sleeper
		for i := range words {
			all = append(all, fall(&words[i], 0, time.Hour, new(flag)))
		}
		y.asleepIn(t, len(all))
		for i, s := range all {
			wakeExactly(t, &words[i], 1)
			s.want(t, Woken)
			for _, other := range all[i+1:] {
				if other.ended() {
					t.Fatalf("waking word %d resumed another", i)
				}
			}
		}
	})
}

func TestWakeOne(t *testing.T) {
	eachWay(t, func(t *testing.T, y way) {
		const n = 10
		var word uint32
		done := make(chan Result, n)
		for range n {
			go func() {
				w := Get()
				defer w.Put()
				done <- w.Sleep(&word, 0, time.Hour, new(flag))
			}()
		}
		y.asleepIn(t, n)
		for left := n; left > 0; left-- {
			wakeExactly(t, &word, 1)
			if r := <-done; r != Woken {
				t.Fatal(r)
			}
			y.asleepIn(t, left-1) // exactly: the rest stays
			if len(done) != 0 {
				t.Fatalf("one wake-up ended %d sleeps", 1+len(done))
			}
		}
	})
}

// A wake-up that never came is healed when Ready says so.
func TestSwallowedWake(t *testing.T) {
	eachWay(t, func(t *testing.T, y way) {
		onTime(t, 2*lookEvery+100*time.Millisecond, func() time.Duration {
			var word uint32
			f := new(flag)
			s := fall(&word, 0, time.Hour, f)
			y.asleepIn(t, 1)
			start := time.Now()
			f.up.Store(true)
			s.want(t, Woken)
			return time.Since(start)
		})
	})
}

// A panic in Ready counts as true and does not leave the package.
func TestReadyPanics(t *testing.T) {
	eachWay(t, func(t *testing.T, y way) {
		var word uint32
		mem := page(t)
		if err := unix.Munmap(mem); err != nil {
			t.Fatal(err)
		}
		for _, ready := range []readyFunc{
			func() bool { panic("no") },
			func() bool { return mem[0] != 0 }, // a fault
		} {
			fall(&word, 0, time.Hour, ready).want(t, Woken)
		}
	})
}

// bad calls f with an address that is no good once the function returned has
// been called, for each way to get there.
func bad(t *testing.T, f func(t *testing.T, addr *uint32, spoil func())) {
	t.Run("unmapped", func(t *testing.T) {
		mem := page(t)
		f(t, (*uint32)(unsafe.Pointer(&mem[64])), func() {
			if err := unix.Munmap(mem); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("truncated", func(t *testing.T) {
		fd, err := unix.MemfdCreate("futex-test", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := unix.Ftruncate(fd, 4096); err != nil {
			t.Fatal(err)
		}
		mem, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Munmap(mem)
		f(t, (*uint32)(unsafe.Pointer(&mem[64])), func() {
			if err := unix.Ftruncate(fd, 0); err != nil {
				t.Fatal(err)
			}
		})
	})
}

func TestFault(t *testing.T) {
	eachWay(t, func(t *testing.T, y way) {
		bad(t, func(t *testing.T, addr *uint32, spoil func()) {
			spoil()
			fall(addr, 0, time.Hour, new(flag)).want(t, Fault)
			if n := Wake(addr, All); n != 0 {
				t.Errorf("Wake = %d", n)
			}
		})
		t.Run("unaligned", func(t *testing.T) {
			mem := page(t)
			defer unix.Munmap(mem)
			fall((*uint32)(unsafe.Pointer(&mem[61])), 0, time.Hour, new(flag)).want(t, Fault)
		})
	})
}

// What the algorithms do all day must not allocate.
func TestAllocs(t *testing.T) {
	eachWay(t, func(t *testing.T, y way) {
		var word, ping, pong uint32
		f := new(flag)
		w := Get()
		defer w.Put()
		stop := make(chan struct{})
		go func() { // answers each ping
			defer close(stop)
			w := Get()
			defer w.Put()
			for seen := uint32(0); ; {
				if now := atomic.LoadUint32(&ping); now == math.MaxUint32 {
					return
				} else if now != seen {
					seen = now
					atomic.StoreUint32(&pong, now)
					Wake(&pong, 1)
				}
				w.Sleep(&ping, seen, time.Hour, f)
			}
		}()
		for _, c := range []struct {
			name string
			f    func()
		}{
			{"changed", func() { w.Sleep(&word, 1, time.Hour, f) }},
			{"timed out", func() { w.Sleep(&word, 0, 1, nil) }},
			{"poked", func() { w.Poke(); w.Sleep(&word, 0, 1, f); w.ClearPoke() }},
			{"wake", func() { Wake(&word, All) }},
			{"round trip", func() {
				n := atomic.AddUint32(&ping, 1)
				Wake(&ping, 1)
				for p := atomic.LoadUint32(&pong); p != n; p = atomic.LoadUint32(&pong) {
					w.Sleep(&pong, p, time.Hour, f)
				}
			}},
		} {
			if n := testing.AllocsPerRun(200, c.f); n != 0 {
				t.Errorf("%s: %v allocations", c.name, n)
			}
		}
		atomic.StoreUint32(&ping, math.MaxUint32)
		Wake(&ping, All)
		<-stop
	})
}

func TestResultString(t *testing.T) {
	for r, want := range map[Result]string{Woken: "woken", TimedOut: "timed out", Fault: "fault", 9: "Result(9)", -1: "Result(-1)"} {
		if r.String() != want {
			t.Errorf("%d: %q, want %q", int(r), r, want)
		}
	}
}

// A round trip between two goroutines that always sleep.
func BenchmarkRoundTrip(b *testing.B) {
	for _, c := range []struct {
		name string
		fill int
		mode uint32
	}{{"direct", 0, modeWaitv}, {"muxed", DirectMax, modeWaitv}, {"plain", 0, modePlain}} {
		b.Run(c.name, func(b *testing.B) {
			old := mode.Swap(c.mode)
			defer mode.Store(old)
			var all []*sleeper
			for range c.fill {
				all = append(all, fall(new(uint32), 0, time.Hour, nil))
			}
			eventually(func() bool { d, _, _ := Sleepers(); return d == c.fill })
			var ping, pong uint32
			f := new(flag)
			n := uint32(b.N)
			turn := func(mine, other *uint32, reply bool) {
				w := Get()
				defer w.Put()
				for i := uint32(1); i <= n; i++ {
					if !reply {
						atomic.StoreUint32(mine, i)
						Wake(mine, 1)
					}
					for v := atomic.LoadUint32(other); v != i; v = atomic.LoadUint32(other) {
						w.Sleep(other, v, time.Hour, f)
					}
					if reply {
						atomic.StoreUint32(mine, i)
						Wake(mine, 1)
					}
				}
			}
			done := make(chan struct{})
			go func() { defer close(done); turn(&pong, &ping, true) }()
			turn(&ping, &pong, false)
			<-done
			for _, s := range all {
				s.w.Poke()
				<-s.done
			}
		})
	}
}
