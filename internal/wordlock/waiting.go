package wordlock

import (
	"context"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// waiting is one blocked Lock: its entry in the record, and the watch on the owner.
type waiting struct {
	l        *Lock
	call     *wait.Call
	entry    int // offset, 0 when the record had no free one
	watching uint32
	stop     func()
}

func (l *Lock) startWait(ctx context.Context) *waiting {
	w := &waiting{l: l, call: l.sess.Begin(ctx)}
	l.span.U64(l.off + offContended).Add(1)
	me := l.owners.Self()
	for i := range maxWaiters {
		at := l.off + offWaiters + i*waiterSize
		t := l.span.U32(at).Load()
		if t != 0 && (t == me || !l.owners.Dead(t)) {
			continue
		}
		if l.span.U32(at).CAS(t, me) {
			l.span.U64(at + 8).StoreRelease(uint64(time.Now().UnixNano()))
			w.entry = at
			break
		}
	}
	return w
}

// watch asks to be told of the owner's death and says how long to sleep.
func (w *waiting) watch(owner uint32, bound time.Duration) time.Duration {
	if w.watching != owner {
		w.unwatch()
		if stop, ok := w.l.owners.Watch(owner, w.call.Nudge); ok {
			w.stop = stop
			w.watching = owner
			return firstSleep // it may have died before the watch began: look once more
		}
	}
	if w.stop == nil {
		return min(bound, unwatched)
	}
	return min(bound, wait.MaxSleep)
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
	if w.entry != 0 {
		w.l.span.U64(w.entry + 8).StoreRelease(0)
		w.l.span.U32(w.entry).StoreRelease(0)
	}
}
