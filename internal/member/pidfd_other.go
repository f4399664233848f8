//go:build !linux

package member

func onExit(int, func()) (func(), bool) { return nil, false }
