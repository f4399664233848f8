//go:build linux && (amd64 || arm64)

package futex

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const patience = 10 * time.Second // what should happen, happens within this

// onTime tries something until it takes no longer than limit once, for on a busy machine anything may be late. What has
// to wait for a look every 250 ms is late each time.
func onTime(t *testing.T, limit time.Duration, f func() (took time.Duration)) {
	t.Helper()
	fastest := time.Hour
	for range 10 {
		if fastest = min(fastest, f()); fastest <= limit || t.Failed() {
			t.Logf("after %v", fastest)
			return
		}
	}
	t.Errorf("it took at least %v each time; %v is the limit", fastest, limit)
}

func TestMain(m *testing.M) {
	if path := os.Getenv(peerEnv); path != "" {
		os.Exit(peer(path))
	}
	startSignals()
	before := runtime.NumGoroutine()
	code := m.Run()
	if !eventually(func() bool { return quiet() && runtime.NumGoroutine() <= before }) && code == 0 {
		fmt.Fprintf(os.Stderr, "%d goroutines before, %d after\n", before, runtime.NumGoroutine())
		buf := make([]byte, 1<<16)
		os.Stderr.Write(buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

func eventually(f func() bool) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Microsecond) {
		if f() {
			return true
		}
	}
	return f()
}

func must(t *testing.T, what string, f func() bool) {
	t.Helper()
	if !eventually(f) {
		d, m, n := Sleepers()
		t.Fatalf("not in %v: %s (sleepers: %d direct, %d in %d multiplexers)", patience, what, d, m, n)
	}
}

func quiet() bool {
	d, m, n := Sleepers()
	return d == 0 && m == 0 && n == 0
}

// mustQuiet waits for the muxes to end, and fails when somebody still sleeps.
func mustQuiet(t *testing.T) {
	t.Helper()
	must(t, "nobody asleep, no multiplexer", quiet)
}

func setMode(t *testing.T, m uint32) {
	mustQuiet(t)
	old := mode.Swap(m)
	t.Cleanup(func() {
		mustQuiet(t)
		mode.Store(old)
	})
}

// way is one of the three ways to sleep.
type way struct {
	name  string
	mode  uint32
	muxed bool
}

// eachWay runs f directly, in a multiplexer, and on a kernel without futex_waitv.
func eachWay(t *testing.T, f func(t *testing.T, y way)) {
	for _, y := range []way{{"direct", modeWaitv, false}, {"muxed", modeWaitv, true}, {"plain", modePlain, false}} {
		t.Run(y.name, func(t *testing.T) {
			if y.mode == modeWaitv {
				needWaitv(t)
			}
			setMode(t, y.mode)
			if y.muxed {
				fillDirect(t)
			}
			f(t, y)
		})
	}
}

func needWaitv(t *testing.T) {
	if !hasWaitv() {
		t.Skip("no futex_waitv")
	}
}

// fillDirect takes all direct places until the test ends.
func fillDirect(t *testing.T) {
	var all []*sleeper
	for range DirectMax {
		all = append(all, fall(new(uint32), 0, time.Hour, nil))
	}
	t.Cleanup(func() {
		for _, s := range all {
			s.w.Poke()
			s.want(t, Poked)
		}
	})
	must(t, "direct places taken", func() bool { d, _, _ := Sleepers(); return d == DirectMax })
}

// sleeper is a goroutine in Sleep.
type sleeper struct {
	w    *Waiter
	addr *uint32
	done chan Result
}

func fall(addr *uint32, val uint32, bound time.Duration, ready Ready) *sleeper {
	s := &sleeper{Get(), addr, make(chan Result, 1)}
	go func() { s.done <- s.w.Sleep(addr, val, bound, ready) }()
	return s
}

// asleepIn waits until n goroutines sleep in this way, besides fillDirect's.
func (y way) asleepIn(t *testing.T, n int) {
	t.Helper()
	must(t, fmt.Sprintf("%d asleep", n), func() bool {
		d, m, _ := Sleepers()
		if y.muxed {
			return m == n && d == DirectMax
		}
		return d == n
	})
}

func (s *sleeper) want(t *testing.T, want Result) {
	t.Helper()
	select {
	case r := <-s.done:
		if r != want {
			t.Fatalf("sleep ended as %v, want %v", r, want)
		}
		s.w.Put()
	case <-time.After(patience):
		t.Fatalf("still asleep, want %v", want)
	}
}

func (s *sleeper) ended() bool { return len(s.done) == 1 }

// wakeExactly wakes until the kernel has woken n: a sleeper counts as asleep
// shortly before the kernel knows it.
func wakeExactly(t *testing.T, addr *uint32, n int) {
	t.Helper()
	sum := 0
	must(t, fmt.Sprintf("kernel wakes %d", n), func() bool { sum += Wake(addr, n-sum); return sum == n })
}

// flag is a Ready that tests switch.
type flag struct {
	up    atomic.Bool
	asked atomic.Int64
}

func (f *flag) Ready() bool { f.asked.Add(1); return f.up.Load() }

type readyFunc func() bool

func (f readyFunc) Ready() bool { return f() }

func page(t *testing.T) []byte {
	t.Helper()
	b, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func threads(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\nThreads:")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
