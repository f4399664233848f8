//go:build !linux

package mem

func membarrierRegister() bool { return false }
func membarrier() bool         { return false }
