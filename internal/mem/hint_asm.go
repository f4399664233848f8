//go:build amd64 || arm64

package mem

import "unsafe"

//go:noescape
func pause(n uint32)

//go:noescape
func prefetchWrite(p unsafe.Pointer)

//go:noescape
func prefetchRead(p unsafe.Pointer)
