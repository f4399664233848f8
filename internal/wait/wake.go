package wait

import (
	"time"

	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Wake wakes up to n who sleep on the word and says how many it woke.
func Wake(w *mem.U32, n int) int { return futex.Wake(w.Ptr(), n) }

func sleepFutex(w *futex.Waiter, word *mem.U32, seen uint32, bound time.Duration, ready futex.Ready) futex.Result {
	return w.Sleep(word.Ptr(), seen, bound, ready)
}
