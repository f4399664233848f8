// Package envelope is the small map that may stand in front of a message's body: for trace contexts, names to
// reply to, identities of publications. It is encoded into one block, which tells its own length.
package envelope

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Limits of an envelope.
const (
	MostKeys   = 64
	LongestKey = 255
	MostBytes  = 64 << 10 // of the block
)

// A block is a multiple of 8 bytes, little-endian: its length (u32), the number of entries (u32), and for
// each entry the length of its value (u32), the length of its key (u16), the key and the value, sorted by
// keys; then padding.
const (
	headSize  = 8
	entrySize = 6
	align     = 8
)

// Size is the length of the block of a map; 0 for an empty one, which needs none.
func Size(m map[string][]byte) int {
	if len(m) == 0 {
		return 0
	}
	n := headSize
	for k, v := range m {
		n += entrySize + len(k) + len(v)
	}
	return (n + align - 1) &^ (align - 1)
}

// Append appends the block of a map, nothing for an empty one. errs.ErrName for a key that cannot be one,
// errs.ErrTooLarge when a limit is passed.
func Append(dst []byte, m map[string][]byte) ([]byte, error) {
	if len(m) == 0 {
		return dst, nil
	}
	n := Size(m)
	if len(m) > MostKeys || n > MostBytes {
		return dst, fmt.Errorf("%w: an envelope of %d keys and %d bytes; at most %d and %d are possible: put the rest "+
			"into the message", errs.ErrTooLarge, len(m), n, MostKeys, MostBytes)
	}
	at := len(dst)
	dst = slices.Grow(dst, n)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if err := checkKey(k); err != nil {
			return dst[:at], err
		}
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(m[k])))
		dst = binary.LittleEndian.AppendUint16(dst, uint16(len(k)))
		dst = append(dst, k...)
		dst = append(dst, m[k]...)
	}
	return append(dst, make([]byte, at+n-len(dst))...), nil
}

func checkKey(k string) error {
	if k == "" || len(k) > LongestKey || !utf8.ValidString(k) {
		return fmt.Errorf("%w: the key %.40q of an envelope has %d bytes: keys are UTF-8, of 1 to %d bytes",
			errs.ErrName, k, len(k), LongestKey)
	}
	return nil
}

// Len is the length of the block that begins with a word, in a payload of most bytes.
func Len(first, most uint64) (int, error) {
	n := uint32(first)
	if n < headSize || n%align != 0 || n > MostBytes || uint64(n) > most {
		return 0, fmt.Errorf("%w: an envelope of %d bytes in a message of %d", errs.ErrCorrupt, n, most)
	}
	return int(n), nil
}

func short(n int) error { return fmt.Errorf("%w: an envelope ends after %d bytes", errs.ErrCorrupt, n) }

// Decode is the map of a block, nil if it has no entries. The values are copies.
func Decode(block []byte) (map[string][]byte, error) {
	if len(block) == 0 {
		return nil, nil
	}
	if len(block) < headSize {
		return nil, short(len(block))
	}
	n, err := Len(binary.LittleEndian.Uint64(block), uint64(len(block)))
	if err != nil {
		return nil, err
	}
	keys := binary.LittleEndian.Uint32(block[4:])
	if keys == 0 {
		return nil, nil
	}
	if keys > MostKeys {
		return nil, fmt.Errorf("%w: an envelope of %d keys", errs.ErrCorrupt, keys)
	}
	b := append([]byte(nil), block[headSize:n]...)
	m := make(map[string][]byte, keys)
	last := ""
	for range keys {
		if len(b) < entrySize {
			return nil, short(n)
		}
		nv, nk := binary.LittleEndian.Uint32(b), int(binary.LittleEndian.Uint16(b[4:]))
		if b = b[entrySize:]; uint64(nk)+uint64(nv) > uint64(len(b)) {
			return nil, short(n)
		}
		k, v := string(b[:nk]), b[nk:nk+int(nv):nk+int(nv)]
		if checkKey(k) != nil || k <= last {
			return nil, fmt.Errorf("%w: the key %q of an envelope, behind %q", errs.ErrCorrupt, k, last)
		}
		m[k], last, b = v, k, b[nk+int(nv):]
	}
	return m, nil
}
