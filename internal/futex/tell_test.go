//go:build linux && (amd64 || arm64)

package futex

import (
	"encoding/binary"
	"os"
	signals "os/signal"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A write into a pipe that nobody reads is an error, and no signal where the kernel can do without; elsewhere the
// message arrives all the same.
func TestTell(t *testing.T) {
	defer loud.Store(loud.Load())
	for _, mode := range []bool{false, true} {
		loud.Store(mode)
		var p [2]int
		if err := syscall.Pipe2(p[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(p[1])
		const message = 0x0102030405060708
		if errno := Tell(p[1], message); errno != 0 {
			t.Fatal(errno)
		}
		var b [16]byte
		if n, err := syscall.Read(p[0], b[:]); n != 8 || err != nil || binary.LittleEndian.Uint64(b[:]) != message {
			t.Errorf("%d bytes (%v) arrived: %x", n, err, b)
		}
		for n := 0; ; n++ {
			if errno := Tell(p[1], message); errno == syscall.EAGAIN && n > 0 {
				break
			} else if errno != 0 {
				t.Fatal(n, errno)
			}
		}
		syscall.Close(p[0])
		// SIGPIPE has a lower number than SIGCONT, so of both that one would come first.
		c := make(chan os.Signal, 2)
		signals.Notify(c, syscall.SIGPIPE, syscall.SIGCONT)
		if errno := Tell(p[1], message); errno != syscall.EPIPE {
			t.Errorf("nobody reads: %v", errno)
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		quiet := !mode && knowsNoSignal(t)
		if s := <-c; (s == syscall.SIGCONT) != quiet {
			t.Errorf("the first signal is %v; without a signal for the write: %v", s, quiet)
		}
		signals.Stop(c)
	}
}

// startSignals starts the goroutine of package os/signal, which stays.
func startSignals() {
	c := make(chan os.Signal, 1)
	signals.Notify(c, syscall.SIGPIPE)
	signals.Stop(c)
}

func knowsNoSignal(t *testing.T) bool {
	t.Helper()
	var p [2]int
	if err := syscall.Pipe2(p[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(p[0])
	defer syscall.Close(p[1])
	_, err := unix.Pwritev2(p[1], [][]byte{{0}}, -1, noSignal)
	return err == nil
}
