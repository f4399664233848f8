//go:build !amd64 && !arm64

package mem

import "runtime"

func pause(uint32) { runtime.Gosched() }
