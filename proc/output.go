package proc

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// PassThrough as an Output gives the process the manager's own standard output and error: nothing is collected.
var PassThrough io.Writer = passThrough{}

type passThrough struct{}

func (passThrough) Write(b []byte) (int, error) { return os.Stdout.Write(b) }

const (
	// MaxLine is how much of a line of output is kept, in bytes.
	MaxLine = 16 << 10
	// what may wait for a slow writer, for each process
	maxWaiting      = 256 << 10
	maxWaitingLines = 4096
	// writerPatience is how long a writer may take for so much before lines are dropped.
	writerPatience = 50 * time.Millisecond
	// drainPatience is how long output is read after the process and its group ended: somebody who left the group may have it open.
	drainPatience = 200 * time.Millisecond
)

// Line is a line of output.
type Line struct {
	Process string
	Stderr  bool
	Text    []byte // without its end
	Cut     bool   // it was longer than MaxLine
	Dropped int    // not a line, but that so many were lost here: they came faster than they were taken
}

// String is the line with the name in front.
func (l Line) String() string {
	switch {
	case l.Dropped > 0:
		return fmt.Sprintf("%s | [%d lines dropped]", l.Process, l.Dropped)
	case l.Cut:
		return fmt.Sprintf("%s | %s [cut]", l.Process, l.Text)
	}
	return fmt.Sprintf("%s | %s", l.Process, l.Text)
}

// Lines makes an Output of a function. It is called for one line at a time; what it gets is its own.
func Lines(f func(Line)) io.Writer { return lineFunc(f) }

type lineFunc func(Line)

func (f lineFunc) Write(b []byte) (int, error) {
	f(Line{Text: bytes.TrimSuffix(bytes.Clone(b), []byte("\n"))})
	return len(b), nil
}

// Slog is an Output that logs: standard output at level Info, standard error at Warn.
func Slog(log *slog.Logger) io.Writer {
	return Lines(func(l Line) {
		level := slog.LevelInfo
		if l.Stderr {
			level = slog.LevelWarn
		}
		if l.Dropped > 0 {
			log.Warn("lines dropped", "process", l.Process, "lines", l.Dropped)
			return
		}
		log.Log(context.Background(), level, string(l.Text), "process", l.Process)
	})
}

// collector takes the output of one life of a process. A flood waits a moment for a writer that keeps up more or less, so that nothing of it is
// lost; it does not wait for one that is slow or stands still: then what cannot be kept is dropped and counted, and the process goes on.
type collector struct {
	name  string
	to    io.Writer
	turn  *sync.Mutex // of all who write to the same place
	count func(lines, dropped int)

	mu      sync.Mutex
	waiting []Line
	bytes   int
	dropped int
	room    chan struct{} // closed when the writer takes what waits
	stalled bool          // it did not for too long
	readers int
	wake    chan struct{}
	done    chan struct{} // everything is written
}

func newCollector(name string, to io.Writer, turn *sync.Mutex, count func(lines, dropped int)) *collector {
	return &collector{name: name, to: to, turn: turn, count: count, room: make(chan struct{}), wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// run collects from files, which it closes.
func (c *collector) run(stdout, stderr *os.File) {
	c.readers = 2
	go c.read(stdout, false)
	go c.read(stderr, true)
	go c.write()
}

func (c *collector) read(f *os.File, stderr bool) {
	defer f.Close()
	buf := make([]byte, 32<<10)
	line := Line{Process: c.name, Stderr: stderr}
	var text []byte
	keep := func(b []byte) {
		if room := MaxLine - len(text); len(b) > room {
			b, line.Cut = b[:room], true
		}
		text = append(text, b...)
	}
	end := func() {
		line.Text = text
		c.add(line)
		text, line.Cut = text[:0], false
	}
	for {
		n, err := f.Read(buf)
		for b := buf[:n]; len(b) > 0; {
			i := bytes.IndexByte(b, '\n')
			if i < 0 {
				keep(b)
				break
			}
			keep(b[:i])
			end()
			b = b[i+1:]
		}
		if err != nil { // the end, or the deadline
			break
		}
	}
	if len(text) > 0 || line.Cut {
		end()
	}
	c.mu.Lock()
	c.readers--
	c.mu.Unlock()
	c.awake()
}

func (c *collector) add(l Line) {
	c.mu.Lock()
	full := func() bool { return c.bytes+len(l.Text) > maxWaiting || len(c.waiting) >= maxWaitingLines }
	for full() && !c.stalled {
		c.awaitRoom()
	}
	drop := full()
	if drop {
		c.dropped++
	} else {
		l.Text = bytes.Clone(l.Text)
		if c.dropped > 0 { // room again: say it where it happened
			c.waiting = append(c.waiting, Line{Process: c.name, Dropped: c.dropped})
			c.dropped = 0
		}
		c.waiting = append(c.waiting, l)
		c.bytes += len(l.Text)
	}
	c.mu.Unlock()
	if drop {
		c.count(1, 1)
		return
	}
	c.count(1, 0)
	c.awake()
}

// awaitRoom is called under the lock, which it gives up meanwhile.
func (c *collector) awaitRoom() {
	room := c.room
	c.mu.Unlock()
	t := time.NewTimer(writerPatience)
	select {
	case <-room:
	case <-t.C:
	}
	t.Stop()
	c.mu.Lock()
	c.stalled = c.room == room
}

func (c *collector) awake() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *collector) write() {
	defer close(c.done)
	var buf bytes.Buffer
	for {
		<-c.wake
		c.mu.Lock()
		lines, over := c.waiting, c.readers == 0
		c.waiting, c.bytes = nil, 0
		c.stalled = false
		close(c.room)
		c.room = make(chan struct{})
		if over && c.dropped > 0 {
			lines = append(lines, Line{Process: c.name, Dropped: c.dropped})
			c.dropped = 0
		}
		c.mu.Unlock()
		c.put(lines, &buf)
		if over {
			return
		}
	}
}

func (c *collector) put(lines []Line, buf *bytes.Buffer) {
	if len(lines) == 0 {
		return
	}
	c.turn.Lock()
	defer c.turn.Unlock()
	if f, ok := c.to.(lineFunc); ok {
		for _, l := range lines {
			f(l)
		}
		return
	}
	buf.Reset()
	for _, l := range lines {
		buf.WriteString(l.String())
		buf.WriteByte('\n')
	}
	_, _ = c.to.Write(buf.Bytes()) // who cannot take it has lost it: the process goes on
}
