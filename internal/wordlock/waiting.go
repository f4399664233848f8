package wordlock

import (
	"context"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// waiting is one blocked Lock: its entry in the record, and the watch on the owner.
type waiting struct {
	l        *Lock
	call     *wait.Call
	entry    int // offset, 0 when the record had no free one
	watching uint32
	stop     func()
	sleeps   int  // on the word
	inLine   bool // our token stands in the line
}

func (l *Lock) startWait(ctx context.Context) *waiting {
	w := &waiting{l: l, call: l.sess.Begin(ctx)}
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
	return w
}

// sleep sleeps while the word holds v. A waiter whom others passed too often gets in line: newcomers
// then stay behind until it has the lock, and those who sleep are woken in the order in which they came.
func (w *waiting) sleep(v uint32, bound time.Duration) error {
	if w.sleeps++; w.sleeps > hungry && !w.inLine {
		w.inLine = w.l.line.CAS(0, w.l.me)
	}
	err := w.call.Await(w.l.word, v, bound)
	if err != nil && w.l.word.Load() == 0 {
		wait.Wake(w.l.word, 1) // the wake-up that reached us was meant for one who takes the lock
	}
	return err
}

// behind lets h, who stands in line, go first. The line only orders: whoever is kept by somebody dead or
// stopped takes the entry away.
func (w *waiting) behind(h uint32) error {
	l := w.l
	w.sleeps = 1 // once, whatever comes out of it
	if l.owners.Dead(h) {
		l.line.CAS(h, 0)
		return nil
	}
	start := time.Now()
	if err := w.call.Await(l.line, h, lineSleep); err != nil {
		return err
	}
	if l.word.Load() == 0 && time.Since(start) >= lineSleep {
		l.line.CAS(h, 0)
	}
	return nil
}

// watch asks to be told of the owner's death. If it has only now begun to, look again says so: the owner may
// have died before. Otherwise it says how long to sleep.
func (w *waiting) watch(owner uint32, bound time.Duration) (_ time.Duration, lookAgain bool) {
	if w.watching != owner {
		w.unwatch()
		w.watching = owner
		if owner == w.l.me {
			return min(bound, wait.MaxSleep), false // as long as we live
		}
		if stop, ok := w.l.owners.Watch(owner, w.call.Nudge); ok {
			w.stop = stop
			return 0, true
		}
	}
	if w.stop == nil && owner != w.l.me {
		return min(bound, unwatched), false
	}
	return min(bound, wait.MaxSleep), false
}

func (w *waiting) unwatch() {
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

func (w *waiting) end() {
	defer w.call.End() // also when the memory faults
	w.unwatch()
	if w.inLine && w.l.line.CAS(w.l.me, 0) {
		wait.Wake(w.l.line, futex.All)
	}
	if w.entry != 0 {
		w.l.span.U64(w.entry + 8).StoreRelease(0)
		w.l.span.U32(w.entry).StoreRelease(0)
	}
}
