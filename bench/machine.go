//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	machines "github.com/shiplap-ipc/shiplap/internal/bench"
)

// tick is the unit of /proc/PID/stat.
const tick = time.Second / 100

// processTime is how much processor time a process has had.
func processTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	var user, system time.Duration
	_, err = fmt.Sscan(string(fields[11])+" "+string(fields[12]), &user, &system)
	return (user + system) * tick, err
}

// watch begins to look at the machine; what it returns says which share of it went to others since.
func (r *running) watch() (func() (float64, error), error) {
	pids := []int{os.Getpid()}
	for _, c := range r.clients {
		pids = append(pids, c.cmd.Process.Pid)
	}
	if r.server != nil {
		pids = append(pids, r.server.Process.Pid)
	}
	look := func() (all, others time.Duration, err error) {
		if all, others, err = machines.MachineTime(); err != nil {
			return 0, 0, err
		}
		for _, pid := range pids {
			t, err := processTime(pid)
			if err != nil {
				return 0, 0, err
			}
			others -= t
		}
		return all, others, nil
	}
	all0, others0, err := look()
	return func() (float64, error) {
		all, others, err := look()
		return max(0, float64(others-others0)) / max(1, float64(all-all0)), err
	}, err
}

type machine struct {
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"`
	Load   string `json:"load"` // average number of processes that want to run, when the run began
}

func thisMachine() machine {
	m := machine{CPU: runtime.GOARCH, CPUs: runtime.NumCPU()}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load, _, _ = strings.Cut(string(b), " ")
	}
	return m
}
