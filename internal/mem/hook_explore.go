//go:build explore

package mem

import "unsafe"

const hooked = true

// OnAccess is called before every access of a word in a region. It exists in builds with the tag
// "explore" only; package explore sets it.
var OnAccess func(addr uintptr, a Access)

func hook(p unsafe.Pointer, a Access) {
	if f := OnAccess; f != nil {
		f(uintptr(p), a)
	}
}
