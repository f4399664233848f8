package logfile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/logfile"
)

var bg = context.Background()

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, opt *logfile.Options) *logfile.Handler {
	t.Helper()
	h, err := logfile.New(opt)
	ok(t, err)
	t.Cleanup(func() { h.Close() })
	return h
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	ok(t, err)
	return string(b)
}

// parse undoes a line, as far as its message has no '='.
func parse(t testing.TB, line string) map[string]any {
	head := regexp.MustCompile(`^\[([a-z0-9+-]+)\](?:\[([^\]]*)\])?: (.*)$`)
	m := head.FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("%q is no record", line)
	}
	got := map[string]any{slog.LevelKey: m[1]}
	if m[2] != "" {
		got[slog.TimeKey] = m[2]
	}
	pair := regexp.MustCompile(` ([^ ="]+)=("(?:[^"\\]|\\.)*"|[^ ]*)`)
	for _, p := range pair.FindAllStringSubmatch(m[3], -1) {
		at, keys := got, strings.Split(p[1], ".")
		for _, g := range keys[:len(keys)-1] {
			if at[g] == nil {
				at[g] = map[string]any{}
			}
			at = at[g].(map[string]any)
		}
		value := p[2]
		if u, err := strconv.Unquote(value); err == nil {
			value = u
		}
		at[keys[len(keys)-1]] = value
	}
	msg, _, _ := strings.Cut(pair.ReplaceAllString(m[3], "\x00"), "\x00")
	got[slog.MessageKey] = msg
	return got
}

func TestSlog(t *testing.T) {
	var out bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		return open(t, &logfile.Options{Screen: &out})
	}, func(t *testing.T) map[string]any {
		return parse(t, strings.TrimSuffix(out.String(), "\n"))
	})
}

func TestLines(t *testing.T) {
	var out bytes.Buffer
	h := open(t, &logfile.Options{Screen: &out, Level: slog.LevelDebug, UTC: true})
	at := time.Date(2026, 3, 1, 12, 0, 0, 5e6, time.FixedZone("", 3600))
	var nilKey *key
	for _, tt := range []struct {
		level slog.Level
		msg   string
		attrs []any
		want  string
	}{
		{slog.LevelInfo, "hello", nil, "[info][2026-03-01 11:00:00.005]: hello"},
		{slog.LevelDebug - 4, "", nil, "[debug-4][2026-03-01 11:00:00.005]: "},
		{slog.LevelInfo + 2, "x", nil, "[info+2][2026-03-01 11:00:00.005]: x"},
		{slog.LevelWarn, "two\nlines\r\n\x1b[31mred\x00 \xff \u2028 \u009b \U000e0001 tab\t", nil,
			`[warning][2026-03-01 11:00:00.005]: two\nlines\r\n\x1b[31mred\x00 \xff \u2028 \u009b \U000e0001 tab\t`},
		{slog.LevelError, `C:\new "quoted" größe 日本`, nil, `[error][2026-03-01 11:00:00.005]: C:\new "quoted" größe 日本`},
		{logfile.LevelFatal, "f", []any{"n", 1, "s", "a b", "e", "", "q", `"`, "eq", "a=b", "nl", "a\nb", "d", time.Second, "t", at, "err", io.EOF, "odd key", true},
			`[fatal][2026-03-01 11:00:00.005]: f n=1 s="a b" e="" q="\"" eq="a=b" nl="a\nb" d=1s t=2026-03-01T12:00:00.005+01:00 err=EOF "odd key"=true`},
		{logfile.LevelFatal + 1, "f", []any{slog.Group("g", "a", 1, slog.Group("", "b", 2), slog.Group("empty")), "bytes", []byte("raw"), "key", key(7), "nil", nilKey, "bad", bad{}, "struct", struct{ A int }{1}},
			`[fatal+1][2026-03-01 11:00:00.005]: f g.a=1 g.b=2 bytes=raw key=key7 nil=<nil> bad="!PANIC: oh" struct={A:1}`},
	} {
		out.Reset()
		r := slog.NewRecord(at, tt.level, tt.msg, 0)
		r.Add(tt.attrs...)
		ok(t, h.Handle(bg, r))
		if got := out.String(); got != tt.want+"\n" {
			t.Errorf("got  %swant %s", got, tt.want)
		}
	}
	if s := h.Stats(); s.Records != 7 || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
}

