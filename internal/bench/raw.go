//go:build linux

package bench

import (
	"time"

	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// The limits: plain atomics, a plain copy, a plain futex, each over the same shared memory.

// Offsets in the raw span. Its first page belongs to the runner.
const (
	rawLineAt  = 4096
	rawFutexAt = 8192
	rawCopyAt  = 16384
	rawProbeAt = 256
	rawDoneAt  = 512
	rawSize    = 1 << 20
)

// bounce passes a word there and another one back, n times, each on a cache line of its own: what a
// message and its answer cost at least.
func bounce(s *mem.Span, at, side, n int) {
	there, back := s.U64(at), s.U64(at+128)
	if side == 0 {
		v := back.Load()
		for range n {
			v++
			there.StoreRelease(v)
			for back.Load() != v {
			}
		}
		return
	}
	v := back.Load()
	for range n {
		v++
		for there.Load() != v {
		}
		back.StoreRelease(v)
	}
}

func rawLine(e *Env) (Loop, error) {
	return Loop{Run: func(n int) error {
		bounce(e.Raw, rawLineAt, e.Side, n)
		return nil
	}}, nil
}

func rawFutex(e *Env) (Loop, error) {
	var w [2]*mem.U32
	w[0], w[1] = e.Raw.U32(rawFutexAt), e.Raw.U32(rawFutexAt+128)
	mine, theirs := w[e.Side], w[1-e.Side]
	waiter := futex.Get()
	wait := func(seen uint32) {
		for theirs.Load() == seen {
			waiter.Sleep(theirs.Ptr(), seen, time.Second, nil)
		}
	}
	return Loop{Run: func(n int) error {
		for range n {
			if e.Side == 0 {
				seen := theirs.Load()
				mine.Add(1)
				futex.Wake(mine.Ptr(), 1)
				wait(seen)
			} else {
				wait(mine.Load())
				mine.Add(1)
				futex.Wake(mine.Ptr(), 1)
			}
		}
		return nil
	}, Close: waiter.Put}, nil
}

// rawCopy hands buffers over through four slots: one side copies in, the other out.
func rawCopy(e *Env) (Loop, error) {
	const slots = 4
	in, out := e.Raw.U64(rawCopyAt), e.Raw.U64(rawCopyAt+128)
	buf := make([]byte, e.Bytes)
	touch(buf)
	at := func(i uint64) int { return rawCopyAt + 4096 + int(i%slots)*e.Bytes }
	var i uint64
	return Loop{Run: func(n int) error {
		for range n {
			if e.Side == 0 {
				for i-out.Load() == slots {
					mem.Pause(1)
				}
				e.Raw.CopyIn(at(i), buf)
				i++
				in.StoreRelease(i)
			} else {
				for in.Load() == i {
					mem.Pause(1)
				}
				e.Raw.CopyOut(buf, at(i))
				i++
				out.StoreRelease(i)
			}
		}
		return nil
	}}, nil
}

func touch(b []byte) {
	for i := range b {
		b[i] = byte(i * 131)
	}
}

// channel is in this process alone; the other side does nothing.
func channel(buffer int) func(e *Env) (Loop, error) {
	return func(e *Env) (Loop, error) {
		if e.Side == 1 {
			return Loop{Run: func(int) error { return nil }}, nil
		}
		return Loop{Run: func(n int) error { return throughChannel(n, buffer) }}, nil
	}
}

func throughChannel(n, buffer int) error {
	ch := make(chan [64]byte, buffer)
	done := make(chan struct{})
	go func() {
		for range ch {
		}
		close(done)
	}()
	var v [64]byte
	for range n {
		ch <- v
	}
	close(ch)
	<-done
	return nil
}
