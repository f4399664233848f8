package room

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// margin is the part of what is free that is left alone: the figures are estimates, others want some too, and memory takes memory
// to be mapped.
const margin = 16

// available is how many bytes the host and the control groups of this process can give before somebody
// is killed for them, and which of them sets the bound; "" if nothing can be told. root is that of /proc and /sys.
func available(root string) (free uint64, of string) {
	mem := fields(filepath.Join(root, "proc/meminfo"), 1<<10)
	swap := mem["SwapFree"]
	if a, ok := mem["MemAvailable"]; ok {
		free, of = a+swap, "the host's memory (MemAvailable and SwapFree in /proc/meminfo)"
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
	return free - free/margin, of
}

// groupFree is what a group may still take: its limit less its use, and what it can give back of that. swap is what the
// host has free.
func groupFree(dir string, v2 bool, swap uint64) (uint64, bool) {
	limit, use, prefix := "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
	if v2 {
		limit, use, prefix = "memory.max", "memory.current", ""
	}
	left, ok := below(filepath.Join(dir, limit), filepath.Join(dir, use))
	if !ok {
		return 0, false
	}
	stat := fields(filepath.Join(dir, "memory.stat"), 1)
	left += int64(stat[prefix+"inactive_file"] + stat[prefix+"active_file"] + groupSwap(dir, v2, swap))
	if !v2 { // the second limit of version 1 is on memory and swap together
		if both, ok := below(filepath.Join(dir, "memory.memsw.limit_in_bytes"), filepath.Join(dir, "memory.memsw.usage_in_bytes")); ok {
			left = min(left, both+int64(stat[prefix+"inactive_file"]+stat[prefix+"active_file"]))
		}
	}
	return uint64(max(left, 0)), true
}

// groupSwap is how much of the swap the group may have.
func groupSwap(dir string, v2 bool, swap uint64) uint64 {
	if v2 {
		if left, ok := below(filepath.Join(dir, "memory.swap.max"), filepath.Join(dir, "memory.swap.current")); ok {
			return min(swap, uint64(max(left, 0)))
		}
	}
	return swap
}

// below is how far the number in one file is below that in another, negative if it is above; not ok if there is no limit, which
// version 1 says by a very large one.
func below(limit, use string) (int64, bool) {
	most, ok := number(limit)
	used, ok2 := number(use)
	if !ok || !ok2 || most >= 1<<62 || used >= 1<<62 {
		return 0, false
	}
	return int64(most) - int64(used), true
}

// MemInfo is a line of /proc/meminfo, in bytes; 0 if there is none of that name.
func MemInfo(name string) uint64 { return fields("/proc/meminfo", 1<<10)[name] }

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
