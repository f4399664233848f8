//go:build linux && (amd64 || arm64) && explore

package futex

import (
	"syscall"
	"time"
)

const hooked = true

// Hooks of builds with the tag "explore": package explore sets them, and stands in for the kernel.
var (
	// OnWake is called for Wake. If not ok, the kernel is.
	OnWake func(addr *uint32, n int) (woken int, ok bool)
	// OnSleep sleeps while the private word of a Waiter is 0 and another holds val, for at most bound. It
	// returns the index of the one that was woken, or why it did not sleep.
	OnSleep func(private, addr *uint32, val uint32, bound time.Duration) (int, syscall.Errno)
	// OnCrowded answers for Crowded.
	OnCrowded func() bool
	// OnPoked is told what a Waiter has read of its private word.
	OnPoked func(bool)
	// OnTouch is called before each access of what Sleep and Poke share.
	OnTouch func()
)

func hookWake(addr *uint32, n int) (woken int, ok bool) {
	if OnWake == nil {
		return 0, false
	}
	return OnWake(addr, n)
}

func hookCrowded() bool { return OnCrowded != nil && OnCrowded() }

func hookPoked(poked bool) {
	if OnPoked != nil {
		OnPoked(poked)
	}
}

func touch() {
	if OnTouch != nil {
		OnTouch()
	}
}

func (w *Waiter) waitBoth(addr *uint32, val uint32, bound int64) (int, syscall.Errno) {
	if OnSleep == nil {
		return waitMany(&w.vec[0], len(w.vec), &w.until)
	}
	return OnSleep(&w.poked, addr, val, time.Duration(bound))
}
