package wordlock

import (
	"context"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// waiting is one blocked Lock: what it waits for, and its entry in the record.
type waiting struct {
	l         *Lock
	entry     int           // offset, 0 when the record had no free one
	bound     time.Duration // of the next sleep on the word
	sleeps    int           // on the word
	inLine    bool          // our token stands in the line
	recovered bool          // the lock was taken over from a dead owner

	word   *mem.U32 // what it sleeps on
	seen   uint32
	back   time.Duration // wait.Now since when it stays, or stayed, behind somebody in line
	behind uint32        // that one's token, 0 if it never did
}

// lockSlow waits for the lock, on the heap: the fast ways stay on the stack.
func (l *Lock) lockSlow(ctx context.Context) (recovered bool, err error) {
	if err := l.sess.Gone(); err != nil { // the line of a removed object is barred: everybody comes here
		return false, err
	}
	if l.spin() {
		return false, nil
	}
	if err := l.sess.Verified(); err != nil {
		return false, err
	}
	w := &waiting{l: l, bound: firstSleep}
	w.enter()
	defer w.leave() // also when the memory faults
	err = l.sess.Wait(ctx, w)
	if err == nil && w.sleeps > 0 { // the file may have been deleted while we slept
		if err = l.sess.Verified(); err != nil {
			l.Unlock()
			return false, err
		}
	}
	return w.recovered, err
}

// enter writes down who waits since when.
func (w *waiting) enter() {
	l := w.l
	l.span.U64(l.off + offContended).Add(1)
	for i := range maxWaiters {
		at := l.off + offWaiters + i*waiterSize
		t := l.span.U32(at).Load()
		if t != 0 && (t == l.me || !l.owners.Dead(t)) {
			continue
		}
		if l.span.U32(at).CAS(t, l.me) {
			l.span.U64(at + 8).StoreRelease(uint64(time.Now().UnixNano()))
			w.entry = at
			break
		}
	}
}

func (w *waiting) leave() {
	l := w.l
	if w.inLine && l.line.CAS(l.me, 0) {
		wait.Wake(l.line, futex.All)
	}
	if w.entry != 0 {
		l.span.U64(w.entry + 8).StoreRelease(0)
		l.span.U32(w.entry).StoreRelease(0)
	}
}

// Look takes the lock if it is free and nobody stands in line before us, or if its owner is dead.
func (w *waiting) Look(c *wait.Call) (over bool, err error) {
	l := w.l
	for {
		v := l.word.Load()
		owner := v &^ waitersBit
		if v == 0 {
			if over, behind := w.free(c); over || behind {
				return over, nil
			}
			continue
		}
		// The first sleeps are short: most owners are gone before it pays to have their death told.
		if w.bound > watchFrom || wait.Crowded() {
			c.Depend(l.owners, owner)
		}
		if l.owners.Dead(owner) {
			if l.takeOver(v) {
				w.recovered = true
				return true, nil
			}
			continue
		}
		if v&waitersBit == 0 {
			if !l.word.CAS(v, v|waitersBit) {
				continue
			}
			v |= waitersBit
		}
		if l.Stop != nil {
			if err := l.Stop(); err != nil {
				return false, err
			}
		}
		w.on(c, l.word, v)
		w.queue(c)
		return false, nil
	}
}

// free tries to take a lock that is free. behind says that somebody who stands in line may go first: once, and for
// lineSleep at most. The line only orders: the one that an entry of somebody dead or stopped holds up takes it away.
func (w *waiting) free(c *wait.Call) (over, behind bool) {
	l := w.l
	w.bound = firstSleep
	if h := l.line.Load(); h != 0 && h != barred && h != l.me && w.sleeps == 0 {
		switch {
		case w.behind != 0:
			if h == w.behind && wait.Now()-w.back >= lineSleep {
				l.line.CAS(h, 0)
			}
		case l.owners.Dead(h):
			l.line.CAS(h, 0)
		default:
			w.back, w.behind = wait.Now(), h
			w.on(c, l.line, h)
			c.Bound(lineSleep)
			return false, true
		}
	}
	if !l.word.CAS(0, l.me|waitersBit) { // others may sleep: keep them in mind
		return false, false
	}
	mem.RaceAcquire(l.word)
	return true, false
}

func (w *waiting) on(c *wait.Call, word *mem.U32, seen uint32) {
	w.word, w.seen = word, seen
	c.On(word, seen)
}

// queue decides how long to sleep on the word. A waiter whom others passed too often gets in line: newcomers then
// stay behind until it has the lock, and those who sleep are woken in the order in which they came.
func (w *waiting) queue(c *wait.Call) {
	if w.sleeps++; w.sleeps > hungry && !w.inLine {
		w.inLine = w.l.line.CAS(0, w.l.me)
	}
	c.Bound(w.bound)
	w.bound = min(2*w.bound, wait.MaxSleep)
}

// Stale reports that the word is not what the sleep is on any more.
func (w *waiting) Stale() bool { return w.word.Load() != w.seen }

// Abandon passes on a wake-up that was meant for one who takes the lock.
func (w *waiting) Abandon() {
	if w.l.word.Load() == 0 {
		wait.Wake(w.l.word, 1)
	}
}
