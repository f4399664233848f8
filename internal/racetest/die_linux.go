package racetest

import "syscall"

// dieWithParent are the attributes of workers: they do not outlive the supervisor.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
