//go:build !linux

package racetest

import "syscall"

// dieWithParent: there are no workers here, for no domain can be joined.
func dieWithParent() *syscall.SysProcAttr { return nil }
