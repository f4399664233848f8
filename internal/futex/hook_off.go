//go:build linux && (amd64 || arm64) && !explore

package futex

import "syscall"

const hooked = false

func hookWake(*uint32, int) (woken int, ok bool) { return 0, false }

func hookCrowded() bool { return false }

func hookPoked(bool) {}

// touch is before each access of what Sleep and Poke share.
func touch() {}

// waitBoth sleeps on the two words of w.vec until w.until.
func (w *Waiter) waitBoth(*uint32, uint32, int64) (int, syscall.Errno) {
	return waitMany(&w.vec[0], len(w.vec), &w.until)
}
