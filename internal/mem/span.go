package mem

import (
	"fmt"
	"unsafe"
)

// Span is a stretch of a region. A mirrored span appears twice in a row in the address space, so
// that a slice of up to Len bytes may begin at any offset and runs on over the end into the start.
type Span struct {
	b        []byte // n bytes, or 2n when mirrored
	n        int
	mirrored bool
}

// Len is the number of distinct bytes.
func (s *Span) Len() int { return s.n }

// Mirrored reports whether slices may run over the end. It is false on the heap.
func (s *Span) Mirrored() bool { return s.mirrored }

// U32 is the word at off, a multiple of 4. It panics when that is outside of the span: offsets
// come from our own arithmetic, never unchecked from shared memory.
func (s *Span) U32(off int) *U32 {
	if off&3 != 0 {
		misaligned(off)
	}
	return (*U32)(unsafe.Pointer(&s.b[off : off+4 : off+4][0]))
}

// U64 is the word at off, a multiple of 8. It panics as U32 does.
func (s *Span) U64(off int) *U64 {
	if off&7 != 0 {
		misaligned(off)
	}
	return (*U64)(unsafe.Pointer(&s.b[off : off+8 : off+8][0]))
}

func misaligned(off int) { panic(fmt.Sprintf("mem: misaligned offset %d", off)) }

// Bytes is the slice [off, off+n). On a mirrored span it may run over the end.
func (s *Span) Bytes(off, n int) []byte { return s.b[off : off+n : off+n] }

// CopyIn writes p at off, wrapping at the end of the span.
func (s *Span) CopyIn(off int, p []byte) {
	if s.mirrored || off+len(p) <= s.n {
		copy(s.b[off:off+len(p)], p)
		return
	}
	k := copy(s.b[off:s.n], p)
	copy(s.b[:len(p)-k], p[k:])
}

// CopyOut reads len(p) bytes at off, wrapping at the end of the span.
func (s *Span) CopyOut(p []byte, off int) {
	if s.mirrored || off+len(p) <= s.n {
		copy(p, s.b[off:off+len(p)])
		return
	}
	k := copy(p, s.b[off:s.n])
	copy(p[k:], s.b[:len(p)-k])
}

// AsBytes is the memory of *p, for types without pointers (package schema decides which).
func AsBytes[T any](p *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
}
