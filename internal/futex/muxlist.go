//go:build linux && (amd64 || arm64)

package futex

import (
	"runtime/debug"
	"sync"
	"time"
)

// muxes holds the multiplexers that run. Lock order: muxes.mu, mux.mu.
var muxes muxList

type muxList struct {
	mu   sync.Mutex
	list []*mux
	stop chan struct{} // ends the lookout; made with the first multiplexer
}

func (l *muxList) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.list)
}

// withRoom returns the first multiplexer with room, or starts one; l.mu is held.
func (l *muxList) withRoom() *mux {
	for _, m := range l.list {
		if m.n.Load() < muxSize {
			return m
		}
	}
	m := newMux()
	if len(l.list) == 0 {
		l.stop = make(chan struct{})
		go l.lookout(l.stop)
	}
	l.list = append(l.list, m)
	go m.run()
	return m
}

// retire takes m out of the list if it is empty; it must end then.
func (l *muxList) retire(m *mux) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.list) > 0 {
		return false
	}
	for i := range l.list {
		if l.list[i] == m {
			last := len(l.list) - 1
			l.list[i] = l.list[last]
			l.list[last] = nil
			l.list = l.list[:last]
			break
		}
	}
	if len(l.list) == 0 {
		close(l.stop)
	}
	return true
}

// lookout looks at all entries of all multiplexers once in lookEvery: it heals
// swallowed wake-ups and keeps the longer bounds.
func (l *muxList) lookout(stop <-chan struct{}) {
	debug.SetPanicOnFault(true) // as in run
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var all []*mux
	out := make([]*Waiter, 0, muxSize)
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		l.mu.Lock()
		all = append(all[:0], l.list...)
		l.mu.Unlock()
		t := now()
		for _, m := range all {
			m.mu.Lock()
			out = m.look(t, out[:0])
			stirred := m.holes > 0 && m.stir()
			m.mu.Unlock()
			if stirred {
				Wake(&m.control, 1)
			}
			signal(out)
		}
		clear(all)
	}
}
