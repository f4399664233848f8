package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// meter shows bytes and rate on a terminal.
type meter struct {
	n     atomic.Int64
	w     io.Writer // nil: show nothing
	start time.Time // of the first byte
	once  sync.Once
	done  chan struct{}
	wg    sync.WaitGroup
}

const meterEvery = 200 * time.Millisecond

func startMeter(w io.Writer, quiet bool) *meter {
	m := &meter{start: time.Now(), done: make(chan struct{})}
	if f, ok := w.(*os.File); ok && !quiet && term.IsTerminal(int(f.Fd())) {
		m.w = w
		m.wg.Go(m.show)
	}
	return m
}

func (m *meter) add(n int) {
	m.once.Do(func() { m.start = time.Now() })
	m.n.Add(int64(n))
}

func (m *meter) show() {
	t := time.NewTicker(meterEvery)
	defer t.Stop()
	waiting := "waiting for the other end"
	fmt.Fprintf(m.w, "\r%s\x1b[K", waiting)
	last, lastAt := int64(0), time.Now()
	for {
		select {
		case <-m.done:
			return
		case now := <-t.C:
			n := m.n.Load()
			if n > 0 {
				fmt.Fprintf(m.w, "\r%s  %s\x1b[K", formatSize(n), rate(n-last, now.Sub(lastAt)))
			}
			last, lastAt = n, now
		}
	}
}

func (m *meter) stop(ok bool) {
	close(m.done)
	m.wg.Wait()
	if m.w == nil {
		return
	}
	end := ""
	if !ok {
		end = "  not complete"
	}
	n := m.n.Load()
	d := time.Duration(0)
	m.once.Do(func() { m.start = time.Now() })
	d = time.Since(m.start)
	fmt.Fprintf(m.w, "\r%s in %v, %s%s\x1b[K\n", formatSize(n), d.Round(time.Millisecond), rate(n, d), end)
}
