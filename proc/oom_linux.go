package proc

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// oomCounter is the file in which the kernel counts the processes of a control group that it killed for lack of memory; "" if
// there is none.
type oomCounter string

// findOOMCounter knows both versions of control groups: memory.events and memory.oom_control.
func findOOMCounter(membership, mount string) oomCounter {
	b, _ := os.ReadFile(membership)
	var found oomCounter
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		var path string
		switch {
		case parts[0] == "0" && parts[1] == "":
			path = filepath.Join(mount, parts[2], "memory.events")
		case parts[1] == "memory":
			path = filepath.Join(mount, "memory", parts[2], "memory.oom_control")
		default:
			continue
		}
		if _, err := os.Stat(path); err == nil {
			found = oomCounter(path)
		}
	}
	return found
}

func (c oomCounter) read() uint64 {
	if c == "" {
		return 0
	}
	f, err := os.Open(string(c))
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "oom_kill "); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(rest), 10, 64)
			return n
		}
	}
	return 0
}
