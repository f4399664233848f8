package mem

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Map maps the parts of the file fd, beginning at its offset 0, shared and writable. The caller has
// made sure that the file has that many bytes; if it shrinks later, accesses fault (see Guard).
func Map(fd int, parts ...Part) (*Region, error) {
	setupAsymmetric()
	return mapParts(fd, unix.PROT_READ|unix.PROT_WRITE, parts)
}

// MapRead is Map for those who only look: a store faults.
func MapRead(fd int, parts ...Part) (*Region, error) { return mapParts(fd, unix.PROT_READ, parts) }

func mapParts(fd, prot int, parts []Part) (*Region, error) {
	_, addr, err := checkParts(parts, os.Getpagesize())
	if err != nil {
		return nil, err
	}
	// Reserve the whole range first, then lay the file over it: nothing else can slip in between.
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(addr), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserve %d bytes of address space: %w", addr, err)
	}
	r := &Region{base: unsafe.Slice((*byte)(p), addr)}
	at, off := 0, int64(0)
	for _, part := range parts {
		times := 1
		if part.Mirror {
			times = 2
		}
		for range times {
			_, err := unix.MmapPtr(fd, off, unsafe.Pointer(&r.base[at]), uintptr(part.Len), prot, unix.MAP_SHARED|unix.MAP_FIXED)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("map %d bytes: %w", part.Len, err), unix.MunmapPtr(p, uintptr(addr)))
			}
			at += part.Len
		}
		n := times * part.Len
		r.spans = append(r.spans, Span{b: r.base[at-n : at : at], n: part.Len, mirrored: part.Mirror})
		off += int64(part.Len)
	}
	remember(r.base)
	return r, nil
}

// Unmap gives the addresses back. No span of the region may be used during or after it.
func (r *Region) Unmap() error {
	if r.base == nil {
		return nil
	}
	b := r.base
	r.base = nil
	forget(b)
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)))
}
