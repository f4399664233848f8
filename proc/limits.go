package proc

import (
	"fmt"
	"maps"
	"slices"
)

// Resource names a limit of the kernel, as getrlimit(2) describes it.
type Resource string

const (
	AddressSpace Resource = "address-space" // bytes of memory mapped; Go programs map far more than they use
	CPUTime      Resource = "cpu-time"      // seconds; past them the kernel kills it
	CoreSize     Resource = "core-size"     // bytes
	DataSize     Resource = "data-size"     // bytes of private writable memory
	FileSize     Resource = "file-size"     // bytes
	LockedMemory Resource = "locked-memory" // bytes
	OpenFiles    Resource = "open-files"    // one more than the highest descriptor
	Processes    Resource = "processes"     // of the user, on the whole system
	StackSize    Resource = "stack-size"    // bytes
)

// Unlimited lifts a limit, as far as the manager may.
const Unlimited = ^uint64(0)

// Limits are the highest values of resources, soft and hard. What is not in the map is inherited.
type Limits map[Resource]uint64

func (l Limits) check() error {
	for _, r := range slices.Sorted(maps.Keys(l)) {
		if _, ok := rlimits[r]; !ok {
			return fmt.Errorf("limit %q is not known: %v are", r, Resources())
		}
	}
	return nil
}

// Resources lists those that can be limited.
func Resources() []Resource { return slices.Sorted(maps.Keys(rlimits)) }
