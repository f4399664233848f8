package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"jobs": "jobs", "a b": "a b", "größe": "größe", "100%": "100%25", ".hidden": "%2Ehidden", "#tmp.x": "%23tmp.x",
		"a.b#c": "a.b#c", "...": "%2E..", "%2F": "%252F", strings.Repeat("x", MaxName): strings.Repeat("x", MaxName),
		"": "", ".": "", "..": "", "a/b": "", "a\x00": "", "a\n": "", "\x7f": "", "\xff": "",
		strings.Repeat("x", MaxName+1): "", strings.Repeat("%", MaxName): "",
	} {
		got, err := FileName(name)
		if want == "" {
			if !errors.Is(err, errs.ErrName) {
				t.Errorf("%q: %q, %v", name, got, err)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%q: %q, %v", name, got, err)
		}
		if back, ok := ObjectName(got); !ok || back != name {
			t.Errorf("%q comes back as %q, %v", name, back, ok)
		}
	}
	for _, file := range []string{"", "#members", ".x", "%", "a%2", "%zz", "%41", "a%2f", "%25%", "a/b", "%+1", "% 1"} {
		if name, ok := ObjectName(file); ok {
			t.Errorf("file %q holds an object %q", file, name)
		}
	}
}

func FuzzFileName(f *testing.F) {
	for _, s := range []string{"jobs", "100%", ".x", "#tmp.1", "ü", "%2E", "a/b", "\x00", "%+1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if file, err := FileName(s); err == nil {
			if strings.ContainsAny(file, "/\x00") || file[0] == '#' || file[0] == '.' || len(file) > maxFile {
				t.Errorf("%q: file %q", s, file)
			}
			if back, ok := ObjectName(file); !ok || back != s {
				t.Errorf("%q comes back as %q, %v", s, back, ok)
			}
		}
		if name, ok := ObjectName(s); ok {
			if file, err := FileName(name); err != nil || file != s {
				t.Errorf("file %q holds %q, whose file is %q, %v", s, name, file, err)
			}
		}
	})
}

