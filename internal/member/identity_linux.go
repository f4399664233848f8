package member

import (
	"encoding/hex"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

type identity struct {
	pid, uid int
	start    uint64
	pidNS    uint64
	boot     [16]byte
	cmd      string
}

var self = sync.OnceValue(func() identity {
	id := identity{pid: os.Getpid(), uid: os.Geteuid(), cmd: strings.Join(os.Args, " ")}
	id.start = startTime()
	var st unix.Stat_t
	if unix.Stat("/proc/self/ns/pid", &st) == nil {
		id.pidNS = st.Ino
	}
	if b, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		h := strings.ReplaceAll(strings.TrimSpace(string(b)), "-", "")
		hex.Decode(id.boot[:], []byte(h[:min(len(h), 32)]))
	}
	return id
})

// startTime is when this process started.
func startTime() uint64 {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	return statStart(b)
}
