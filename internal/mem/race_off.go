//go:build !race

package mem

// RaceAcquire and RaceRelease tell the race detector of an order that it cannot see, because the
// word that makes it lies in a mapping. They do nothing in other builds.
func RaceAcquire(*U32) {}

// RaceRelease is the other half.
func RaceRelease(*U32) {}