func domain(t *testing.T) *Dir {
	t.Helper()
	d, err := OpenDir(t.TempDir(), "domain", true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func made(t *testing.T, d *Dir, tag string, size int64) *File {
	t.Helper()
	f, err := d.Create(tag, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestBirth(t *testing.T) {
	old := unix.Umask(0o777) // plays no part
	d := domain(t)
	f := made(t, d, "1", 8192)
	unix.Umask(old)
	st, err := os.Stat(f.Path())
	if err != nil || st.Mode() != 0o600 || st.Size() != 8192 || f.Size != 8192 {
		t.Fatalf("%v, %v", st, err)
	}
	if blocks := st.Sys().(*syscall.Stat_t).Blocks; blocks*512 < 8192 {
		t.Errorf("only %d bytes are reserved", blocks*512)
	}
	if _, err := d.Create("1", 1); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a temporary of that name exists: %v", err)
	}
	if err := f.Publish("a"); err != nil {
		t.Fatal(err)
	}
	g := made(t, d, "2", 4096)
	if err := g.Publish("a"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("published over another: %v", err)
	}
	g.Discard()
	o, err := d.Open("a")
	if err != nil || o.Ino != f.Ino || d.Leads("a", o) != There || d.Leads("b", o) != Gone {
		t.Fatalf("%+v, %v", o, err)
	}
	defer o.Close()
	if err := os.Truncate(o.Path(), 100); err != nil {
		t.Fatal(err)
	}
	if now, yes := o.Truncated(); !yes || now != 100 {
		t.Errorf("%d, %v", now, yes)
	}
	if files, err := d.Files(); err != nil || len(files) != 1 || files[0] != "a" {
		t.Errorf("%v, %v", files, err)
	}
	if err := errors.Join(d.Unlink("a"), d.Unlink("a")); err != nil {
		t.Error(err)
	}
	if _, err := d.Open("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// What must not be opened, and says why.
func TestOpenRefuses(t *testing.T) {
	d := domain(t)
	path := func(n string) string { return filepath.Join(d.Path(), n) }
	for name, make := range map[string]func() error{
		"symlink":   func() error { return os.Symlink("/etc/passwd", path("symlink")) },
		"directory": func() error { return os.Mkdir(path("directory"), 0o700) },
		"fifo":      func() error { return unix.Mkfifo(path("fifo"), 0o600) },
		"socket":    func() error { return unix.Mknod(path("socket"), unix.S_IFSOCK|0o600, 0) },
	} {
		if err := make(); err != nil {
			t.Fatal(err)
		}
		if f, err := d.Open(name); !errors.Is(err, errs.ErrCorrupt) {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
	open := path("open")
	if err := errors.Join(os.WriteFile(open, nil, 0o600), os.Chmod(open, 0o622)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Open("open"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("writable by all: %v", err)
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Chmod(open, 0o600), os.Chown(open, 12345, -1)); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Open("open"); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "12345") {
			t.Errorf("another's: %v", err)
		}
	}
}

func TestDirRefuses(t *testing.T) {
	user := fmt.Sprintf("shiplap-%d", os.Geteuid())
	for name, spoil := range map[string]func(base string) error{
		"symlink": func(b string) error { return os.Symlink(t.TempDir(), filepath.Join(b, user)) },
		"file":    func(b string) error { return os.WriteFile(filepath.Join(b, user), nil, 0o600) },
		"writable": func(b string) error {
			return errors.Join(os.Mkdir(filepath.Join(b, user), 0o700), os.Chmod(filepath.Join(b, user), 0o777))
		},
		"foreign": func(b string) error {
			if os.Geteuid() != 0 {
				return errors.Join(os.Mkdir(filepath.Join(b, user), 0o722), os.Chmod(filepath.Join(b, user), 0o722))
			}
			return errors.Join(os.Mkdir(filepath.Join(b, user), 0o700), os.Chown(filepath.Join(b, user), 12345, -1))
		},
	} {
		base := t.TempDir()
		if err := spoil(base); err != nil {
			t.Fatal(err)
		}
		if d, err := OpenDir(base, "x", true); err == nil {
			d.Close()
			t.Errorf("%s: trusted", name)
		}
	}
	if _, err := OpenDir(filepath.Join(t.TempDir(), "none"), "x", true); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "SHIPLAP_DIR") {
		t.Errorf("no base: %v", err)
	}
	if _, err := OpenDir(t.TempDir(), "x", false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no domain: %v", err)
	}
	if _, err := OpenDir(t.TempDir(), "../x", true); !errors.Is(err, errs.ErrName) {
		t.Errorf("a path as a domain: %v", err)
	}
}

// mount makes a small tmpfs.
func mount(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("a small tmpfs cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestNoSpace(t *testing.T) {
	dir := mount(t, "size=1m,mode=0700")
	d, err := OpenDir(dir, "x", true)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	_, err = d.Create("1", 2<<20)
	if !errors.Is(err, errs.ErrNoSpace) || !strings.Contains(err.Error(), "2097152") || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v", err)
	}
	if files, _ := d.Files(); len(files) != 0 {
		t.Errorf("it left %v", files)
	}
	f, err := d.Create("2", 512<<10) // what fits fits
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestReadOnly(t *testing.T) {
	dir := mount(t, "size=1m,mode=0700,ro")
	if _, err := OpenDir(dir, "x", true); !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("%v", err)
	}
}

// One of many wins, and nobody ever sees a file that is not whole.
func TestPublishRace(t *testing.T) {
	d := domain(t)
	for round := range 50 {
		name := fmt.Sprint("object", round)
		var wins atomic.Int32
		var winner atomic.Uint64
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				f, err := d.Create(fmt.Sprintf("%d.%d", round, g), 4096)
				if err != nil {
					t.Error(err)
					return
				}
				defer f.Close()
				switch err := f.Publish(name); {
				case err == nil:
					wins.Add(1)
					winner.Store(f.Ino)
				case errors.Is(err, fs.ErrExist):
					f.Discard()
				default:
					t.Error(err)
				}
				if o, err := d.Open(name); err != nil || o.Size != 4096 {
					t.Errorf("%v", err)
				} else {
					o.Close()
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 {
			t.Fatalf("%d won", wins.Load())
		}
		if err := d.Unlink(name); err != nil {
			t.Fatal(err)
		}
	}
	if files, _ := d.Files(); len(files) != 0 {
		t.Errorf("left: %v", files)
	}
}

func TestLocks(t *testing.T) {
	d := domain(t)
	a := made(t, d, "1", 4096)
	if err := a.Publish("x"); err != nil {
		t.Fatal(err)
	}
	b, err := d.Open("x")
	if err != nil {
		t.Fatal(err)
	}
	set := func(ok bool, err error, want bool) {
		t.Helper()
		if ok != want || err != nil {
			t.Errorf("%v, %v; want %v", ok, err, want)
		}
	}
	ok, err := a.LockExclusive(0, 10)
	set(ok, err, true)
	ok, err = b.LockExclusive(5, 1)
	set(ok, err, false)
	ok, err = b.LockShared(10, 1)
	set(ok, err, true)
	ok, err = a.LockShared(10, 1)
	set(ok, err, true)
	ok, err = a.Locked(0, 10) // its own does not count
	set(ok, err, false)
	ok, err = b.Locked(0, 10)
	set(ok, err, true)
	ok, err = a.Locked(10, 1)
	set(ok, err, true)
	b.Close()
	ok, err = a.Locked(10, 1)
	set(ok, err, false)
	if err := a.Unlock(0, 10); err != nil {
		t.Error(err)
	}
}
