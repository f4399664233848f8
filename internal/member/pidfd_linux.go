package member

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// pidState is what is known of a pidfd.
type pidState int

const (
	pidUnknown pidState = iota // there is none
	pidGone                    // there is no process of that number
	pidOpen                    // of a process that has the number; perhaps another one
	pidProved                  // of the very process that started at the time given
)

// pidfd is an open pidfd, or none.
type pidfd struct{ file *os.File }

// Close may be called on none.
func (p pidfd) Close() {
	if p.file != nil {
		p.file.Close()
	}
}

// openPidfd opens the process with that number in our own pid namespace. If it started at the time that it told when
// it joined, both before and after it was opened, it is that process: its number belonged to it all the while.
func openPidfd(pid int, start uint64) (pidfd, pidState) {
	before, known := startOf(pid)
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err == unix.ESRCH {
		return pidfd{}, pidGone
	}
	if err != nil {
		return pidfd{}, pidUnknown
	}
	f := pidfd{os.NewFile(uintptr(fd), "pidfd")} // non-blocking, hence waited for by the runtime's poller
	after, still := startOf(pid)
	if known && still && start != 0 && before == start && after == start {
		return f, pidProved
	}
	return f, pidOpen
}

// startOf is when a process started, in clock ticks since the machine did; ok is false where /proc does not tell.
func startOf(pid int) (ticks uint64, ok bool) {
	if !procIsOurs() {
		return 0, false
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	ticks = statStart(b)
	return ticks, ticks != 0
}

// statStart is field 22 of /proc/PID/stat; the command in field 2 may hold anything but ends with the last
// parenthesis.
func statStart(stat []byte) uint64 {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0
	}
	n, _ := strconv.ParseUint(string(fields[19]), 10, 64)
	return n
}

// procIsOurs reports that /proc shows the numbers of our own pid namespace, not those of one around it.
var procIsOurs = sync.OnceValue(func() bool {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("NSpid:")); ok {
			ids := bytes.Fields(rest)
			return len(ids) == 1 && string(ids[0]) == strconv.Itoa(os.Getpid())
		}
	}
	return false
})

// onExit calls f, from another goroutine, when the process has ended; cancel closes the pidfd.
func onExit(p pidfd, f func()) (cancel func()) {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return p.Close
	}
	go func() {
		err := conn.Read(func(fd uintptr) bool {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(p, 0)
			return err == nil && n > 0
		})
		if err == nil {
			f()
		}
	}()
	return p.Close
}
