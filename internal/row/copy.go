package row

import (
	"encoding/binary"
	"slices"
)

// Where publishers overwrite, a record may change while somebody reads it. All its words are stored and loaded
// atomically, in order: stores come after that of floor that gave the record up, loads before the look at floor that
// follows them.

// copyWords stores b at pos, and zeros up to the next multiple of 8.
func (t *Topic) copyWords(pos uint64, b []byte) {
	for ; len(b) >= wordSize; b = b[wordSize:] {
		t.word(pos).StoreRelease(binary.LittleEndian.Uint64(b))
		pos += wordSize
	}
	if len(b) > 0 {
		var last [wordSize]byte
		copy(last[:], b)
		t.word(pos).StoreRelease(binary.LittleEndian.Uint64(last[:]))
	}
}

// copyOut appends the n bytes at pos.
func (t *Topic) copyOut(dst []byte, pos uint64, n int) []byte {
	at := len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	b := dst[at:]
	for ; len(b) >= wordSize; b = b[wordSize:] {
		binary.LittleEndian.PutUint64(b, t.word(pos).Load())
		pos += wordSize
	}
	if len(b) > 0 {
		var last [wordSize]byte
		binary.LittleEndian.PutUint64(last[:], t.word(pos).Load())
		copy(b, last[:])
	}
	return dst
}
