//go:build amd64 && !race && !explore

package mem

// On amd64 every store is a release store, and the compiler moves no memory access across the
// atomic operations and calls around it; a plain MOV spares the full fence of an XCHG.
const plainRelease = true
