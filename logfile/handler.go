package logfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// LevelFatal is above slog.LevelError: the program cannot go on. Logging it does not end the program;
// that is for main to do.
const LevelFatal = slog.Level(12)

// LevelName is the level as records show it: debug, info, warning, error or fatal, and for levels between
// them how far they are above, as info+2.
func LevelName(l slog.Level) string {
	base, name := class(l)
	if l == base {
		return name
	}
	return fmt.Sprintf("%s%+d", name, l-base)
}

// class is the nearest level with a name that is not above l, or debug.
func class(l slog.Level) (slog.Level, string) {
	switch {
	case l >= LevelFatal:
		return LevelFatal, "fatal"
	case l >= slog.LevelError:
		return slog.LevelError, "error"
	case l >= slog.LevelWarn:
		return slog.LevelWarn, "warning"
	case l >= slog.LevelInfo:
		return slog.LevelInfo, "info"
	}
	return slog.LevelDebug, "debug"
}

// Fatal logs at LevelFatal. It returns: the program should clean up and end.
func Fatal(ctx context.Context, l *slog.Logger, msg string, args ...any) {
	l.Log(ctx, LevelFatal, msg, args...)
}

// DefaultTime is the layout of times, in local time.
const DefaultTime = "2006-01-02 15:04:05.000"

// Options say where records go and which. Records go to every target that is set.
type Options struct {
	// Screen gets all records, each in one Write, one after the other. It is os.Stderr if no target is set.
	Screen io.Writer
	// File is the path of a file for all records.
	File string
	// Files is the pattern of one file a level: the last * stands for debug, info, warning, error or fatal.
	// A file comes into being with the first record of its level.
	Files string
	// Mode has the permission bits of new files; 0 is 0644. The umask applies.
	Mode fs.FileMode
	// Level is the lowest level that is logged; nil is slog.LevelInfo.
	Level slog.Leveler
	// Time is the layout of times, as package time has it; empty is DefaultTime.
	Time string
	// UTC writes times in UTC.
	UTC bool
	// OnError is told what could not be written. It must not log here. Nil: the first of a row of errors is
	// written to os.Stderr.
	OnError func(error)
}

// Handler is a slog.Handler. All methods may be called concurrently. Handlers made by WithAttrs and WithGroup share its
// files: closing one closes all.
type Handler struct {
	*core
	attrs []byte // written already
	group string // prefix of keys: "a.b."
}

type core struct {
	opt    Options
	level  slog.Leveler
	file   *file
	levels map[string]*file

	screen sync.Mutex
	closed atomic.Bool

	records, failed atomic.Uint64
	failing         atomic.Bool
}

// New makes a handler; nil logs to os.Stderr from level info on. The file is opened or made at once, those of Files
// when they are needed.
func New(opt *Options) (*Handler, error) {
	c := &core{level: slog.LevelInfo}
	if opt != nil {
		c.opt = *opt
	}
	if c.opt.Level != nil {
		c.level = c.opt.Level
	}
	if c.opt.Time == "" {
		c.opt.Time = DefaultTime
	}
	if c.opt.Mode&^fs.ModePerm != 0 {
		return nil, fmt.Errorf("log files with mode %v: more than permission bits", c.opt.Mode)
	}
	if c.opt.Mode == 0 {
		c.opt.Mode = 0o644
	}
	if c.opt.Screen == nil && c.opt.File == "" && c.opt.Files == "" {
		c.opt.Screen = os.Stderr
	}
	if p := c.opt.Files; p != "" {
		i := strings.LastIndexByte(p, '*')
		if i < 0 {
			return nil, fmt.Errorf("one log file a level: %q has no * where the level belongs, as in \"app.*.log\"", p)
		}
		c.levels = make(map[string]*file)
		for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, LevelFatal} {
			_, name := class(l)
			c.levels[name] = &file{path: p[:i] + name + p[i+1:], mode: c.opt.Mode}
		}
	}
	if c.opt.File != "" {
		c.file = &file{path: c.opt.File, mode: c.opt.Mode}
		if err := c.file.open(); err != nil {
			return nil, fmt.Errorf("log file: %w", err)
		}
	}
	return &Handler{core: c}, nil
}

// String names the targets.
func (h *Handler) String() string {
	var to []string
	if h.opt.Screen != nil {
		to = append(to, "the screen")
	}
	for _, p := range []string{h.opt.File, h.opt.Files} {
		if p != "" {
			to = append(to, p)
		}
	}
	return "log to " + strings.Join(to, " and ")
}

// Enabled reports whether records of a level are logged.
func (h *Handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// WithAttrs is a handler that adds attributes to each record.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	to := &Handler{h.core, slices.Clip(h.attrs), h.group}
	for _, a := range attrs {
		to.attrs = appendAttr(to.attrs, h.group, a)
	}
	return to
}

// WithGroup is a handler that puts "name." before the keys that follow.
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &Handler{h.core, h.attrs, h.group + name + "."}
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Handle writes a record. With an error at least one target does not have it as a whole line.
func (h *Handler) Handle(_ context.Context, r slog.Record) error {
	if h.closed.Load() {
		return fmt.Errorf("log: %w", errs.ErrClosed)
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	*buf = h.line((*buf)[:0], r)
	err := h.write(r.Level, *buf)
	if cap(*buf) > 1<<16 {
		*buf = nil // one long record is no reason to keep so much
	}
	h.records.Add(1)
	if err == nil {
		h.failing.Store(false)
		return nil
	}
	h.failed.Add(1)
	switch again := h.failing.Swap(true); {
	case h.opt.OnError != nil:
		h.opt.OnError(err)
	case !again:
		fmt.Fprintln(os.Stderr, err)
	}
	return err
}

func (h *Handler) line(b []byte, r slog.Record) []byte {
	b = append(append(append(b, '['), LevelName(r.Level)...), ']')
	if !r.Time.IsZero() {
		t := r.Time.Local()
		if h.opt.UTC {
			t = t.UTC()
		}
		b = append(t.AppendFormat(append(b, '['), h.opt.Time), ']')
	}
	b = appendLine(append(b, ": "...), r.Message)
	b = append(b, h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		b = appendAttr(b, h.group, a)
		return true
	})
	return append(b, '\n')
}

func (c *core) write(l slog.Level, line []byte) error {
	var failed []error
	if c.opt.Screen != nil {
		c.screen.Lock()
		n, err := c.opt.Screen.Write(line)
		c.screen.Unlock()
		if err == nil && n < len(line) {
			err = io.ErrShortWrite
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("log to the screen: %w", err))
		}
	}
	if c.file != nil {
		failed = append(failed, c.file.write(line))
	}
	if c.levels != nil {
		_, name := class(l)
		failed = append(failed, c.levels[name].write(line))
	}
	return errors.Join(failed...)
}

// Stats are the counts since the handler was made.
type Stats struct {
	Records uint64 // given to Handle
	Failed  uint64 // of these, not written to every target
}

// Stats is what was written so far.
func (h *Handler) Stats() Stats { return Stats{h.records.Load(), h.failed.Load()} }

// Close closes the files. Records that come later are ErrClosed. Closing again is ErrClosed.
func (h *Handler) Close() error {
	if h.closed.Swap(true) {
		return fmt.Errorf("close log: %w", errs.ErrClosed)
	}
	var failed []error
	if h.file != nil {
		failed = append(failed, h.file.close())
	}
	for _, f := range h.levels {
		failed = append(failed, f.close())
	}
	return errors.Join(failed...)
}

var _ slog.Handler = (*Handler)(nil)