type key int

func (k key) MarshalText() ([]byte, error) { return []byte("key" + strconv.Itoa(int(k))), nil }

type bad struct{}

func (bad) MarshalText() ([]byte, error) { panic("oh") }

func TestWith(t *testing.T) {
	var out bytes.Buffer
	l := slog.New(open(t, &logfile.Options{Screen: &out, Time: "x"}))
	a := l.With("a", 1)
	b, c := a.WithGroup("g").With("b", 2), a.With("c", 3)
	b.Info("b", "x", 9)
	c.Info("c")
	l.Debug("not shown")
	logfile.Fatal(bg, l, "end", "code", 1)
	if got, want := out.String(), "[info][x]: b a=1 g.b=2 g.x=9\n[info][x]: c a=1 c=3\n[fatal][x]: end code=1\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// Whatever is logged is one line of printable text.
func FuzzLine(f *testing.F) {
	f.Add("hello", "key", "value")
	f.Add("two\nlines\u0085", "k\nk", "\xff\u2029\"")
	f.Add("\x1b[2J", "a=b", " ")
	f.Fuzz(func(t *testing.T, msg, key, value string) {
		var out bytes.Buffer
		h, err := logfile.New(&logfile.Options{Screen: &out})
		ok(t, err)
		slog.New(h).WithGroup(key).Info(msg, key, value)
		if s := out.String(); strings.IndexFunc(s, func(r rune) bool { return r != '\n' && (r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0) }) >= 0 ||
			strings.Count(s, "\n") != 1 || !strings.HasSuffix(s, "\n") || strings.ContainsAny(s, "\u2028\u2029") {
			t.Errorf("%q", s)
		}
	})
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	one, each := filepath.Join(dir, "one.log"), filepath.Join(dir, "app.*.log")
	ok(t, os.WriteFile(one, []byte("kept\n"), 0o600))
	var screen bytes.Buffer
	h := open(t, &logfile.Options{Screen: &screen, File: one, Files: each, Time: "t", Level: slog.LevelDebug, Mode: 0o600})
	if s := h.String(); s != "log to the screen and "+one+" and "+each {
		t.Error(s)
	}
	l := slog.New(h)
	l.Debug("d")
	l.Info("i")
	l.Log(bg, slog.LevelInfo+1, "i1")
	l.Warn("w")
	logfile.Fatal(bg, l, "f")
	all := "[debug][t]: d\n[info][t]: i\n[info+1][t]: i1\n[warning][t]: w\n[fatal][t]: f\n"
	if got := read(t, one); got != "kept\n"+all || screen.String() != all {
		t.Errorf("one file: %q, screen: %q", got, screen.String())
	}
	for level, want := range map[string]string{"debug": "[debug][t]: d\n", "info": "[info][t]: i\n[info+1][t]: i1\n", "warning": "[warning][t]: w\n", "fatal": "[fatal][t]: f\n"} {
		path := strings.Replace(each, "*", level, 1)
		if got := read(t, path); got != want {
			t.Errorf("%s: %q", level, got)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Error(info.Mode(), err)
		}
	}
	if _, err := os.Stat(strings.Replace(each, "*", "error", 1)); !errors.Is(err, os.ErrNotExist) {
		t.Error("a file for a level without records:", err)
	}
	ok(t, h.Close())
	for _, err := range []error{h.Close(), h.Handle(bg, slog.Record{})} {
		if !errors.Is(err, shiplap.ErrClosed) {
			t.Error(err)
		}
	}
}

func TestBadOptions(t *testing.T) {
	for _, opt := range []logfile.Options{{Files: "app.log"}, {Mode: os.ModeSetuid}, {File: filepath.Join(t.TempDir(), "no", "dir")}, {File: t.TempDir()}} {
		if h, err := logfile.New(&opt); err == nil {
			t.Errorf("%+v: %v", opt, h)
		}
	}
}

// A renamed or removed file is made again; a truncated one goes on.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.log")
	var told []error
	h := open(t, &logfile.Options{File: path, Time: "t", OnError: func(err error) { told = append(told, err) }})
	l := slog.New(h)
	l.Info("1")
	ok(t, os.Rename(path, path+".1"))
	l.Info("2")
	ok(t, os.Remove(path))
	l.Info("3")
	l.Info("4")
	ok(t, os.Truncate(path, 0))
	l.Info("5")
	if a, b := read(t, path+".1"), read(t, path); a != "[info][t]: 1\n" || b != "[info][t]: 5\n" {
		t.Errorf("%q and %q", a, b)
	}
	// Its folder is gone: the record is kept in the file that is still open, and somebody hears of it.
	ok(t, os.Rename(dir, dir+"-moved"))
	defer os.RemoveAll(dir + "-moved")
	l.Info("6")
	if got := read(t, dir+"-moved/a.log"); got != "[info][t]: 5\n[info][t]: 6\n" {
		t.Errorf("%q", got)
	}
	if len(told) != 1 || !errors.Is(told[0], os.ErrNotExist) || h.Stats().Failed != 1 {
		t.Errorf("told %v", told)
	}
}

