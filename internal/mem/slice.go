package mem

import (
	"fmt"
	"unsafe"
)

// SliceOf is b as elements of type T, which has no pointers. It panics where b is not aligned for T or does not
// hold whole elements: offsets come from our own arithmetic, never unchecked from shared memory.
func SliceOf[T any](b []byte) []T {
	var t T
	size := int(unsafe.Sizeof(t))
	p := unsafe.Pointer(unsafe.SliceData(b))
	if size == 0 || len(b)%size != 0 || uintptr(p)%unsafe.Alignof(t) != 0 {
		panic(fmt.Sprintf("mem: %d bytes at %p as elements of type %T", len(b), p, t))
	}
	return unsafe.Slice((*T)(p), len(b)/size)
}

// BytesOf is the memory of the elements of s, which have no pointers.
func BytesOf[T any](s []T) []byte {
	var t T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(t)))
}
