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
	text  string    // shown at first
	ahead int64     // bytes that tell nothing of the rate
	base  int64     // bytes moved at start
	start time.Time // once there were more than that
	done  chan struct{}
	wg    sync.WaitGroup
}

const meterEvery = 200 * time.Millisecond

// startMeter shows text until something moves.
func startMeter(w io.Writer, quiet bool, ahead int64, text string) *meter {
	m := &meter{ahead: ahead, text: text, done: make(chan struct{})}
	if f, ok := w.(*os.File); ok && !quiet && term.IsTerminal(int(f.Fd())) {
		m.w = w
		m.wg.Go(m.show)
	}
	return m
}

func (m *meter) add(n int) {
	total := m.n.Add(int64(n))
	if m.start.IsZero() && total > m.ahead {
		m.start, m.base = time.Now(), total
	}
}

func (m *meter) show() {
	t := time.NewTicker(meterEvery)
	defer t.Stop()
	fmt.Fprintf(m.w, "\r%s\x1b[K", m.text)
	last, lastAt := int64(0), time.Now()
	for {
		select {
		case <-m.done:
			return
		case now := <-t.C:
			n := m.n.Load()
			if n > m.ahead {
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
	n, speed := m.n.Load(), ""
	if d := time.Since(m.start); n > m.base && !m.start.IsZero() {
		speed = fmt.Sprintf(" in %v, %s", d.Round(time.Millisecond), rate(n-m.base, d))
	}
	fmt.Fprintf(m.w, "\r%s%s%s\x1b[K\n", formatSize(n), speed, end)
}
