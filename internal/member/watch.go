package member

import (
	"sync"
	"time"
)

// A watch is how this process hears of the death of another one. What counts is Dead, a level; a watch only
// makes the next look at it come earlier:
//
//	the process ended             its pidfd says so; if the pidfd was proved to be the owner's, that is the proof of its
//	                              death, also while a child between fork and exec still has its descriptors
//	the pidfd is not proved       Dead is asked after 1, 2, 4 … ms
//	it left, or called exec       Dead is asked every lookEvery
//	no pidfd can be got           Dead is asked every blindEvery
//
// As long as Dead says yes and somebody watches, that is repeated: a notice that nobody heard costs time, no more.

const (
	lookEvery  = 250 * time.Millisecond
	blindEvery = 80 * time.Millisecond // promise P1 says 100 ms
	linger     = time.Second           // how long a pidfd stays open that nobody needs
	firstRetry = time.Millisecond
	mostFDs    = 256 // pidfds of one table; what is watched beyond is asked every blindEvery
)

// watches are the deaths that somebody in this process waits for: one descriptor and one parked
// goroutine a watched process, however many wait; none when nobody has for a while.
type watches struct {
	mu    sync.Mutex
	m     map[uint32]*watch
	timer *time.Timer // runs while somebody sleeps until told, and a moment longer
	due   time.Time
	fds   int
	over  bool
}

type watch struct {
	token uint32
	users []*watcher
	loud  int       // of those, how many sleep until they are told
	close func()    // of the pidfd, nil if there is none
	idle  time.Time // since when it has no users
	retry time.Duration
}

type watcher struct {
	poke func()
	loud bool
}

// Watch has poke called when the owner of the token may be dead, and again as long as it is, until stop. It may
// be called without a cause, and until stop has returned.
func (t *Table) Watch(token uint32, poke func()) (stop func()) {
	return t.watch(token, &watcher{poke, true})
}

func (t *Table) watch(token uint32, u *watcher) (stop func()) {
	ws := &t.watches
	ws.mu.Lock()
	w := ws.m[token]
	if w == nil {
		w = &watch{token: token}
		if ws.over { // the membership has ended: nobody is proved dead any more
			ws.mu.Unlock()
			return func() {}
		}
		if ws.m == nil {
			ws.m = map[uint32]*watch{}
		}
		ws.m[token] = w
		t.openPidfd(w)
	}
	w.users = append(w.users, u)
	if u.loud {
		w.loud++
		t.schedule(w.every())
	}
	ws.mu.Unlock()
	return func() {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		for i := range w.users {
			if w.users[i] == u {
				last := len(w.users) - 1
				w.users[i], w.users[last] = w.users[last], nil
				w.users = w.users[:last]
				if u.loud {
					w.loud--
				}
				break
			}
		}
		if len(w.users) == 0 {
			w.idle = time.Now()
			t.schedule(linger)
		}
	}
}

// every is how often Dead is asked.
func (w *watch) every() time.Duration {
	switch {
	case w.retry > 0:
		return w.retry
	case w.close == nil:
		return blindEvery
	}
	return lookEvery
}

// openPidfd has the kernel tell of the process's end, if it can. ws.mu is held.
func (t *Table) openPidfd(w *watch) {
	if t.watches.fds >= mostFDs {
		return
	}
	in, ok := t.Lookup(w.token)
	if !ok || in.PidNS == 0 || in.PidNS != self().pidNS {
		return
	}
	fd, state := openPidfd(in.Pid, in.Start)
	again, ok := t.Lookup(w.token)
	if same := ok && again.Pid == in.Pid && again.Start == in.Start; !same {
		fd.Close()
		return // the slot changes hands: the generation says so
	}
	switch state {
	case pidGone:
		t.prove(w.token)
		return
	case pidUnknown:
		return
	}
	t.watches.fds++
	w.close = onExit(fd, func() { t.ended(w, state == pidProved) })
}

// ended is called when the pidfd says that the process has ended.
func (t *Table) ended(w *watch, proved bool) {
	if proved {
		t.prove(w.token)
	}
	t.watches.mu.Lock()
	defer t.watches.mu.Unlock()
	if t.watches.m[w.token] != w {
		return
	}
	t.shut(w)
	w.retry = firstRetry
	w.pokeAll()
	t.schedule(w.retry)
}

// shut closes the pidfd. ws.mu is held.
func (t *Table) shut(w *watch) {
	if w.close != nil {
		w.close()
		w.close = nil
		t.watches.fds--
	}
}

func (w *watch) pokeAll() {
	for _, u := range w.users {
		u.poke()
	}
}

// schedule sees to a look in d from now. ws.mu is held.
func (t *Table) schedule(d time.Duration) {
	ws := &t.watches
	due := time.Now().Add(d)
	switch {
	case ws.timer == nil:
		ws.timer = time.AfterFunc(d, t.look)
	case ws.due.IsZero() || due.Before(ws.due):
		ws.timer.Reset(d)
	default:
		return
	}
	ws.due = due
}

// look asks about everybody who is watched.
func (t *Table) look() {
	ws := &t.watches
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.due = time.Time{}
	if ws.over {
		return
	}
	next := time.Duration(0)
	for token, w := range ws.m {
		again := w.every()
		switch {
		case len(w.users) == 0:
			if again = linger - time.Since(w.idle); again <= 0 {
				t.shut(w)
				delete(ws.m, token)
				continue
			}
		case w.loud == 0 && w.retry == 0:
			continue
		case t.Dead(token):
			w.retry = 0
			w.pokeAll()
			if w.loud == 0 {
				continue
			}
			again = lookEvery
		case w.retry > 0:
			w.retry = min(2*w.retry, blindEvery) // until its descriptors are closed
			w.pokeAll()
			again = w.retry
		}
		if next == 0 || again < next {
			next = again
		}
	}
	if next > 0 {
		t.schedule(next)
	}
}

// stopWatching ends everything; the membership ends.
func (t *Table) stopWatching() {
	ws := &t.watches
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.over = true
	if ws.timer != nil {
		ws.timer.Stop()
	}
	for _, w := range ws.m {
		t.shut(w)
	}
	ws.m = nil
}

// prove notes that the owner of a token is dead. There is one place for each slot: the tokens of a slot follow each
// other, and an older one is dead by its generation.
func (t *Table) prove(token uint32) {
	slot, _ := splitToken(token)
	t.proved[slot].Store(token)
}

func (t *Table) isProved(token uint32) bool {
	slot, _ := splitToken(token)
	return t.proved[slot].Load() == token
}
