//go:build linux && (amd64 || arm64)

package futex

import (
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	muxSize = waitvMax - 1 // words a multiplexer sleeps on, besides its control word

	// A bound shorter than lookEvery is kept by the multiplexer itself, in rounds
	// of at least shortRound.
	shortRound = 50 * time.Millisecond

	// Without short bounds a multiplexer sleeps until it is woken: queueing 127
	// words costs 20 times more than the lookout's look at them.
	longRound = time.Hour

	// linger saves a thread's start when sleepers come and go.
	linger = 10 * time.Millisecond
)

// entry is a sleeper's part in a multiplexer.
type entry struct {
	val    uint32
	ready  Ready
	end    int64 // when the bound is over
	short  bool  // the bound is shorter than a round
	index  int   // in mux.list
	pos    int   // in mux.who and mux.vec; 0 if the kernel does not know it yet
	result Result
}

// mux sleeps for up to muxSize goroutines in one thread.
type mux struct {
	control uint32       // a word of its own: changed and woken to have it look at list again
	n       atomic.Int32 // len(list): grows under muxes.mu and mu, shrinks under mu

	mu     sync.Mutex
	list   []*Waiter
	who    [waitvMax]*Waiter // what the kernel sleeps on; nil if resumed meanwhile
	holes  int               // how many were
	coming bool              // a look at list is coming anyway

	// Of the multiplexer's goroutine alone.
	vec   [waitvMax]waitv
	until timespec
	out   []*Waiter // to be resumed, outside mu
	stale []uint64  // addresses to pass a wake-up on to, outside mu
	probe [1]waitv
	past  timespec
}

func newMux() *mux {
	return &mux{
		list:   make([]*Waiter, 0, muxSize),
		out:    make([]*Waiter, 0, muxSize),
		stale:  make([]uint64, 0, muxSize),
		coming: true,
	}
}

// sleepMuxed is Sleep in a multiplexer; w.addr is set.
func (w *Waiter) sleepMuxed(val uint32, t int64, bound time.Duration, ready Ready) Result {
	w.place.Store(inMux)
	muxes.mu.Lock()
	m := muxes.withRoom()
	m.mu.Lock()
	w.entry = entry{val: val, ready: ready, end: after(t, bound), short: bound < lookEvery, index: len(m.list)}
	m.list = append(m.list, w)
	m.n.Add(1)
	asleep.muxed.Add(1)
	w.mux.Store(m)
	stirred := m.stir()
	m.mu.Unlock()
	muxes.mu.Unlock()
	if stirred {
		Wake(&m.control, 1)
	}
	if w.isPoked() { // by a Poke that did not see w.mux yet
		m.poke(w)
	}
	<-w.ch
	return w.entry.result
}

// stir has the kernel's list made anew. If true, the caller owes m.control a
// Wake, best after it has let go of m.mu.
func (m *mux) stir() bool {
	if m.coming {
		return false
	}
	m.coming = true
	atomic.AddUint32(&m.control, 1)
	return true
}

// poke resumes w at once. The kernel sleeps on its word until the lookout comes
// by: settle passes a wake-up on that arrives there.
func (m *mux) poke(w *Waiter) {
	m.mu.Lock()
	mine := w.mux.Load() == m
	if mine {
		m.remove(w, w.orPoked(Woken))
	}
	stirred := mine && len(m.list) == 0 && m.stir() // so that it can end
	m.mu.Unlock()
	if mine {
		w.ch <- struct{}{}
	}
	if stirred {
		Wake(&m.control, 1)
	}
}

// remove takes w out; whoever does it owes w.ch a signal. m.mu is held.
func (m *mux) remove(w *Waiter, r Result) {
	last := len(m.list) - 1
	m.list[w.entry.index] = m.list[last]
	m.list[w.entry.index].entry.index = w.entry.index
	m.list[last] = nil
	m.list = m.list[:last]
	m.n.Add(-1)
	asleep.muxed.Add(-1)
	if w.entry.pos > 0 {
		m.who[w.entry.pos] = nil
		m.holes++
	}
	w.entry.ready = nil // lets go of the caller's memory
	w.entry.result = r
	w.mux.Store(nil)
}

func (m *mux) run() {
	// The words, and what Ready reads, may be truncated under us.
	debug.SetPanicOnFault(true)
	for {
		n := m.arm()
		k, errno := waitMany(&m.vec[0], n, &m.until)
		if n == 1 && errno == syscall.ETIMEDOUT && muxes.retire(m) {
			return
		}
		m.settle(k, errno)
	}
}

