package shm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// The story of two handles on one memory.
func TestCreateAttach(t *testing.T) {
	o := in(t)
	old := unix.Umask(0o777) // plays no part
	s := created(t, "", 10, o)
	unix.Umask(old)
	if !regexp.MustCompile(`^psm_[0-9a-f]{8}$`).MatchString(s.Name()) || s.Size() != 10 || len(s.Bytes()) != 10 || cap(s.Bytes()) != 10 {
		t.Errorf("%v: %d bytes", s, len(s.Bytes()))
	}
	st, err := os.Stat(s.Path())
	if err != nil || st.Size() != 10 || st.Mode() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	if !bytes.Equal(s.Bytes(), make([]byte, 10)) {
		t.Errorf("%v", s.Bytes())
	}
	a := attached(t, "/"+s.Name(), o)
	if a.Size() != 10 || a.Name() != s.Name() {
		t.Errorf("%v", a)
	}
	s.Bytes()[9] = 2
	if a.Bytes()[9] != 2 {
		t.Error("another memory")
	}
	n, err := a.WriteAt([]byte("abc"), 7)
	if n != 3 || err != nil || string(s.Bytes()[7:]) != "abc" {
		t.Errorf("%d, %v, %q", n, err, s.Bytes())
	}
	b := make([]byte, 5)
	n, err = s.ReadAt(b, 7)
	if n != 3 || err != io.EOF || string(b[:n]) != "abc" {
		t.Errorf("%d, %v, %q", n, err, b)
	}
	if n, err := s.ReadAt(b, 10); n != 0 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
	for _, off := range []int64{8, 10, 11, 1 << 62} {
		if n, err := s.WriteAt([]byte("xyz"), off); n != 0 || !errors.Is(err, errs.ErrTooLarge) {
			t.Errorf("at %d: %d, %v", off, n, err)
		}
	}
	_, err = s.WriteAt(make([]byte, 3), 8)
	says(t, err, "3 bytes at offset 8", "it has 10")
	if _, err := s.ReadAt(b, -1); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
	if _, err := s.WriteAt(b, -1); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
	i, err := Stat(s.Name(), o)
	if err != nil || i.Size != 10 || i.Kind != KindAuto || i.Mode != 0o600 || int(i.UID) != os.Geteuid() || i.Links != 1 || i.Reserved < 10 {
		t.Errorf("%+v, %v", i, err)
	}
	ok(t, s.Unlink())
	is(t, "second", s.Unlink(), errs.ErrNotExist)
	is(t, "by name", Unlink(s.Name(), o), errs.ErrNotExist)
	_, err = Attach(s.Name(), o)
	is(t, "attach", err, errs.ErrNotExist)
	if a.Bytes()[9] != 'c' {
		t.Error("the memory went with the name")
	}
	if i, err := a.Stat(); err != nil || i.Links != 0 {
		t.Errorf("%+v, %v", i, err)
	}
}

func TestErrors(t *testing.T) {
	o := in(t)
	created(t, "there", 1, o)
	_, err := Create("there", 1, o)
	is(t, "taken", err, errs.ErrExist)
	for _, size := range []int64{0, -1} {
		_, err := Create("x", size, o)
		is(t, fmt.Sprint(size), err, fs.ErrInvalid)
		_, err = Anonymous(size, nil)
		is(t, fmt.Sprint(size), err, fs.ErrInvalid)
	}
	for _, name := range []string{"/", "a/b", "a\x00b", ".", "..", "//a/", strings.Repeat("x", 255), strings.Repeat("ä", 128), privatePrefix + "1"} {
		_, err := Create(name, 1, o)
		is(t, fmt.Sprintf("create %.20q", name), err, errs.ErrName)
	}
	for _, name := range []string{"", "/", "a/b", "a\x00b", ".", strings.Repeat("x", 256)} {
		_, err := Attach(name, o)
		is(t, fmt.Sprintf("attach %.20q", name), err, errs.ErrName)
		is(t, fmt.Sprintf("unlink %.20q", name), Unlink(name, o), errs.ErrName)
		_, err = Stat(name, o)
		is(t, fmt.Sprintf("stat %.20q", name), err, errs.ErrName)
	}
	long := created(t, strings.Repeat("x", 254), 1, o)
	attached(t, long.Name(), o)
	path := func(n string) string { return filepath.Join(o.Dir, n) }
	ok(t, os.WriteFile(path(strings.Repeat("y", 255)), []byte("x"), 0o600))
	attached(t, strings.Repeat("y", 255), o)
	for name, make := range map[string]func() error{
		"symlink": func() error { return os.Symlink(path("there"), path("symlink")) },
		"dir":     func() error { return os.Mkdir(path("dir"), 0o700) },
		"fifo":    func() error { return unix.Mkfifo(path("fifo"), 0o600) },
	} {
		ok(t, make())
		_, err := Attach(name, o)
		is(t, name, err, errs.ErrCorrupt)
		_, err = Create(name, 1, o)
		is(t, name, err, errs.ErrExist)
	}
	ok(t, os.WriteFile(path("empty"), nil, 0o600))
	_, err = Attach("empty", o)
	is(t, "empty", err, errs.ErrBusy)
	_, err = Create("x", 1, &Options{Dir: filepath.Join(o.Dir, "none")})
	is(t, "no directory", err, errs.ErrNotExist)
	says(t, err, "SHIPLAP_SHM_DIR")
	_, err = Create("x", 1, &Options{Dir: o.Dir, ReadOnly: true})
	is(t, "created read-only", err, fs.ErrInvalid)
	_, err = Create("x", 1, &Options{Dir: o.Dir, Mode: fs.ModeSetuid | 0o600})
	is(t, "mode", err, fs.ErrInvalid)
	_, err = Create("x", 1, &Options{Dir: o.Dir, Mode: 0o444, Keep: true})
	is(t, "kept, not writable", err, fs.ErrInvalid)
	shared := created(t, "shared", 1, &Options{Dir: o.Dir, Mode: 0o644})
	if i, err := shared.Stat(); err != nil || i.Mode != 0o644 {
		t.Errorf("%v, %v", i, err)
	}
	// A successor is not taken away.
	old := created(t, "name", 1, o)
	ok(t, old.Unlink())
	created(t, "name", 2, o)
	is(t, "successor", old.Unlink(), errs.ErrConflict)
	if old.Linked() {
		t.Error("linked to its successor")
	}
}

