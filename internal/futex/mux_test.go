//go:build linux && (amd64 || arm64)

package futex

import (
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// muxedTest is for what only multiplexed sleepers do.
func muxedTest(t *testing.T) way {
	needWaitv(t)
	setMode(t, modeWaitv)
	fillDirect(t)
	return way{muxed: true}
}

func TestTenThousand(t *testing.T) {
	needWaitv(t)
	setMode(t, modeWaitv)
	const n = 10_000
	words := make([]uint32, n)
	f := new(flag)
	all := make([]*sleeper, n)
	start := time.Now()
	for i := range all {
		all[i] = fall(&words[i], 0, time.Hour, f)
	}
	must(t, "all asleep", func() bool { d, m, _ := Sleepers(); return d+m == n })
	t.Logf("asleep after %v", time.Since(start))
	d, m, muxThreads := Sleepers()
	if want := (n - DirectMax + muxSize - 1) / muxSize; d != DirectMax || m != n-DirectMax || muxThreads != want {
		t.Errorf("%d direct, %d in %d multiplexers, want %d", d, m, muxThreads, want)
	}

	cpu, asked := cpuTime(t), f.asked.Load()
	time.Sleep(2 * time.Second) // the length of a measurement
	cpu, asked = cpuTime(t)-cpu, f.asked.Load()-asked
	t.Logf("%d threads; idle for 2 s: %v of CPU (%.2f %%), %.1f questions a second and sleeper",
		threads(t), cpu, cpu.Seconds()/2*100, float64(asked)/n/2)
	if cpu > 100*time.Millisecond && !raceEnabled {
		t.Errorf("%v of CPU in 2 s, want less than 5 %%", cpu)
	}
	if asked > 5*2*n {
		t.Errorf("asked %d times in 2 s, want at most 4 a second for each of %d", asked, n)
	}
	if n := threads(t); n > 120 {
		t.Errorf("%d threads", n)
	}
	if d, m, _ := Sleepers(); d+m != n {
		t.Fatalf("%d still asleep of %d", d+m, n)
	}

	start = time.Now()
	for i := range words {
		atomic.AddUint32(&words[i], 1)
		Wake(&words[i], 1)
	}
	for i, s := range all {
		select {
		case r := <-s.done:
			if r != Woken && r != Changed {
				t.Fatalf("sleeper %d: %v", i, r)
			}
			s.w.Put()
		case <-time.After(patience):
			t.Fatalf("sleeper %d not woken", i)
		}
	}
	t.Logf("all woken after %v", time.Since(start))
	mustQuiet(t)
}

func TestTenThousandPoked(t *testing.T) {
	needWaitv(t)
	setMode(t, modeWaitv)
	const n = 10_000
	var word uint32 // all on one
	all := make([]*sleeper, n)
	for i := range all {
		all[i] = fall(&word, 0, time.Hour, new(flag))
	}
	must(t, "all asleep", func() bool { d, m, _ := Sleepers(); return d+m == n })
	start := time.Now()
	for _, s := range all {
		s.w.Poke()
	}
	for _, s := range all {
		s.want(t, Poked)
	}
	t.Logf("all resumed after %v", time.Since(start))
}

// Without a Ready there is nobody to ask: a thread each.
func TestNilReadyStaysDirect(t *testing.T) {
	muxedTest(t)
	var word uint32
	s := fall(&word, 0, time.Hour, nil)
	must(t, "one more direct", func() bool { d, m, _ := Sleepers(); return d == DirectMax+1 && m == 0 })
	s.w.Poke()
	s.want(t, Poked)
}

func TestPokeAmongMuxed(t *testing.T) {
	y := muxedTest(t)
	var word uint32
	var all []*sleeper
	for range 300 { // three multiplexers
		all = append(all, fall(&word, 0, time.Hour, new(flag)))
	}
	y.asleepIn(t, len(all))
	for i := 0; i < len(all); i += 2 {
		all[i].w.Poke()
		all[i].want(t, Poked)
	}
	for i := 1; i < len(all); i += 2 {
		if all[i].ended() {
			t.Fatalf("sleeper %d resumed by another's poke", i)
		}
	}
	wakeExactly(t, &word, len(all)/2)
	woken := 0
	for i := 1; i < len(all); i += 2 {
		all[i].w.Poke()
		select {
		case r := <-all[i].done:
			if r == Woken {
				woken++
			} else if r != Poked {
				t.Fatal(r)
			}
		case <-time.After(patience):
			t.Fatal("still asleep")
		}
	}
	t.Logf("%d of %d told woken", woken, len(all)/2)
}

// The kernel sleeps on the word of a poked sleeper until the next round. A
// wake-up that arrives there must reach somebody who is still asleep.
func TestStaleWakeIsPassedOn(t *testing.T) {
	y := muxedTest(t)
	var words [2]uint32
	stale := fall(&words[0], 0, time.Hour, new(flag)) // queued first, so woken first
	y.asleepIn(t, 1)
	// Known to the kernel for sure: it has gone to sleep again after a time-out.
	f := new(flag)
	other := fall(&words[1], 0, time.Hour, f)
	y.asleepIn(t, 2)
	n := f.asked.Load()
	must(t, "a round", func() bool { return f.asked.Load() > n })
	must(t, "armed", func() bool { return kernelKnows(stale.w) && kernelKnows(other.w) })
	live := fall(&words[0], 0, time.Hour, nil) // direct, behind the stale one
	must(t, "one more direct", func() bool { d, _, _ := Sleepers(); return d == DirectMax+1 })

	stale.w.Poke()
	stale.want(t, Poked)
	wakeExactly(t, &words[0], 1)
	live.want(t, Woken)
	other.w.Poke()
	other.want(t, Poked)
}

func kernelKnows(w *Waiter) bool {
	m := w.mux.Load()
	m.mu.Lock()
	defer m.mu.Unlock()
	return w.entry.pos > 0 && !m.coming
}

// A Poke between the decision for a multiplexer and the entry there.
func TestPokeBeforeEntry(t *testing.T) {
	muxedTest(t)
	var word uint32
	onTime(t, lookEvery/2, func() time.Duration { // the lookout would find it too
		muxes.mu.Lock()
		s := fall(&word, 0, time.Hour, new(flag))
		inTime := eventually(func() bool { return s.w.place.Load() == inMux })
		s.w.Poke()
		muxes.mu.Unlock()
		if !inTime {
			t.Fatal("not on the way to a multiplexer")
		}
		start := time.Now()
		s.want(t, Poked)
		took := time.Since(start)
		mustQuietMuxes(t)
		return took
	})
}

func mustQuietMuxes(t *testing.T) {
	t.Helper()
	must(t, "no multiplexer", func() bool { _, _, n := Sleepers(); return n == 0 })
}

// An entry that comes between arm and the kernel's sleep is seen at once.
func TestStirWhileFallingAsleep(t *testing.T) {
	needWaitv(t)
	m := newMux()
	n := m.arm()
	m.mu.Lock()
	first, second := m.stir(), m.stir()
	m.mu.Unlock()
	if !first || second {
		t.Errorf("stir: %v, then %v; want one wake-up", first, second)
	}
	m.until.set(after(now(), time.Second))
	if _, errno := waitMany(&m.vec[0], n, &m.until); errno != unix.EAGAIN {
		t.Errorf("slept: %v", errno)
	}
}

// A multiplexer ends soon after its last sleeper was poked.
func TestMuxEnds(t *testing.T) {
	y := muxedTest(t)
	var word uint32
	onTime(t, lookEvery/2, func() time.Duration {
		s := fall(&word, 0, time.Hour, new(flag))
		y.asleepIn(t, 1)
		must(t, "armed", func() bool { return kernelKnows(s.w) })
		start := time.Now()
		s.w.Poke()
		s.want(t, Poked)
		mustQuietMuxes(t)
		return time.Since(start)
	})
}

// Memory goes away under one sleeper: it is told, and the others stay.
func TestFaultAmongMuxed(t *testing.T) {
	y := muxedTest(t)
	bad(t, func(t *testing.T, addr *uint32, spoil func()) {
		var word uint32
		var others []*sleeper
		for range 20 {
			others = append(others, fall(&word, 0, time.Hour, new(flag)))
		}
		victim := fall(addr, 0, time.Hour, new(flag))
		y.asleepIn(t, 21)
		spoil()
		victim.want(t, Fault)
		for _, s := range others {
			if s.ended() {
				t.Fatal("another was resumed")
			}
		}
		for _, s := range others {
			s.w.Poke()
			s.want(t, Poked)
		}
	})
}

// A word that we can read and the kernel refuses: the others still get their
// wake-ups, and nothing spins.
func TestRefusedAmongMuxed(t *testing.T) {
	y := muxedTest(t)
	mem := page(t)
	defer unix.Munmap(mem)
	var word uint32
	good := fall(&word, 0, time.Hour, new(flag))
	y.asleepIn(t, 1)
	fall((*uint32)(unsafe.Pointer(&mem[61])), 0, time.Hour, new(flag)).want(t, Fault)
	wakeExactly(t, &word, 1)
	good.want(t, Woken)
}

// A poked sleeper's word may be unmapped at once; its multiplexer must get over it.
func TestUnmapAfterPoke(t *testing.T) {
	y := muxedTest(t)
	var word uint32
	f := new(flag)
	good := fall(&word, 0, time.Hour, f)
	y.asleepIn(t, 1)
	for range 100 {
		mem := page(t)
		s := fall((*uint32)(unsafe.Pointer(&mem[0])), 0, time.Hour, new(flag))
		y.asleepIn(t, 2)
		s.w.Poke()
		s.want(t, Poked)
		if err := unix.Munmap(mem); err != nil {
			t.Fatal(err)
		}
	}
	cpu := cpuTime(t)
	n := f.asked.Load()
	must(t, "four rounds", func() bool { return f.asked.Load() >= n+4 })
	t.Logf("%v of CPU in four rounds", cpuTime(t)-cpu)
	if good.ended() {
		t.Fatal("another was resumed")
	}
	wakeExactly(t, &word, 1)
	good.want(t, Woken)
}

// Items and tokens: every producer publishes and wakes one, as the event words
// do. Nobody may be left behind, whatever wake-ups arrive together.
func TestManyConsumers(t *testing.T) {
	eachWay(t, func(t *testing.T, y way) {
		const consumers, producers, each = 40, 4, 2000
		var gen uint32
		var items, taken atomic.Int64
		ready := readyFunc(func() bool { return items.Load() > 0 || taken.Load() == producers*each })
		done := make(chan struct{}, consumers)
		for range consumers {
			go func() {
				w := Get()
				defer func() { w.Put(); done <- struct{}{} }()
				for {
					seen := atomic.LoadUint32(&gen)
					n := items.Load()
					switch {
					case n > 0:
						if items.CompareAndSwap(n, n-1) && taken.Add(1) == producers*each {
							atomic.AddUint32(&gen, 1)
							Wake(&gen, All)
						}
					case taken.Load() == producers*each:
						return
					default:
						w.Sleep(&gen, seen, time.Hour, ready)
					}
				}
			}()
		}
		for range producers {
			go func() {
				for range each {
					items.Add(1)
					atomic.AddUint32(&gen, 1)
					Wake(&gen, 1)
				}
			}()
		}
		for i := range consumers {
			select {
			case <-done:
			case <-time.After(patience):
				t.Fatalf("%d of %d consumers stuck, %d items left", consumers-i, consumers, items.Load())
			}
		}
	})
}