// arm prepares the kernel's list of words and returns its length.
func (m *mux) arm() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.coming, m.holes = false, 0
	m.vec[0].set(&m.control, atomic.LoadUint32(&m.control))
	t := now()
	until := t + int64(longRound)
	if len(m.list) == 0 {
		until = t + int64(linger)
	}
	for i, w := range m.list {
		w.entry.pos = i + 1
		m.who[i+1] = w
		m.vec[i+1].set(w.addr.Load(), w.entry.val)
		if w.entry.short {
			until = min(until, max(w.entry.end, t+int64(shortRound)))
		}
	}
	n := len(m.list) + 1
	clear(m.who[n:]) // lets go of Waiters that are elsewhere by now
	m.until.set(until)
	return n
}

// settle resumes whom the kernel's answer and a look at every entry say.
//
// The look is not only for the words that were not queued at the time of a
// wake-up: the kernel names one index and has consumed a wake-up for each word
// that was woken at the same time.
func (m *mux) settle(k int, errno syscall.Errno) {
	m.mu.Lock()
	m.coming = true
	if errno == 0 && k > 0 {
		// Somebody poked may have taken a wake-up with him: the next may have it.
		for pos := 1; pos <= k; pos++ {
			if m.who[pos] == nil {
				m.stale = append(m.stale, m.vec[pos].addr)
			}
		}
		if w := m.who[k]; w != nil {
			m.remove(w, Woken) // even if poked: the wake-up is his
			m.out = append(m.out, w)
		}
	}
	m.out = m.look(now(), m.out)
	if odd(errno) && len(m.out) == 0 {
		m.out = m.findFault(m.out)
	}
	idle := odd(errno) && len(m.out) == 0
	m.mu.Unlock()

	for _, addr := range m.stale {
		passOn(addr)
	}
	m.stale = m.stale[:0]
	signal(m.out)
	if len(m.out) > 0 {
		// Who sleeps again at once is on the list before the kernel gets it:
		// a round trip takes a quarter of the time.
		runtime.Gosched()
	}
	// An error without a culprit is normally a word of someone resumed while the
	// kernel was on its way, and gone in the next round. Otherwise, do not spin.
	if idle {
		time.Sleep(time.Millisecond)
	}
	m.out = m.out[:0]
}

// look removes everybody who is to be resumed at time t, and appends to out.
func (m *mux) look(t int64, out []*Waiter) []*Waiter {
	for i := len(m.list) - 1; i >= 0; i-- { // downwards: remove moves the last one
		w := m.list[i]
		if r, ok := w.look(t); ok {
			m.remove(w, r)
			out = append(out, w)
		}
	}
	return out
}

// signal resumes those who were removed.
func signal(out []*Waiter) {
	for i, w := range out {
		out[i] = nil
		w.ch <- struct{}{}
	}
}

// odd says that futex_waitv refused the list, and not because a word changed.
func odd(errno syscall.Errno) bool {
	switch errno {
	case 0, syscall.EAGAIN, syscall.ETIMEDOUT, syscall.EINTR:
		return false
	}
	return true
}

// look says whether and why a multiplexed sleeper is to be resumed at time t.
func (w *Waiter) look(t int64) (r Result, resume bool) {
	onPanic := Fault // while reading the word
	defer func() {
		if recover() != nil {
			r, resume = onPanic, true
		}
	}()
	if w.isPoked() {
		return Poked, true
	}
	if atomic.LoadUint32(w.addr.Load()) != w.entry.val {
		return Changed, true
	}
	onPanic = Woken
	if w.entry.ready.Ready() {
		return Woken, true
	}
	return TimedOut, t >= w.entry.end
}

// findFault removes those whose word we can read, but the kernel refuses to
// sleep on, and appends them to out. m.mu is held.
func (m *mux) findFault(out []*Waiter) []*Waiter {
	for i := len(m.list) - 1; i >= 0; i-- {
		w := m.list[i]
		// Another value and a time long past: the call cannot sleep.
		m.probe[0].set(w.addr.Load(), ^w.entry.val)
		switch _, errno := waitMany(&m.probe[0], 1, &m.past); errno {
		case 0:
			m.remove(w, Woken)
		case syscall.EFAULT, syscall.EINVAL:
			m.remove(w, Fault)
		default:
			continue
		}
		out = append(out, w)
	}
	return out
}
