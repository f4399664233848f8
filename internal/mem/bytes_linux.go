package mem

import (
	"fmt"
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

// View says what a byte mapping may be used for.
type View int

const (
	ReadWrite View = iota // shared with all who map the file
	ReadOnly              // the same, and a store faults
	Frozen                // a read-only view of a file whose bytes cannot change any more (sealed)
)

func (v View) flags() (prot, flags int) {
	switch v {
	case ReadOnly:
		return unix.PROT_READ, unix.MAP_SHARED
	case Frozen:
		// Kernels before 6.7 refuse to share a sealed file through a writable descriptor.
		return unix.PROT_READ, unix.MAP_PRIVATE
	}
	return unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED
}

// MapBytes maps the first length bytes of the file fd, which need not be whole pages. The caller has
// made sure that they are there; if the file shrinks later, accesses fault (see Guard).
func MapBytes(fd int, length int64, v View) ([]byte, error) {
	if length <= 0 || length > math.MaxInt || length > 1<<46 {
		return nil, fmt.Errorf("mem: a mapping of %d bytes", length)
	}
	prot, flags := v.flags()
	p, err := unix.MmapPtr(fd, 0, nil, uintptr(length), prot, flags)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", length, err)
	}
	b := unsafe.Slice((*byte)(p), length)
	remember(b)
	return b, nil
}

// HideBytes takes the file away from behind a byte mapping: the addresses stay taken, and every access
// faults, until RemapBytes.
func HideBytes(b []byte) error {
	_, err := unix.MmapPtr(-1, 0, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), unix.PROT_NONE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE|unix.MAP_FIXED)
	return err
}

// RemapBytes lays the file over a byte mapping again, at the same addresses.
func RemapBytes(b []byte, fd int, v View) error {
	prot, flags := v.flags()
	_, err := unix.MmapPtr(fd, 0, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), prot, flags|unix.MAP_FIXED)
	return err
}

// UnmapBytes gives the addresses back. Nobody may use the slice during or after it.
func UnmapBytes(b []byte) error {
	forget(b)
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)))
}
