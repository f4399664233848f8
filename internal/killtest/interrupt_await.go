//go:build linux && (amd64 || arm64)

package killtest

import (
	"os"

	"golang.org/x/sys/unix"
)

// copies is a pipe for what awaitOrder need not have.
var copies struct{ r, w *os.File }

func prepareAwaiting() (err error) {
	copies.r, copies.w, err = os.Pipe()
	return err
}

// awaitOrder waits for the first order in a system call of which Go's scheduler does not know. So the processor of this
// goroutine is taken all the while, and what the main thread does depends on no idle one: it starts no thread that would
// run beside it, and goes the same way each time. (Of the calls that wait for a pipe, tee is the one without a pointer.)
func awaitOrder() {
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_TEE, fdOrders, copies.w.Fd(), 1, 0, 0, 0)
		if errno != unix.EINTR {
			return
		}
	}
}
