//go:build linux && (amd64 || arm64)

package futex

import (
	"syscall"
	"time"
)

// plainSlice bounds how late a Poke can be noticed that came between the last
// look at the private word and the kernel's sleep.
const plainSlice = 5 * time.Millisecond

// sleepPlain is Sleep for kernels that cannot sleep on two words at once.
func (w *Waiter) sleepPlain(addr *uint32, val uint32, t, end int64, ready Ready) Result {
	w.place.Store(inPlain)
	look := t + int64(lookEvery)
	for ; ; t = now() {
		switch {
		case w.isPoked():
			return Poked
		case t >= end:
			return TimedOut
		case ready != nil && t >= look:
			if isReady(ready) {
				return Woken
			}
			look = t + int64(lookEvery)
		}
		w.until.set(min(end-t, int64(plainSlice)))
		switch errno := waitOne(addr, val, &w.until); errno {
		case syscall.ETIMEDOUT, syscall.EINTR: // the Go scheduler's signals end this call
		default:
			return w.orPoked(outcome(errno))
		}
	}
}
