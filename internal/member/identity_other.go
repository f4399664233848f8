//go:build !linux

package member

import "os"

type identity struct {
	pid, uid int
	start    uint64
	pidNS    uint64
	boot     [16]byte
	cmd      string
}

func self() identity { return identity{pid: os.Getpid()} }