func TestDir(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SHIPLAP_SHM_DIR", dir)
	s := created(t, "x", 1, nil)
	if s.Path() != filepath.Join(dir, "x") {
		t.Error(s.Path())
	}
	t.Setenv("SHIPLAP_SHM_DIR", "")
	_, err := Stat("nobody-has-this-name", nil)
	says(t, err, "/dev/shm/nobody-has-this-name")
}

func needsFaultAddress(t *testing.T) {
	if os.Getenv("SHIPLAP_EMULATED") != "" {
		t.Skip("the emulated processor does not tell the address of a fault")
	}
}

func TestTruncated(t *testing.T) {
	needsFaultAddress(t)
	o := in(t)
	s := created(t, "x", 100_000, o)
	ok(t, os.Truncate(s.Path(), 5000))
	b := make([]byte, 100_000)
	n, err := s.ReadAt(b, 0)
	is(t, "read", err, errs.ErrCorrupt)
	says(t, err, "has 5000 bytes now, it had 100000")
	if n != 0 {
		t.Errorf("%d bytes", n)
	}
	_, err = s.WriteAt(b, 0)
	is(t, "write", err, errs.ErrCorrupt)
	is(t, "with", s.With(func(b []byte) error { b[90_000]++; return nil }), errs.ErrCorrupt)
	if _, err := s.ReadAt(b[:100], 0); err != nil {
		t.Errorf("what is left: %v", err)
	}
	a := attached(t, "x", o)
	if a.Size() != 5000 {
		t.Errorf("%v", a)
	}
	ok(t, os.Truncate(s.Path(), 0))
	_, err = Attach("x", o)
	is(t, "empty", err, errs.ErrBusy)
}

func TestReadOnly(t *testing.T) {
	needsFaultAddress(t)
	o := in(t)
	s := created(t, "x", 10, o)
	for _, opt := range []Options{{Dir: o.Dir, ReadOnly: true}, {Dir: o.Dir, ReadOnly: true, Keep: true}} {
		r := attached(t, "x", &opt)
		n, err := r.WriteAt([]byte("x"), 0)
		is(t, "write", err, fs.ErrPermission)
		err = r.With(func(b []byte) error { b[0] = 1; return nil })
		is(t, "store", err, fs.ErrPermission)
		says(t, err, "read-only")
		if n != 0 || s.Bytes()[0] != 0 || !r.ReadOnly() {
			t.Error("written")
		}
		s.Bytes()[5] = 5
		if b := make([]byte, 1); true {
			if _, err := r.ReadAt(b, 5); err != nil || b[0] != 5 {
				t.Errorf("%v, %v", b, err)
			}
		}
	}
	if os.Geteuid() != 0 {
		ok(t, os.Chmod(s.Path(), 0o400))
		_, err := Attach("x", o)
		is(t, "not writable", err, fs.ErrPermission)
		says(t, err, "ReadOnly")
		attached(t, "x", &Options{Dir: o.Dir, ReadOnly: true})
	}
}

