//go:build !explore

package wait

import (
	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

func wakeFutex(w *mem.U32, n int) int { return futex.Wake(w.Ptr(), n) }
