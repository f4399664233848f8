//go:build !amd64 || race || explore

package mem

// Elsewhere an atomic store is the release store (STLR on arm64), and it is ordered before later
// atomic loads as well.
const plainRelease = false
