package wait

import "sync/atomic"

// A goroutine that is woken soon sleeps best in the kernel: on a bell the wake-up takes another way, through Go's poller,
// which costs several times as much where there is one sleeper. But a goroutine in a system call keeps its processor of
// the Go scheduler until that is taken away, and others of the process wait meanwhile. So few have a seat at the futex at a
// time: those that came first, and only while their sleeps are short. All others sleep on their bells.
//
// Measured on two processors that were busy otherwise: a round trip of two sleepers on one processor 7 µs on the futex,
// 147 µs on the bell, beside 7 µs of a Unix socket, from goroutines that are locked to their threads. Of four pairs
// between two processes 13 µs with one seat, 8 with four or sixteen; of 64 pairs 9, 10 and 13.
var seats atomic.Int32

// takeSeat takes a seat for the call, or says that it has one.
func (c *Call) takeSeat() bool {
	if c.seat {
		return true
	}
	if c.drowsy || c.s.ManyAwake.Load() || seats.Load() >= mostSeats {
		return false
	}
	if seats.Add(1) > mostSeats {
		seats.Add(-1)
		return false
	}
	c.seat = true
	return true
}

func (c *Call) leaveSeat() {
	if c.seat {
		c.seat = false
		seats.Add(-1)
	}
}
