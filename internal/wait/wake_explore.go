//go:build explore

package wait

import (
	"time"

	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// WakeFutex and SleepFutex replace the kernel's futex in builds with the tag "explore"; package
// explore sets them.
var (
	WakeFutex  func(w *mem.U32, n int) int
	SleepFutex func(w *mem.U32, seen uint32) futex.Result
)

// Wake wakes up to n who sleep on the word and says how many it woke.
func Wake(w *mem.U32, n int) int { return WakeFutex(w, n) }

func sleepFutex(_ *futex.Waiter, word *mem.U32, seen uint32, _ time.Duration, _ futex.Ready) futex.Result {
	return SleepFutex(word, seen)
}
