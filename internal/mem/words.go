package mem

import (
	"encoding/binary"
	"unsafe"
)

// Bytes that one process writes while others read them without a lock, as a sequence word allows that changes
// afterwards. A reader may get a mixture; what matters is that the copy is ordered between the loads of the
// sequence, and on the heap that the race detector sees no race: so the bytes move by atomic words, but on
// amd64, where plain loads and stores are ordered as well.
//
// Offsets are multiples of 8, and the span reaches to the end of the last word.

// LoadBytes copies len(dst) bytes at off to dst, after the caller's earlier loads and before its later ones.
func (s *Span) LoadBytes(dst []byte, off int) {
	if off&7 != 0 {
		misaligned(off)
	}
	if plainRelease {
		copy(dst, s.b[off:off+len(dst)])
		return
	}
	for ; len(dst) >= 8; dst, off = dst[8:], off+8 {
		binary.LittleEndian.PutUint64(dst, s.U64(off).Load())
	}
	if len(dst) > 0 {
		var last [8]byte
		binary.LittleEndian.PutUint64(last[:], s.U64(off).Load())
		copy(dst, last[:])
	}
}

// StoreBytes copies src to off, after the caller's earlier stores and before its later ones. It may write up to 7
// bytes more, up to the next multiple of 8.
func (s *Span) StoreBytes(off int, src []byte) {
	if off&7 != 0 {
		misaligned(off)
	}
	if plainRelease {
		copy(s.b[off:off+len(src)], src)
		return
	}
	for ; len(src) >= 8; src, off = src[8:], off+8 {
		s.U64(off).Store(binary.LittleEndian.Uint64(src))
	}
	if len(src) > 0 {
		var last [8]byte
		copy(last[:], src)
		s.U64(off).Store(binary.LittleEndian.Uint64(last[:]))
	}
}

// StoreString is StoreBytes of a string.
func (s *Span) StoreString(off int, src string) {
	if off&7 != 0 {
		misaligned(off)
	}
	if plainRelease {
		copy(s.b[off:off+len(src)], src)
		return
	}
	for ; len(src) > 0; off += 8 {
		var word [8]byte
		src = src[copy(word[:], src):]
		s.U64(off).Store(binary.LittleEndian.Uint64(word[:]))
	}
}

// EqualString reports whether the bytes at off are str, ordered as LoadBytes.
func (s *Span) EqualString(off int, str string) bool {
	if off&7 != 0 {
		misaligned(off)
	}
	if plainRelease {
		return string(s.b[off:off+len(str)]) == str
	}
	for ; len(str) > 0; off += 8 {
		var have, want [8]byte
		binary.LittleEndian.PutUint64(have[:], s.U64(off).Load())
		n := copy(want[:], str)
		if str = str[n:]; have != want && string(have[:n]) != string(want[:n]) {
			return false
		}
	}
	return true
}

// Line is the cache line at off, a multiple of 64, as eight words. It panics when that is outside of the span.
func (s *Span) Line(off int) *[8]U64 {
	if off&63 != 0 {
		misaligned(off)
	}
	return (*[8]U64)(unsafe.Pointer(&s.b[off : off+64 : off+64][0]))
}

// Prefetch tells the processor that the line at off will be read soon. It never faults, also when the memory is unmapped meanwhile.
func (s *Span) Prefetch(off int) {
	if uint(off) < uint(len(s.b)) {
		prefetchRead(unsafe.Add(unsafe.Pointer(unsafe.SliceData(s.b)), off))
	}
}

// StoreOrdered publishes v: whoever loads it sees all that was stored before, and nobody sees a later store
// without it. Unlike StoreRelease it says nothing about later loads of this process: where those matter, a full fence, such as
// the unlocking of a lock, comes between.
func (w *U64) StoreOrdered(v uint64) {
	if plainRelease {
		w.v = v
		return
	}
	w.Store(v)
}
