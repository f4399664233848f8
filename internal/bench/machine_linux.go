package bench

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of /proc/stat, whatever the kernel's own is.
const tick = time.Second / 100

// MachineTime is what all processors together had, and how much of it they were busy. What a hypervisor took counts as busy.
func MachineTime() (all, busy time.Duration, err error) {
	const path = "/proc/stat"
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	var v [8]time.Duration // user nice system idle iowait irq softirq steal
	if _, err := fmt.Sscanf(line, "cpu %d %d %d %d %d %d %d %d", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", path, err)
	}
	for i, t := range v {
		all += t * tick
		if i != 3 && i != 4 {
			busy += t * tick
		}
	}
	return all, busy, nil
}

// Others begins to watch the machine; what it returns says which share of it, 0 to 1, went since then to processes that are
// neither this one nor children of it that have ended by now.
func Others() (func() (float64, error), error) {
	look := func() (all, others time.Duration, err error) {
		if all, others, err = MachineTime(); err != nil {
			return 0, 0, err
		}
		for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
			var u unix.Rusage
			if err := unix.Getrusage(who, &u); err != nil {
				return 0, 0, err
			}
			others -= time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
		return all, others, nil
	}
	all0, others0, err := look()
	return func() (float64, error) {
		all, others, err := look()
		return max(0, float64(others-others0)) / max(1, float64(all-all0)), err
	}, err
}
