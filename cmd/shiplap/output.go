package main

import (
	"io"
	"os"
	"sync/atomic"
	"time"
)

// output is standard output that knows whether it is blocked: a full pipe that nobody reads, a
// stopped terminal. That alone keeps a command from ending by itself after a signal.
type output struct {
	calls atomic.Int64 // odd while a write is under way
}

func (o *output) Write(p []byte) (int, error) {
	o.calls.Add(1)
	defer o.calls.Add(1)
	return os.Stdout.Write(p)
}

var _ io.Writer = (*output)(nil)

const (
	grace    = 300 * time.Millisecond // for one write, after a signal
	mostTime = 10 * time.Second       // for everything, on a machine that is overloaded
)

// stuck returns when the command will not end by itself, or the user asks again.
func (o *output) stuck(again <-chan os.Signal) {
	for end := time.Now().Add(mostTime); time.Now().Before(end); {
		n := o.calls.Load()
		select {
		case <-again:
			return
		case <-time.After(grace):
		}
		if n%2 == 1 && o.calls.Load() == n {
			return
		}
	}
}