func TestWith(t *testing.T) {
	s := created(t, "x", 10, in(t))
	want := errors.New("mine")
	if err := s.With(func(b []byte) error { b[0] = 1; return want }); err != want {
		t.Error(err)
	}
	func() {
		defer func() {
			if recover() != "bug" {
				t.Error("a panic is not passed on")
			}
		}()
		s.With(func([]byte) error { panic("bug") })
	}()
	// Closing inside leaves the memory until the end of the call.
	err := s.With(func(b []byte) error {
		ok(t, s.Close())
		if b[0] != 1 {
			t.Error("gone")
		}
		is(t, "read", second(s.ReadAt(make([]byte, 1), 0)), errs.ErrClosed)
		return nil
	})
	ok(t, err)
	for what, err := range map[string]error{
		"close": s.Close(), "with": s.With(nil), "read": second(s.ReadAt(nil, 0)), "write": second(s.WriteAt(nil, 0)), "relink": s.Relink(),
		"send": s.Send(t.Context(), nil), "file": second(s.File()), "seals": second(s.Seals()), "seal": s.Seal(SealGrow), "pages": second(s.Pages()), "stat": second(s.Stat()),
	} {
		is(t, what, err, errs.ErrClosed)
	}
	if s.Bytes() != nil || s.Linked() || !strings.Contains(s.String(), "closed") {
		t.Errorf("%v", s)
	}
	ok(t, s.Unlink()) // as in Python, after close
}

func second[T any](_ T, err error) error { return err }

// Readers and writers race with Close: each call is done or ErrClosed.
func TestCloseRace(t *testing.T) {
	o := in(t)
	for range 50 {
		s := created(t, "", 1<<16, o)
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				b := make([]byte, 1<<16)
				for {
					var err error
					switch g {
					case 0:
						_, err = s.WriteAt(b, 0)
					case 1:
						err = s.With(func(b []byte) error { b[0]++; return nil })
					default:
						_, err = s.ReadAt(b, 0)
					}
					if errors.Is(err, errs.ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		ok(t, s.Close())
		wg.Wait()
		ok(t, s.Unlink())
	}
	if left := names(t, o.Dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// Many make the same name: one wins, and whoever attaches sees it whole.
func TestCreateRace(t *testing.T) {
	for _, tmpfile := range []bool{true, false} {
		withTmpfile(t, tmpfile)
		o := in(t)
		for round := range 20 {
			name := fmt.Sprint("x", round)
			var mu sync.Mutex
			wins := 0
			var wg sync.WaitGroup
			for g := range 6 {
				wg.Go(func() {
					s, err := Create(name, 10_000, &Options{Dir: o.Dir, Keep: g%2 == 0})
					switch {
					case err == nil:
						mu.Lock()
						wins++
						mu.Unlock()
						if err := s.Close(); err != nil {
							t.Error(err)
						}
					case !errors.Is(err, errs.ErrExist):
						t.Error(err)
					}
					a, err := Attach(name, o)
					if err != nil || a.Size() != 10_000 {
						t.Errorf("%v, %v", a, err)
						return
					}
					if err := a.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if wins != 1 {
				t.Fatalf("%d won", wins)
			}
			ok(t, Unlink(name, o))
		}
		if left := names(t, o.Dir); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

func withTmpfile(t *testing.T, yes bool) {
	canTmpfile = yes
	t.Cleanup(func() { canTmpfile = true })
}

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
	for _, tmpfile := range []bool{true, false} {
		withTmpfile(t, tmpfile)
		for _, opt := range []*Options{{Dir: dir}, {Dir: dir, Keep: true}, {Dir: dir, Huge: true}} {
			_, err := Create("x", 2<<20, opt)
			is(t, "too large", err, errs.ErrNoSpace)
			says(t, err, "2097152", dir, "1048576 free of 1048576")
			s := created(t, "half", 700<<10, opt)
			_, err = Create("x", 700<<10, opt)
			is(t, "what is left", err, errs.ErrNoSpace)
			says(t, err, "716800", fmt.Sprint((1<<20)-700<<10), dir)
			ok(t, errors.Join(s.Unlink(), s.Close()))
			if left := names(t, dir); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			s = created(t, "", 1<<20, opt) // everything is free again
			ok(t, errors.Join(s.Unlink(), s.Close()))
		}
	}
}

// reserve itself meets the limit, not only the look before it.
func TestReserve(t *testing.T) {
	dir := mount(t, "size=1m,mode=0700")
	f, err := os.Create(filepath.Join(dir, "x"))
	ok(t, err)
	defer f.Close()
	want := errors.New("full")
	full := func(error) error { return want }
	if err := reserve(int(f.Fd()), 2<<20, full); err != want {
		t.Error(err)
	}
	ok(t, f.Truncate(2<<20))
	b, err := mem.MapBytes(int(f.Fd()), 2<<20, mem.ReadWrite)
	ok(t, err)
	if err := populate(b, full); err != nil && err != want {
		t.Error(err)
	}
	ok(t, mem.UnmapBytes(b))
}

func TestMoreThanTheHostHas(t *testing.T) {
	dir := mount(t, "size=1p,mode=0700")
	_, err := Create("x", 1<<46-4096, &Options{Dir: dir})
	is(t, "too large", err, errs.ErrNoSpace)
	says(t, err, "OOM")
	_, err = Anonymous(1<<46-4096, nil)
	is(t, "too large", err, errs.ErrNoSpace)
	if left := names(t, dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
