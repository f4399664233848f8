package shm

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// worthAsking is the size from which on it is asked whether the memory is there: what is smaller changes
// nothing, and asking takes as long as reserving it.
const worthAsking = 16 << 20

// available is how many bytes the host and the control groups of this process can give before somebody
// is killed for them, and which of them sets the bound; "" if nothing can be told. root is that of /proc and /sys.
func available(root string) (free uint64, of string) {
	mem := fields(filepath.Join(root, "proc/meminfo"), 1<<10)
	swap := mem["SwapFree"]
	if a, ok := mem["MemAvailable"]; ok {
		free, of = a+swap, "the host's memory (MemAvailable and SwapFree in /proc/meminfo)"
		free -= free / 16 // the kernel's figure is an estimate, and others want some too
	}
	b, _ := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	for line := range strings.Lines(string(b)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		top, v2 := filepath.Join(root, "sys/fs/cgroup"), part[1] == ""
		if !v2 {
			if part[1] != "memory" {
				continue
			}
			top = filepath.Join(top, "memory")
		}
		for path := filepath.Clean("/" + part[2]); ; path = filepath.Dir(path) {
			if f, ok := groupFree(filepath.Join(top, path), v2, swap); ok && (of == "" || f < free) {
				free, of = f, "the control group "+path
			}
			if path == "/" {
				break
			}
		}
	}
	return free, of
}

// groupFree is what a group may still take: its limit less its use, and what it can give back of that.
func groupFree(dir string, v2 bool, swap uint64) (uint64, bool) {
	limit, use, prefix := "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
	if v2 {
		limit, use, prefix = "memory.max", "memory.current", ""
	}
	most, ok := number(filepath.Join(dir, limit))
	used, ok2 := number(filepath.Join(dir, use))
	if !ok || !ok2 || most >= 1<<62 {
		return 0, false // "max", or version 1's way to say so
	}
	stat := fields(filepath.Join(dir, "memory.stat"), 1)
	most += stat[prefix+"inactive_file"] + stat[prefix+"active_file"] + swap
	return most - min(used, most), true
}

func number(path string) (uint64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// fields reads lines of a name and a number, in units.
func fields(path string, unit uint64) map[string]uint64 {
	all := map[string]uint64{}
	b, _ := os.ReadFile(path)
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		if n, err := strconv.ParseUint(f[1], 10, 64); err == nil {
			all[strings.TrimSuffix(f[0], ":")] = n * unit
		}
	}
	return all
}
