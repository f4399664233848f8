//go:build linux && (amd64 || arm64)

package killtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Two more ends of a victim, beside SIGKILL alone. It may call exec in the middle of the operation, from another thread. Or
// it is killed while a child of it stands between fork and exec, which has copies of all its descriptors: the child's
// program is a file on which we hold a lease.

// patient is for how long an ending is waited for. What stands still may keep the runtime from it.
const patient = 300 * time.Millisecond

// end ends the victim at the step where it stands, and checks what a kill trial checks.
func (d *disturbed) endVictim() error {
	t, v := d.t, d.v
	t.Mode, t.Done = Kill, v.done
	if v.asleep {
		d.lost = true
		return nil
	}
	v.thaw()
	var let func() error
	var err error
	if d.m.kind == execs {
		err = d.exec()
	} else {
		let, err = d.fork()
	}
	if err != nil || d.lost {
		return err
	}
	if d.m.kind == orphans {
		v.kill()
		err = d.w.call("Await", t, func() error { return d.w.s.Interrupt.Await(t, d.state) })
		if err != nil {
			return errors.Join(fmt.Errorf("the scene's Await: %w", err), let())
		}
		if err = let(); err != nil {
			return err
		}
	}
	if err := d.w.call("Check", t, func() error { return d.w.s.Check(t, d.state) }); err != nil {
		return fmt.Errorf("the scene's Check: %w", err)
	}
	return nil
}

// exec lets the victim become another program. That has closed the descriptors when it says so.
func (d *disturbed) exec() error {
	_, err := d.h.ask(orderExec, patient)
	if errors.Is(err, errNoAnswer) {
		d.lost = true
		return nil
	}
	return err
}

// fork lets the victim start a program that does not start. let lets it.
func (d *disturbed) fork() (let func() error, err error) {
	path := d.w.dir + ".program"
	if _, err := os.Stat(path); err != nil {
		b, err := os.ReadFile("/bin/true")
		if err != nil {
			d.lost = true
			return nil, nil
		}
		if err := os.WriteFile(path, b, 0o700); err != nil {
			return nil, err
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		d.lost = true // there are none here
		return nil, f.Close()
	}
	if err := d.h.order(orderFork + " " + path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	for end := time.Now().Add(patient); ; {
		for _, child := range children(d.v.pid) {
			if executing(child) {
				return func() error { return errors.Join(f.Close(), gone(child)) }, nil
			}
		}
		if time.Now().After(end) {
			d.lost = true
			return nil, f.Close()
		}
		unix.Nanosleep(&unix.Timespec{Nsec: 50_000}, nil) //nolint:errcheck // sooner is fine
	}
}

// gone waits until a process has executed its program, which ends at once. Whoever may have to reap it takes its time.
func gone(pid int) error {
	for end := time.Now().Add(soon); ; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, state, _ := strings.Cut(string(stat), ") ")
		if err != nil || strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X") {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("process %d, a child of the victim, does not end", pid)
		}
		unix.Nanosleep(&unix.Timespec{Nsec: 50_000}, nil) //nolint:errcheck // sooner is fine
	}
}

// children lists the processes that a process has started.
func children(pid int) (pids []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		for _, field := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(field); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// executing reports that a process is inside of execve.
func executing(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
	n, _, _ := strings.Cut(string(b), " ")
	return n == strconv.Itoa(unix.SYS_EXECVE)
}
