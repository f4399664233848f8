package member

import (
	"os"

	"golang.org/x/sys/unix"
)

// onExit calls f, from another goroutine, when the process with that pid has ended. The caller makes
// sure that the pid is the one it means by asking Dead after this returned.
func onExit(pid int, f func()) (cancel func(), ok bool) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, false
	}
	file := os.NewFile(uintptr(fd), "pidfd") // non-blocking, hence waited for by the runtime's poller
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, false
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
	return func() { file.Close() }, true
}
