//go:build !explore

package wordlock

import (
	"runtime"
	"sync"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// hungry is how many sleeps without getting the lock it takes to stand in line.
const hungry = 4

// A spinner looks at the word ever more rarely. Each look takes the line from the one who works with it, and
// each lock that it gets moves all that the lock protects to another cache: two processes that lock in a loop
// do twice as much if each keeps the lock for microseconds.
const (
	firstLook = 700 * time.Nanosecond
	lastLook  = 8 * firstLook
	spinMost  = 40 * time.Microsecond // in all; about what a sleep and a wake-up take
)

// spinStep is firstLook in pause hints; 0 where spinning keeps the holder from the only CPU.
var spinStep = sync.OnceValue(func() uint32 {
	if runtime.NumCPU() == 1 {
		return 0
	}
	return uint32(firstLook/mem.PauseTime()) + 1
})

// spin tries for some microseconds. Whoever stands in line goes first.
func (l *Lock) spin() bool {
	first := spinStep()
	if first == 0 {
		return false
	}
	const last, most = uint32(lastLook / firstLook), uint32(spinMost / firstLook)
	for spent, step := uint32(0), uint32(1); spent < most; spent += step {
		if l.word.Load() == 0 && l.Fast() {
			return true
		}
		mem.Pause(step * first)
		if step < last {
			step *= 2
		}
	}
	return l.word.Load() == 0 && l.Fast()
}
