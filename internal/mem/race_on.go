//go:build race

package mem

import (
	"runtime"
	"unsafe"
)

// FaultsPanic says that under a Guard all faults are panics. The race detector does atomic operations in C, where they are fatal.
const FaultsPanic = false

// The detector keeps state for the heap alone, and one lock may be mapped at several addresses. So
// all lock words share one place: too much order, hence no false report.
var raceWord uint64

// RaceAcquire and RaceRelease tell the race detector of an order that it cannot see, because the
// word that makes it lies in a mapping.
func RaceAcquire(*U32) { runtime.RaceAcquire(unsafe.Pointer(&raceWord)) }

// RaceRelease is the other half.
func RaceRelease(*U32) { runtime.RaceReleaseMerge(unsafe.Pointer(&raceWord)) }

// LoadHint is Load for a word that may by now hold anything, plain bytes too: the caller looks again
// before he relies on it. The race detector does not watch it.
//
//go:norace
func (w *U64) LoadHint() uint64 { return w.v }
