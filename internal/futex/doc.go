// Package futex promises a goroutine a place to sleep on a 32-bit word shared
// between processes, such that
//
//   - a Wake by any process that maps the word ends the sleep;
//   - Poke ends it from inside this process at once, without polling;
//   - it ends by itself when its bound is over, and, where the caller can say
//     when it is [Ready], within a quarter of a second after a wake-up that a
//     dying process swallowed;
//   - an address that is no longer mapped is a Result, not a crash;
//   - ten thousand sleepers cost at most 16 + 79 threads and next to no CPU.
//
// A sleep may end without a cause (Woken): callers look again and start over.
//
// Up to DirectMax goroutines sleep in their own futex_waitv(2), on the shared
// word and on a private one that Poke sets. Further ones hand their words to
// multiplexing threads of up to 127 words each. Kernels without futex_waitv
// (before 5.16, or forbidden by a seccomp filter) get plain futex(2) in slices
// of 5 ms, a thread each.
//
// The futex operations are always the process-shared ones, on heap words too.
// Nothing here allocates once a Waiter exists. All functions and methods may
// be called concurrently, except that a Waiter sleeps for one goroutine at a
// time.
package futex

import (
	"math"
	"strconv"
	"time"
)

// All, as the n of Wake, wakes every sleeper.
const All = math.MaxInt32

// DirectMax goroutines of a process sleep in a system call of their own;
// further ones with a Ready share threads.
const DirectMax = 16

// lookEvery is how long a swallowed wake-up stays unnoticed: sleepers with a
// Ready are asked this often.
const lookEvery = 250 * time.Millisecond

// Ready is asked whether a sleeper should be resumed although nothing woke it.
// It must be true whenever the wake-ups that the sleeper waits for meant
// something: of several that arrive together only one is told apart.
//
// Ready must be cheap, must not block, and must not call this package: it runs
// under its locks, on another goroutine. It is never called after Sleep has
// returned. It may panic, for instance on a page that a peer truncated away;
// that counts as true.
type Ready interface{ Ready() bool }

// Result says why a sleep ended.
type Result int

const (
	Woken    Result = iota // somebody called Wake, or no cause at all
	Changed                // the word did not hold the expected value
	Poked                  // the Waiter was poked: cancel, close, death notice
	TimedOut               // the bound is over
	Fault                  // the address is not mapped, the file was truncated
)

func (r Result) String() string {
	names := [...]string{"woken", "changed", "poked", "timed out", "fault"}
	if r < 0 || int(r) >= len(names) {
		return "Result(" + strconv.Itoa(int(r)) + ")"
	}
	return names[r]
}
