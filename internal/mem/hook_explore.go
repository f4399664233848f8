//go:build explore

package mem

import "unsafe"

const hooked = true

// Hooks of builds with the tag "explore"; package explore sets them.
var (
	// OnAccess is called before every access of a word in a region.
	OnAccess func(addr uintptr, a Access)
	// OnLoad is called when a load is due. If ok, it is answered by v: an own store that is under way.
	OnLoad func(addr uintptr) (v uint64, ok bool)
	// OnRelease is called when a StoreRelease of size bytes is due. If true, it is under way, and
	// the hook will store v later.
	OnRelease func(addr uintptr, size int, v uint64) bool
)

func hook(p unsafe.Pointer, a Access) {
	if f := OnAccess; f != nil {
		f(uintptr(p), a)
	}
}

func hookLoad(p unsafe.Pointer) (v uint64, ok bool) {
	hook(p, AccessLoad)
	if f := OnLoad; f != nil {
		return f(uintptr(p))
	}
	return 0, false
}

func hookRelease(p unsafe.Pointer, size int, v uint64) bool {
	hook(p, AccessRelease)
	f := OnRelease
	return f != nil && f(uintptr(p), size, v)
}
