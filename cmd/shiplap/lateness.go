package main

import (
	"sync/atomic"
	"time"
)

// lateness watches how late this machine wakes a process that only wants to sleep: what is beyond
// anybody's promises while it is overloaded.
type lateness struct {
	most atomic.Int64
	stop chan struct{}
}

func watchLateness() *lateness {
	l := &lateness{stop: make(chan struct{})}
	go func() {
		const nap = time.Millisecond
		t := time.NewTimer(nap)
		defer t.Stop()
		for at := time.Now(); ; at = time.Now() {
			select {
			case <-l.stop:
				return
			case <-t.C:
				l.most.Store(max(l.most.Load(), int64(time.Since(at)-nap)))
				t.Reset(nap)
			}
		}
	}()
	return l
}

func (l *lateness) end() time.Duration {
	close(l.stop)
	return time.Duration(l.most.Load())
}
