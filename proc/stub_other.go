//go:build !linux

package proc

import (
	"fmt"
	"os"
	"syscall"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Elsewhere than on Linux no manager can be made, and so no process started.

var rlimits = map[Resource]int{AddressSpace: 0, CPUTime: 0, CoreSize: 0, DataSize: 0, FileSize: 0, LockedMemory: 0, OpenFiles: 0, Processes: 0, StackSize: 0}

func (l Limits) apply() error { return errs.ErrUnsupported }

func signalName(s syscall.Signal) string { return fmt.Sprintf("signal %d", int(s)) }

func newGuard(name, domain, dir string) (*guard, error) {
	return nil, fmt.Errorf("process manager: %w", errs.ErrUnsupported)
}

func runGuardian() int { return 1 }

func killGroup(pid int) {}

func newPipe() (r, w *os.File, err error) { return nil, nil, errs.ErrUnsupported }
