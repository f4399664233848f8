package mem

import (
	"sync"
	"time"
)

// Pause executes n processor pause hints, each some 10 to 50 ns. n must be at least 1.
func Pause(n uint32) {
	if hooked {
		hook(nil, AccessPause)
	}
	pause(n)
}

// PauseTime is what one pause hint takes on this machine, measured once.
var PauseTime = sync.OnceValue(func() time.Duration {
	if reproducible.Load() {
		return time.Microsecond // as under a tracer that steps through it, which also keeps polls short
	}
	const n = 256
	best := time.Duration(1 << 62)
	for range 4 { // the fastest try: the others were interrupted
		t := time.Now()
		pause(n)
		best = min(best, time.Since(t))
	}
	return max(best/n, time.Nanosecond)
})
