//go:build linux && (amd64 || arm64)

package futex

import (
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Where a waiter is: it tells Poke what to do.
const (
	awake = iota
	inWaitv
	inPlain
	inMux
)

// A Waiter is one goroutine's place to sleep.
type Waiter struct {
	poked uint32        // the private word: 1 after Poke, until ClearPoke
	place atomic.Uint32 // stored before poked is looked at for the last time

	addr  atomic.Pointer[uint32] // what it sleeps on; keeps a heap word alive, and off the stack
	vec   [2]waitv               // inWaitv
	until timespec               // inWaitv, inPlain

	mux   atomic.Pointer[mux] // inMux, and not resumed yet
	entry entry               // guarded by mux.mu
	ch    chan struct{}       // inMux: the resume, once a sleep; capacity 1
}

var waiters = sync.Pool{New: func() any { return &Waiter{ch: make(chan struct{}, 1)} }}

// asleep counts sleepers for tests, and direct ones for DirectMax.
var asleep struct{ direct, muxed atomic.Int64 }

// Get returns a Waiter that is not poked.
func Get() *Waiter {
	w := waiters.Get().(*Waiter)
	w.ClearPoke()
	return w
}

// Put gives a Waiter back that nobody sleeps on. A Poke that comes later is a
// spurious wake-up for its next user.
func (w *Waiter) Put() { waiters.Put(w) }

// Poke makes the current or the next Sleep return Poked, and all after it until
// ClearPoke.
func (w *Waiter) Poke() {
	// The sleeper stores place, then looks at poked; this is the other half of
	// that store-load pair, so one of the two sees the other.
	touch()
	atomic.SwapUint32(&w.poked, 1) // a store may be passed by the load behind it where arm64 code runs translated
	touch()
	switch w.place.Load() {
	case inWaitv:
		Wake(&w.poked, 1)
	case inPlain:
		// Everybody on the word: the kernel cannot wake this one alone.
		if addr := w.addr.Load(); addr != nil {
			Wake(addr, All)
		}
	case inMux:
		if m := w.mux.Load(); m != nil {
			m.poke(w)
		}
	}
}

// ClearPoke makes the Waiter ready for another sleep. It is a full fence: what the caller looks at afterwards is not older than
// a Poke that this undoes.
func (w *Waiter) ClearPoke() { atomic.SwapUint32(&w.poked, 0) }

func (w *Waiter) isPoked() bool {
	touch()
	poked := atomic.LoadUint32(&w.poked) != 0
	hookPoked(poked)
	return poked
}

// orPoked is r, or Poked if the waiter was poked.
func (w *Waiter) orPoked(r Result) Result {
	if w.isPoked() {
		return Poked
	}
	return r
}

// Sleep sleeps while the word at addr holds val, until a Wake, a Poke, or the
// bound, which must be positive. With a ready, the goroutine may sleep in a
// shared thread, where a bound can be late by a quarter of a second; without,
// it always has a thread of its own.
func (w *Waiter) Sleep(addr *uint32, val uint32, bound time.Duration, ready Ready) Result {
	if w.isPoked() {
		return Poked
	}
	var r Result
	t := now()
	w.addr.Store(addr)
	switch {
	case !hasWaitv():
		asleep.direct.Add(1)
		r = w.sleepPlain(addr, val, t, after(t, bound), ready)
		asleep.direct.Add(-1)
	case enterDirect(hooked || ready == nil):
		r = w.sleepDirect(addr, val, t, after(t, bound), ready)
		asleep.direct.Add(-1)
	default:
		r = w.sleepMuxed(val, t, bound, ready)
	}
	w.place.Store(awake)
	w.addr.Store(nil)
	return r
}

// Crowded reports that all DirectMax places are taken: one more sleeper with a Ready shares a thread.
func Crowded() bool {
	if hooked {
		return hookCrowded()
	}
	return asleep.direct.Load() >= DirectMax
}

// enterDirect takes one of the DirectMax places, or one more if it must.
func enterDirect(must bool) bool {
	for {
		n := asleep.direct.Load()
		if n >= DirectMax && !must {
			return false
		}
		if asleep.direct.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (w *Waiter) sleepDirect(addr *uint32, val uint32, t, end int64, ready Ready) Result {
	// The private word comes first: the kernel reports the last one woken, so
	// a Poke at the same moment does not hide a wake-up that was meant for us.
	w.vec[0].set(&w.poked, 0)
	w.vec[1].set(addr, val)
	touch()
	w.place.Store(inWaitv)
	for {
		until := end
		if ready != nil {
			until = min(end, t+int64(lookEvery))
		}
		w.until.set(until)
		k, errno := w.waitBoth(addr, val, until-t)
		switch {
		case errno == 0 && k == 1:
			return Woken
		case errno != syscall.ETIMEDOUT:
			return w.orPoked(outcome(errno))
		case until == end:
			return w.orPoked(TimedOut)
		case isReady(ready):
			return Woken
		}
		t = now()
	}
}

// outcome is what the kernel's answer means to a lone sleeper.
func outcome(errno syscall.Errno) Result {
	switch errno {
	case 0, syscall.EINTR:
		return Woken
	case syscall.EAGAIN:
		return Changed
	case syscall.ETIMEDOUT:
		return TimedOut
	case syscall.EFAULT, syscall.EINVAL:
		return Fault
	}
	// Out of kernel memory and the like: the caller tries again, but not hot.
	time.Sleep(time.Millisecond)
	return Woken
}

// isReady asks on the sleeper's own goroutine. A panic means yes: the caller
// will look for itself and meet what Ready met.
func isReady(ready Ready) (yes bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			yes = true
		}
	}()
	return ready.Ready()
}

// Sleepers tells tests how many goroutines sleep in their own system call, how
// many in a multiplexer, and how many multiplexer threads there are.
func Sleepers() (direct, multiplexed, muxThreads int) {
	return int(asleep.direct.Load()), int(asleep.muxed.Load()), muxes.count()
}