// The unfinished line of a killed process costs no other line.
func TestUnfinished(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	ok(t, os.WriteFile(path, []byte("[info][t]: first\n[info][t]: unfini"), 0o600))
	l := slog.New(open(t, &logfile.Options{File: path, Time: "t"}))
	l.Info("second")
	l.Info("third")
	if got, want := read(t, path), "[info][t]: first\n[info][t]: unfin\n[info][t]: second\n[info][t]: third\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full: ", err)
	}
	var told []error
	h := open(t, &logfile.Options{File: "/dev/full", OnError: func(err error) { told = append(told, err) }})
	r := slog.NewRecord(time.Now(), slog.LevelInfo, "x", 0)
	err := h.Handle(bg, r)
	if !errors.Is(err, shiplap.ErrNoSpace) || !strings.Contains(err.Error(), "/dev/full: 0 of ") {
		t.Error(err)
	}
	h.Handle(bg, r)
	if len(told) != 2 || h.Stats() != (logfile.Stats{Records: 2, Failed: 2}) {
		t.Errorf("told %v, %+v", told, h.Stats())
	}
}

type short struct{}

func (short) Write(p []byte) (int, error) { return 1, nil }

func TestShortScreen(t *testing.T) {
	h := open(t, &logfile.Options{Screen: short{}, OnError: func(error) {}})
	if err := h.Handle(bg, slog.NewRecord(time.Now(), 0, "x", 0)); !errors.Is(err, io.ErrShortWrite) {
		t.Error(err)
	}
}

// Handlers of one process share what they write to.
func TestGoroutines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	var screen bytes.Buffer
	h := open(t, &logfile.Options{File: path, Screen: &screen})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			l := slog.New(h).With("i", i)
			for j := range 200 {
				l.Info("m", "j", j)
			}
		})
	}
	all.Wait()
	for _, text := range []string{read(t, path), screen.String()} {
		seen := map[string]bool{}
		for line := range strings.Lines(text) {
			m := parse(t, strings.TrimSuffix(line, "\n"))
			seen[fmt.Sprint(m["i"], " ", m["j"])] = true
		}
		if len(seen) != 1600 {
			t.Errorf("%d records", len(seen))
		}
	}
}
