//go:build !amd64 && !arm64

package mem

import (
	"runtime"
	"unsafe"
)

func pause(uint32) { runtime.Gosched() }

func prefetchWrite(unsafe.Pointer) {}

func prefetchRead(unsafe.Pointer) {}
