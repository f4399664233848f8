package mem

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"
)

// Part describes one span of a region to be made: a positive length, which for a mapping must be a
// multiple of the page size, and whether it is wanted twice in a row.
type Part struct {
	Len    int
	Mirror bool
}

// Region is memory that processes share, as spans that follow each other in the file.
type Region struct {
	spans []Span
	base  []byte // the whole address range of a mapping, nil on the heap
}

// NewHeap is a region in this process alone, zeroed; spans are never mirrored.
func NewHeap(parts ...Part) *Region {
	r := &Region{}
	for _, p := range parts {
		words := make([]uint64, (p.Len+7)/8) // 8-byte aligned
		b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), p.Len)
		r.spans = append(r.spans, Span{b: b, n: p.Len})
	}
	return r
}

// Span is the i-th part.
func (r *Region) Span(i int) *Span { return &r.spans[i] }

func checkParts(parts []Part, page int) (file, addr int, err error) {
	if len(parts) == 0 {
		return 0, 0, errors.New("mem: a region has no parts")
	}
	for i, p := range parts {
		if p.Len <= 0 || p.Len%page != 0 || p.Len > 1<<46 {
			return 0, 0, fmt.Errorf("mem: part %d has %d bytes, which is not a positive multiple of the page size %d", i, p.Len, page)
		}
		file += p.Len
		addr += p.Len
		if p.Mirror {
			addr += p.Len
		}
	}
	return file, addr, nil
}

// mapped are the address ranges of all mappings: a fault elsewhere is not ours (see Guard).
var mapped struct {
	sync.Mutex
	m map[uintptr]int
}

func remember(b []byte) {
	mapped.Lock()
	defer mapped.Unlock()
	if mapped.m == nil {
		mapped.m = map[uintptr]int{}
	}
	mapped.m[uintptr(unsafe.Pointer(unsafe.SliceData(b)))] = len(b)
}

func forget(b []byte) {
	mapped.Lock()
	defer mapped.Unlock()
	delete(mapped.m, uintptr(unsafe.Pointer(unsafe.SliceData(b))))
}

func isMapped(addr uintptr) bool {
	mapped.Lock()
	defer mapped.Unlock()
	for a, n := range mapped.m {
		if addr >= a && addr-a < uintptr(n) {
			return true
		}
	}
	return false
}
