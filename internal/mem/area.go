package mem

import (
	"fmt"
	"unsafe"
)

// Area is a span of a power-of-two length, at least 8, seen as a ring: any position is inside, taken
// modulo the length. That makes its accesses safe without a check.
type Area struct {
	base unsafe.Pointer
	mask uint64
	span *Span
}

// NewArea views a span.
func NewArea(s *Span) Area {
	if s.n < 8 || s.n&(s.n-1) != 0 {
		panic(fmt.Sprintf("mem: an area of %d bytes", s.n))
	}
	return Area{base: unsafe.Pointer(unsafe.SliceData(s.b)), mask: uint64(s.n - 1), span: s}
}

// Word is the word at pos, rounded down to a multiple of 8.
func (a *Area) Word(pos uint64) *U64 {
	return (*U64)(unsafe.Add(a.base, pos&a.mask&^7))
}

// PrefetchWrite tells the processor that the line at pos will be written soon. It never faults.
func (a *Area) PrefetchWrite(pos uint64) { prefetchWrite(unsafe.Add(a.base, pos&a.mask&^7)) }

// Slice is the n bytes at pos, at most the length of the area; nil where they are not contiguous, on the
// heap at the end.
func (a *Area) Slice(pos uint64, n int) []byte {
	off := int(pos & a.mask)
	if uint(n) > uint(a.span.n) || !a.span.mirrored && off+n > a.span.n {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Add(a.base, off)), n)
}

// CopyIn writes p at pos, wrapping at the end. p is not longer than the area.
func (a *Area) CopyIn(pos uint64, p []byte) {
	if b := a.Slice(pos, len(p)); b != nil {
		copy(b, p)
		return
	}
	a.span.CopyIn(int(pos&a.mask), p)
}

// CopyOut reads len(p) bytes at pos, wrapping at the end. p is not longer than the area.
func (a *Area) CopyOut(p []byte, pos uint64) {
	if b := a.Slice(pos, len(p)); b != nil {
		copy(p, b)
		return
	}
	a.span.CopyOut(p, int(pos&a.mask))
}
