//go:build explore

package wait

import "github.com/shiplap-ipc/shiplap/internal/mem"

// WakeFutex replaces the kernel's futex in builds with the tag "explore"; package explore sets it.
var WakeFutex func(w *mem.U32, n int) int

func wakeFutex(w *mem.U32, n int) int { return WakeFutex(w, n) }
