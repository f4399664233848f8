//go:build !explore

package mutex

import "time"

// later runs f after d.
func later(d time.Duration, f func()) { time.AfterFunc(d, f) }
