//go:build linux && (amd64 || arm64)

package killtest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/hangtest"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
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
	letGo, err := hangtest.Lease("/bin/true", path)
	if errors.Is(err, errors.ErrUnsupported) {
		d.lost = true
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := d.h.order(orderFork + " " + path); err != nil {
		return nil, errors.Join(err, letGo())
	}
	for end := time.Now().Add(patient); ; {
		for _, child := range leaktest.ChildrenOf(strconv.Itoa(d.v.pid)) {
			if hangtest.Executing(child) {
				return func() error { return errors.Join(letGo(), gone(child)) }, nil
			}
		}
		if time.Now().After(end) {
			d.lost = true
			return nil, letGo()
		}
		unix.Nanosleep(&unix.Timespec{Nsec: 50_000}, nil) //nolint:errcheck // sooner is fine
	}
}

// gone waits until a process has executed its program, which ends at once. Its new parent may take its time to reap it.
func gone(pid string) error {
	for end := time.Now().Add(soon); ; {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		_, state, _ := strings.Cut(string(stat), ") ")
		if err != nil || strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X") {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("process %s, a child of the victim, does not end", pid)
		}
		unix.Nanosleep(&unix.Timespec{Nsec: 50_000}, nil) //nolint:errcheck // sooner is fine
	}
}
