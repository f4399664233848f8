//go:build amd64 || arm64

package mem

func pause(n uint32)
