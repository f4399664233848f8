package member

import (
	"bytes"
	"encoding/hex"
	"os"
	"strconv"
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

// startTime is field 22 of /proc/self/stat; the command in field 2 may hold anything but ends with
// the last parenthesis.
func startTime() uint64 {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 20 {
		return 0
	}
	n, _ := strconv.ParseUint(string(fields[19]), 10, 64)
	return n
}
