package member

import (
	"sync/atomic"
	"time"
)

// Sentry keeps an eye on one process for a handle that has to know, at every call and cheaply, whether its peer
// is there. The end of the process is told by its pidfd; that it left, or called exec, is found by asking, four
// times a second at most and only while somebody wants to know. An idle handle costs nothing.
type Sentry struct {
	t     *Table
	token uint32
	gone  atomic.Bool
	fresh atomic.Bool // asked lately
	stale *time.Timer // ends fresh
	stop  func()
}

// Sentry posts one. told, if not nil, is called from another goroutine when Gone may have become true, perhaps more
// than once, and until Close has returned.
func (t *Table) Sentry(token uint32, told func()) *Sentry {
	s := &Sentry{t: t, token: token}
	s.stale = time.AfterFunc(time.Hour, func() { s.fresh.Store(false) })
	s.stale.Stop()
	if token == t.token {
		s.stop = func() {}
		return s
	}
	s.stop = t.watch(token, &watcher{poke: func() {
		s.fresh.Store(false)
		if told != nil {
			told()
		}
	}})
	return s
}

// Token is whose death it would tell.
func (s *Sentry) Token() uint32 { return s.token }

// Gone reports that the process is dead, or left, as Dead does: at once after its end is told, within 250 ms
// otherwise.
func (s *Sentry) Gone() bool {
	if s.fresh.Load() {
		return s.gone.Load()
	}
	if s.token == s.t.token {
		return false
	}
	s.fresh.Swap(true) // before the question, and a full fence: what is told meanwhile makes the next one ask again
	if s.t.Dead(s.token) {
		s.gone.Store(true)
		return true
	}
	s.stale.Reset(lookEvery)
	return s.gone.Load()
}

// Close ends the watch.
func (s *Sentry) Close() {
	s.stop()
	s.stale.Stop()
}
