//go:build explore

package wait

import "time"

// Clock replaces the clock in builds with the tag "explore"; package explore sets it.
var Clock func() time.Duration

// Now is the time of a clock that belongs to this process and never goes back.
func Now() time.Duration {
	if Clock == nil { // a test without the explorer
		return time.Since(start)
	}
	return Clock()
}

var start = time.Now()
