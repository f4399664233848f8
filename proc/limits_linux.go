package proc

import (
	"fmt"
	"maps"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

var rlimits = map[Resource]int{
	AddressSpace: unix.RLIMIT_AS,
	CPUTime:      unix.RLIMIT_CPU,
	CoreSize:     unix.RLIMIT_CORE,
	DataSize:     unix.RLIMIT_DATA,
	FileSize:     unix.RLIMIT_FSIZE,
	LockedMemory: unix.RLIMIT_MEMLOCK,
	OpenFiles:    unix.RLIMIT_NOFILE,
	Processes:    unix.RLIMIT_NPROC,
	StackSize:    unix.RLIMIT_STACK,
}

// apply limits this process. Memory comes last: the rest may need some.
func (l Limits) apply() error {
	rank := func(r Resource) int {
		if r == AddressSpace || r == DataSize {
			return 1
		}
		return 0
	}
	names := slices.SortedStableFunc(maps.Keys(l), func(a, b Resource) int { return rank(a) - rank(b) })
	for _, r := range names {
		v := l[r]
		lim := syscall.Rlimit{Cur: v, Max: v}
		if v == Unlimited { // as far as it goes
			if err := syscall.Getrlimit(rlimits[r], &lim); err != nil {
				return fmt.Errorf("limit %s: %w", r, err)
			}
			lim.Cur = lim.Max
		}
		// Not by x/sys: the runtime must know that the limit of open files is ours now, else exec restores it.
		if err := syscall.Setrlimit(rlimits[r], &lim); err != nil {
			var now syscall.Rlimit
			_ = syscall.Getrlimit(rlimits[r], &now)
			return fmt.Errorf("limit %s to %d, the hard limit being %d: %w", r, v, now.Max, err)
		}
	}
	return nil
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}
