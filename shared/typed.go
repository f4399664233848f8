package shared

import (
	"encoding/binary"
	"reflect"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

// describe is the descriptor of T, which must be of fixed layout.
func describe[T any]() (schema.Descriptor, error) {
	return schema.Describe(reflect.TypeFor[T](), schema.Fixed)
}

// bitsOf is a scalar as the low bytes of a word.
func bitsOf(b []byte) uint64 {
	switch len(b) {
	case 8:
		return binary.LittleEndian.Uint64(b)
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	}
	return uint64(b[0])
}

func putBits(b []byte, v uint64) {
	switch len(b) {
	case 8:
		binary.LittleEndian.PutUint64(b, v)
	case 4:
		binary.LittleEndian.PutUint32(b, uint32(v))
	case 2:
		binary.LittleEndian.PutUint16(b, uint16(v))
	default:
		b[0] = byte(v)
	}
}

func fromBits[T any](v uint64) (t T) {
	putBits(mem.AsBytes(&t), v)
	return t
}

func toBits[T any](t T) uint64 { return bitsOf(mem.AsBytes(&t)) }
