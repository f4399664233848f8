//go:build !linux || !(amd64 || arm64)

package futex

import (
	"sync/atomic"
	"syscall"
	"time"
)

// A Waiter that polls: for the sake of compiling where there is no futex.
type Waiter struct{ poked atomic.Bool }

func Get() *Waiter           { return new(Waiter) }
func (w *Waiter) Put()       {}
func (w *Waiter) Poke()      { w.poked.Store(true) }
func (w *Waiter) ClearPoke() { w.poked.Store(false) }

// Sleep returns after a millisecond at most.
func (w *Waiter) Sleep(addr *uint32, val uint32, bound time.Duration, ready Ready) Result {
	if w.poked.Load() {
		return Poked
	}
	time.Sleep(min(bound, time.Millisecond))
	return TimedOut
}

// Wake wakes nobody.
func Wake(addr *uint32, n int) int { return 0 }

// Sleepers is always zero.
func Sleepers() (direct, multiplexed, muxThreads int) { return 0, 0, 0 }

// Crowded is never true.
func Crowded() bool { return false }

// Tell cannot write.
func Tell(fd int, v uint64) syscall.Errno { return syscall.ENOSYS }
