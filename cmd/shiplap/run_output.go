package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	procs "github.com/shiplap-ipc/shiplap/proc"
)

// printer writes the lines of many to standard output and error, each whole and with a name in front. Calling it waits only while much is
// unwritten: then the manager drops lines, and counts them.
type printer struct {
	color map[*os.File]bool
	width int

	mu        sync.Mutex
	room      *sync.Cond // changed
	stretches []stretch  // in order; neighbours go to different files
	size      int
	closed    bool
	gone      error // why standard output takes nothing more
	broken    chan struct{}
	done      chan struct{}
}

type stretch struct {
	to  *os.File
	buf bytes.Buffer
}

const maxUnwritten = 256 << 10

func newPrinter(names []string) *printer {
	p := &printer{color: map[*os.File]bool{}, broken: make(chan struct{}), done: make(chan struct{})}
	p.room = sync.NewCond(&p.mu)
	p.align(names)
	for _, f := range []*os.File{os.Stdout, os.Stderr} {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		p.color[f] = err == nil && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	go p.write()
	return p
}

const maxAlign = 20

// align makes names of these lengths stand in a column.
func (p *printer) align(names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range names {
		p.width = max(p.width, min(len(n), maxAlign))
	}
}

// output is a line of a process.
func (p *printer) output(l procs.Line) {
	to, text := os.Stdout, string(l.Text)
	if l.Stderr {
		to = os.Stderr
	}
	mark := "|"
	switch {
	case l.Dropped > 0:
		to, mark, text = os.Stderr, "*", fmt.Sprintf("%d lines dropped: they came faster than they could be written", l.Dropped)
	case l.Cut:
		text += " [cut]"
	}
	p.put(to, l.Process, mark, text, true)
}

// note is a line about a process. It is dropped rather than waited for: the manager's work must not stand still.
func (p *printer) note(name, text string) { p.put(os.Stderr, name, "*", text, false) }

func (p *printer) put(to *os.File, name, mark, text string, wait bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for wait && p.size > maxUnwritten && !p.closed {
		p.room.Wait()
	}
	if p.closed || p.size > 2*maxUnwritten {
		return
	}
	if n := len(p.stretches); n == 0 || p.stretches[n-1].to != to {
		p.stretches = append(p.stretches, stretch{to: to})
	}
	b := &p.stretches[len(p.stretches)-1].buf
	before := b.Len()
	on, off := "", ""
	if p.color[to] {
		on, off = fmt.Sprintf("\x1b[%dm", colorOf(name)), "\x1b[0m"
	}
	fmt.Fprintf(b, "%s%-*s %s%s %s\n", on, p.width, name, mark, off, text)
	p.size += b.Len() - before
	p.room.Broadcast()
}

// colorOf is one of six colours for each name.
func colorOf(name string) int {
	sum := 0
	for _, c := range []byte(name) {
		sum = sum*31 + int(c)
	}
	return 31 + (sum%6+6)%6
}

func (p *printer) write() {
	defer close(p.done)
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for len(p.stretches) == 0 && !p.closed {
			p.room.Wait()
		}
		if len(p.stretches) == 0 {
			return
		}
		all := p.stretches
		p.stretches = nil
		p.mu.Unlock()
		var gone error
		for i := range all {
			if _, err := all[i].to.Write(all[i].buf.Bytes()); err != nil && all[i].to == os.Stdout && errors.Is(err, syscall.EPIPE) {
				gone = err
			}
		}
		p.mu.Lock()
		p.size = 0
		for i := range p.stretches {
			p.size += p.stretches[i].buf.Len()
		}
		if gone != nil && p.gone == nil {
			p.gone = gone
			close(p.broken)
		}
		p.room.Broadcast()
	}
}

// close writes what is left; with a patience other than 0 for no longer than that.
func (p *printer) close(patience time.Duration) {
	p.mu.Lock()
	p.closed = true
	p.room.Broadcast()
	p.mu.Unlock()
	if patience == 0 {
		<-p.done
		return
	}
	select {
	case <-p.done:
	case <-time.After(patience):
	}
}

// Write is for log messages.
func (p *printer) Write(b []byte) (int, error) {
	p.note("shiplap", string(bytes.TrimSuffix(b, []byte("\n"))))
	return len(b), nil
}
