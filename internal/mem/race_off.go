//go:build !race

package mem

// FaultsPanic says that under a Guard all faults are panics. The race detector does atomic operations in C, where they are fatal.
const FaultsPanic = true

// RaceAcquire and RaceRelease tell the race detector of an order that it cannot see, because the
// word that makes it lies in a mapping. They do nothing in other builds.
func RaceAcquire(*U32) {}

// RaceRelease is the other half.
func RaceRelease(*U32) {}

// LoadHint is Load for a word that may by now hold anything, plain bytes too: the caller looks again
// before he relies on it. The race detector does not watch it.
func (w *U64) LoadHint() uint64 { return w.Load() }
