//go:build linux

package bench

import (
	"io"
	"syscall"
)

// What people use otherwise: blocking system calls on a Unix socket or on pipes.

func readFull(fd int, b []byte) error {
	for n := 0; n < len(b); {
		k, err := syscall.Read(fd, b[n:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if k == 0 {
			return io.ErrUnexpectedEOF
		}
		n += k
	}
	return nil
}

func writeFull(fd int, b []byte) error {
	for n := 0; n < len(b); {
		k, err := syscall.Write(fd, b[n:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		n += k
	}
	return nil
}

func fdTrip(e *Env, in, out int) (Loop, error) {
	buf := make([]byte, e.Bytes)
	return Loop{Run: func(n int) error {
		for range n {
			first, second := writeFull, readFull
			a, b := out, in
			if e.Side == 1 {
				first, second, a, b = readFull, writeFull, in, out
			}
			if err := first(a, buf); err != nil {
				return err
			}
			if err := second(b, buf); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}

func socketTrip(e *Env) (Loop, error) { return fdTrip(e, e.Sock, e.Sock) }
func pipesTrip(e *Env) (Loop, error)  { return fdTrip(e, e.In, e.Out) }

// fdOneWay writes message by message and reads as much as is there, as a program with a buffered
// reader does.
func fdOneWay(e *Env, in, out int) (Loop, error) {
	buf := make([]byte, max(e.Bytes, 64<<10))
	return Loop{Run: func(n int) error {
		if e.Side == 0 {
			for range n {
				if err := writeFull(out, buf[:e.Bytes]); err != nil {
					return err
				}
			}
			return nil
		}
		for left := n * e.Bytes; left > 0; {
			k, err := syscall.Read(in, buf[:min(left, len(buf))])
			if err == syscall.EINTR {
				continue
			}
			if err != nil {
				return err
			}
			if k == 0 {
				return io.ErrUnexpectedEOF
			}
			left -= k
		}
		return nil
	}}, nil
}

func socketOneWay(e *Env) (Loop, error) { return fdOneWay(e, e.Sock, e.Sock) }
func pipesOneWay(e *Env) (Loop, error)  { return fdOneWay(e, e.In, e.Out) }
