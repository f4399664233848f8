//go:build !explore

package wordlock

import "runtime"

func spinUseful() bool { return runtime.NumCPU() > 1 }
