// Package wait is how a goroutine waits for something that another process publishes: it spins while
// that pays, then sleeps in the kernel without using the CPU, and can be called back by a context, by
// the closing of its handle, or by a death. No wake-up is lost; the ones that dying processes
// swallow are made good within MaxSleep.
//
// The protocol of Event is decision D17 of docs/design.md; package explore checks this very code.
package wait

import "time"

// MaxSleep bounds every sleep.
const MaxSleep = 250 * time.Millisecond

// Mode says how a handle waits.
type Mode uint8

const (
	Adaptive Mode = iota // spin as long as recent waits say that it pays, then sleep
	Spin                 // spin for a long while before each sleep: lowest latency, burns a CPU
	Sleep                // sleep at once: for processes that share one CPU
)

func (m Mode) String() string {
	switch m {
	case Spin:
		return "spin"
	case Sleep:
		return "sleep"
	}
	return "adaptive"
}
