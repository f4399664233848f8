//go:build explore

package mem

import (
	"sync/atomic"
	"unsafe"
)

const hooked = true

// Hooks of builds with the tag "explore"; package explore sets them.
var (
	// OnAccess is called before every access of a word in a region.
	OnAccess func(addr uintptr, a Access)
	// OnLoad is called when a load is due. If ok, it is answered by v: an own store that is under way.
	OnLoad func(addr uintptr) (v uint64, ok bool)
	// OnStore is called when a store of size bytes is due, or a StoreRelease (release). If true, it is
	// under way: set, which nothing but the hook calls, will make it visible later.
	OnStore func(addr uintptr, size int, v uint64, release bool, set func()) bool
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

func hookStore(p unsafe.Pointer, size int, v uint64, release bool) bool {
	a := AccessStore
	if release {
		a = AccessRelease
	}
	hook(p, a)
	f := OnStore
	return f != nil && f(uintptr(p), size, v, release, func() {
		if size == 4 {
			atomic.StoreUint32((*uint32)(p), uint32(v))
		} else {
			atomic.StoreUint64((*uint64)(p), v)
		}
	})
}
