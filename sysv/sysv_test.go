package sysv_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/sysv"
)

// is fails unless err is want and says all of the texts.
func is(t testing.TB, err, want error, texts ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
	says(t, err, texts...)
}

func says(t testing.TB, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", texts)
	}
	for _, s := range texts {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
}

func TestLife(t *testing.T) {
	key := newKey(t)
	_, err := sysv.Open(key, nil)
	is(t, err, shiplap.ErrNotExist, key.String())
	_, err = sysv.Find(key)
	is(t, err, shiplap.ErrNotExist, key.String())

	a := create(t, key, 5000, nil)
	if a.Size() != 5000 || len(a.Bytes()) != 5000 || !bytes.Equal(a.Bytes(), make([]byte, 5000)) {
		t.Fatalf("%d bytes, want 5000 zeros", a.Size())
	}
	b, err := sysv.Open(key, &sysv.AttachOptions{ReadOnly: true})
	ok(t, err)
	if a.ID() != b.ID() || a.Addr() == b.Addr() || !b.ReadOnly() || a.ReadOnly() {
		t.Errorf("%v at %#x and %v at %#x", a, a.Addr(), b, b.Addr())
	}
	if n, err := a.WriteAt([]byte("hello"), 4995); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	got := make([]byte, 10)
	if n, err := b.ReadAt(got, 4990); n != 10 || err != nil || string(got) != "\x00\x00\x00\x00\x00hello" {
		t.Fatalf("%q, %v", got[:n], err)
	}
	if n, err := b.ReadAt(got, 4998); n != 2 || err != io.EOF {
		t.Error(n, err)
	}
	if n, err := b.ReadAt(got, 5000); n != 0 || err != io.EOF {
		t.Error(n, err)
	}
	_, err = a.WriteAt(got, 4991)
	is(t, err, shiplap.ErrTooLarge, "10 bytes at offset 4991, it has 5000")
	_, err = a.WriteAt(got, -1)
	says(t, err, "offset -1")
	_, err = b.WriteAt(got, 0)
	is(t, err, fs.ErrPermission, "read-only")

	// Removed: the key is free, the memory stays until both have detached.
	ok(t, a.ID().Remove())
	_, err = sysv.Open(key, nil)
	is(t, err, shiplap.ErrNotExist)
	info, err := a.Stat()
	ok(t, err)
	if !info.Removed || info.Attachments != 2 || info.Key != sysv.IPC_PRIVATE || !strings.HasSuffix(info.String(), ", removed") {
		t.Errorf("after removal: %v", info)
	}
	c := attach(t, a.ID(), nil)
	ok(t, c.Close())
	ok(t, a.Close())
	if s, err := b.ReadString(4995, 0); err == nil {
		t.Errorf("string without an end: %q", s)
	}
	ok(t, b.Close())
	for _, err := range []error{statErr(b.ID()), b.ID().Remove(), b.ID().SetMode(0o600), b.ID().Lock(), b.ID().Unlock()} {
		if !errors.Is(err, shiplap.ErrNotExist) && !errors.Is(err, shiplap.ErrRemoved) {
			t.Errorf("of a segment that is gone: %v", err)
		}
	}
	_, err = b.ID().Attach(nil)
	if !errors.Is(err, shiplap.ErrNotExist) && !errors.Is(err, shiplap.ErrRemoved) {
		t.Error(err)
	}
}

func statErr(id sysv.ID) error { _, err := id.Stat(); return err }

func TestClosed(t *testing.T) {
	s := create(t, newKey(t), 100, nil)
	ok(t, s.Close())
	is(t, s.Close(), shiplap.ErrClosed)
	_, err := s.ReadAt(nil, 0)
	is(t, err, shiplap.ErrClosed)
	_, err = s.WriteAt(nil, 0)
	is(t, err, shiplap.ErrClosed)
	_, err = s.ReadString(0, 0)
	is(t, err, shiplap.ErrClosed)
	is(t, s.WriteString(0, 0, ""), shiplap.ErrClosed)
	_, err = s.ID().Attach(&sysv.AttachOptions{Over: s})
	is(t, err, shiplap.ErrClosed)
	if s.Bytes() != nil || s.Size() != 0 || s.Addr() != 0 {
		t.Error("closed, but not without memory")
	}
}

// Calls and Close at once: no call touches memory that is gone. It would end the process.
func TestCloseRace(t *testing.T) {
	key := newKey(t)
	id := create(t, key, 1<<16, nil).ID()
	for range 50 {
		s := attach(t, id, nil)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				p := make([]byte, 1<<16)
				for {
					if _, err := s.ReadAt(p, 0); err != nil {
						if !errors.Is(err, shiplap.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		ok(t, s.Close())
		all.Wait()
	}
}

func TestGetErrors(t *testing.T) {
	key := newKey(t)
	create(t, key, 4096, &sysv.Options{Mode: 0o640})
	_, err := sysv.Get(key, 10, sysv.IPC_CREAT|sysv.IPC_EXCL|0o600)
	is(t, err, shiplap.ErrExist, key.String(), "4096 bytes", "mode 0640", "made by pid", "attached 1 times")
	_, err = sysv.Get(key, 8192, sysv.IPC_CREAT|0o600)
	is(t, err, shiplap.ErrIncompatible, "it has 4096 bytes, 8192 were asked for")
	_, err = sysv.OpenOrCreate(key, 4097, nil)
	is(t, err, shiplap.ErrIncompatible, "4096", "4097")
	s, err := sysv.OpenOrCreate(key, 1000, nil)
	ok(t, err)
	if s.Size() != 4096 {
		t.Errorf("%d bytes", s.Size())
	}
	ok(t, s.Close())

	_, err = sysv.Create(sysv.IPC_PRIVATE, 0, nil)
	says(t, err, "at least 1 byte")
	_, err = sysv.Create(sysv.IPC_PRIVATE, -1, nil)
	says(t, err, "size -1")
	_, err = sysv.Create(sysv.IPC_PRIVATE, 1, &sysv.Options{Mode: fs.ModeDir | 0o700})
	says(t, err, "permission bits")
	_, err = sysv.Create(sysv.IPC_PRIVATE, 1, &sysv.Options{HugePage: 3})
	says(t, err, "not a power of two")
	_, err = sysv.Create(sysv.IPC_PRIVATE, 1, &sysv.Options{Attach: sysv.AttachOptions{Addr: 1}})
	says(t, err, "no multiple of the page size")
	_, err = sysv.Open(sysv.IPC_PRIVATE, nil)
	is(t, err, shiplap.ErrNotExist, "IPC_PRIVATE")
	_, err = sysv.ID(1 << 30).Stat()
	is(t, err, shiplap.ErrNotExist)
	l, err := sysv.SystemLimits()
	ok(t, err)
	if huge := l.MaxSize + 1; huge < 1<<63 {
		_, err = sysv.Create(sysv.IPC_PRIVATE, int(huge), nil)
		is(t, err, shiplap.ErrTooLarge, "shmmax")
	}
}

func TestPrivate(t *testing.T) {
	newKey(t)
	a, b := create(t, sysv.IPC_PRIVATE, 1, nil), create(t, sysv.IPC_PRIVATE, 1, nil)
	if a.ID() == b.ID() {
		t.Errorf("both are %v", a)
	}
}

func TestStat(t *testing.T) {
	key := newKey(t)
	before := time.Now().Truncate(time.Second)
	id, err := sysv.Get(key, 12345, sysv.IPC_CREAT|sysv.IPC_EXCL|0o604)
	ok(t, err)
	defer id.Remove()
	i, err := id.Stat()
	ok(t, err)
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	want := sysv.Info{ID: id, Key: key, Size: 12345, Mode: 0o604, UID: uid, GID: gid, CreatorUID: uid, CreatorGID: gid, CreatorPID: os.Getpid(), Changed: i.Changed}
	if *i != want {
		t.Errorf("got  %+v\nwant %+v", *i, want)
	}
	if i.Changed.Before(before) || i.Changed.After(time.Now()) {
		t.Errorf("changed %v", i.Changed)
	}
	s := attach(t, id, nil)
	s2 := attach(t, id, nil)
	i, err = id.Stat()
	ok(t, err)
	if i.Attachments != 2 || i.LastPID != os.Getpid() || i.Attached.Before(before) || !i.Detached.IsZero() {
		t.Errorf("attached twice: %+v", *i)
	}
	ok(t, s.Close())
	ok(t, s2.Close())
	ok(t, id.Lock())
	i, err = id.Stat()
	ok(t, err)
	if !i.Locked || i.Attachments != 0 || i.Detached.Before(before) {
		t.Errorf("locked and detached: %+v", *i)
	}
	ok(t, id.Unlock())
	ok(t, id.SetMode(0o666))
	if i, err = id.Stat(); err != nil || i.Locked || i.Mode != 0o666 || i.UID != uid {
		t.Errorf("unlocked, mode 0666: %+v", *i)
	}
	says(t, id.Set(uid, gid, fs.ModeSetuid|0o600), "permission bits")

	all, err := sysv.List()
	ok(t, err)
	found := 0
	for _, l := range all {
		if l.ID == id {
			found++
			if *l != *i {
				t.Errorf("listed %+v\nstat   %+v", *l, *i)
			}
		}
	}
	if found != 1 {
		t.Errorf("listed %d times", found)
	}
	if f, err := sysv.Find(key); err != nil || f.ID != id {
		t.Error(f, err)
	}
	u, err := sysv.SystemUsage()
	ok(t, err)
	if u.Segments < 1 || u.Pages < 4 {
		t.Errorf("in use: %+v", u)
	}
}

// The limits are what /proc says.
func TestLimits(t *testing.T) {
	l, err := sysv.SystemLimits()
	ok(t, err)
	for file, got := range map[string]uint64{"shmmax": l.MaxSize, "shmmni": l.MaxSegments, "shmall": l.MaxPages} {
		if want := sysctl(t, file); got != want {
			t.Errorf("%s: %d, want %d", file, got, want)
		}
	}
}

func TestAddress(t *testing.T) {
	key := newKey(t)
	s := create(t, key, 10000, nil)
	// A place that was free a moment ago.
	p := attach(t, s.ID(), nil)
	addr := p.Addr()
	_, err := s.ID().Attach(&sysv.AttachOptions{Addr: addr})
	is(t, err, shiplap.ErrBusy, "mapped already")
	ok(t, p.Close())
	p = attach(t, s.ID(), &sysv.AttachOptions{Addr: addr})
	if p.Addr() != addr {
		t.Errorf("at %#x, want %#x", p.Addr(), addr)
	}
	ok(t, p.Close())
	_, err = s.ID().Attach(&sysv.AttachOptions{Addr: addr + 8})
	says(t, err, "no multiple of the page size")
	p = attach(t, s.ID(), &sysv.AttachOptions{Addr: addr + 8, Round: true})
	if p.Addr() != addr {
		t.Errorf("at %#x, want %#x", p.Addr(), addr)
	}
	_, err = s.ID().Attach(&sysv.AttachOptions{Addr: 8, Round: true})
	says(t, err, "rounds down to 0")
	// Where the Go heap is.
	heap := make([]byte, 1<<20)
	for _, a := range heapAddresses(heap) {
		_, err = s.ID().Attach(&sysv.AttachOptions{Addr: a, Round: true})
		is(t, err, shiplap.ErrBusy)
	}
}

func TestOver(t *testing.T) {
	key := newKey(t)
	a, b := create(t, key, 8000, nil), create(t, sysv.IPC_PRIVATE, 8192, nil)
	ok(t, a.WriteString(0, 0, "first"))
	ok(t, b.WriteString(0, 0, "second"))
	view, addr := a.Bytes(), a.Addr()
	_, err := b.ID().Attach(&sysv.AttachOptions{Over: a, Addr: addr})
	says(t, err, "Over has an address already")
	c := attach(t, b.ID(), &sysv.AttachOptions{Over: a})
	if c.Addr() != addr || c.Size() != 8192 || string(view[:7]) != "second\x00" {
		t.Errorf("at %#x, want %#x; the old view shows %q", c.Addr(), addr, view[:7])
	}
	is(t, a.Close(), shiplap.ErrClosed)
	for id, want := range map[sysv.ID]int{a.ID(): 0, b.ID(): 2} {
		if i, err := id.Stat(); err != nil || i.Attachments != want {
			t.Errorf("%v, %v: want %d attachments", i, err, want)
		}
	}
	large := create(t, sysv.IPC_PRIVATE, 8193, nil)
	_, err = large.ID().Attach(&sysv.AttachOptions{Over: c})
	is(t, err, shiplap.ErrIncompatible, "12288", "8192")
	_, err = a.ID().Attach(&sysv.AttachOptions{Over: large})
	is(t, err, shiplap.ErrIncompatible)
	if s, err := c.ReadString(0, 0); s != "second" || err != nil {
		t.Error(s, err)
	}
	// The same segment, read-only from now on.
	d := attach(t, b.ID(), &sysv.AttachOptions{Over: c, ReadOnly: true})
	is(t, d.WriteString(0, 0, "x"), fs.ErrPermission)
}

func TestExec(t *testing.T) {
	s := create(t, newKey(t), 4096, &sysv.Options{NoReserve: true, Mode: 0o700, Attach: sysv.AttachOptions{Exec: true}})
	maps, err := os.ReadFile("/proc/self/maps")
	ok(t, err)
	if line := mapping(string(maps), s.Addr()); !strings.Contains(line, " rwxs ") {
		t.Errorf("mapped as %q", line)
	}
}

func TestStrings(t *testing.T) {
	s := create(t, newKey(t), 100, nil)
	ok(t, s.WriteString(10, 0, "hello"))
	ok(t, s.WriteString(10, 6, "world"))
	is(t, s.WriteString(10, 5, "world"), shiplap.ErrTooLarge, "5 bytes and a NUL, at most 5")
	is(t, s.WriteString(96, 0, "four"), shiplap.ErrTooLarge, "5 bytes at offset 96, it has 100")
	ok(t, s.WriteString(96, 0, "123"))
	says(t, s.WriteString(0, 0, "a\x00b"), "NUL at byte 1")
	for _, tt := range []struct {
		off  int64
		max  int
		want string
		err  error
	}{
		{0, 0, "", nil}, {10, 0, "world", nil}, {12, 0, "rld", nil}, {10, 6, "world", nil}, {96, 0, "123", nil}, {99, 0, "", nil},
		{10, 5, "", shiplap.ErrCorrupt}, {100, 0, "", shiplap.ErrCorrupt},
		{101, 0, "", shiplap.ErrTooLarge}, {-1, 0, "", shiplap.ErrTooLarge}, {0, -1, "", shiplap.ErrTooLarge},
	} {
		got, err := s.ReadString(tt.off, tt.max)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%d, %d: %q, %v; want %q, %v", tt.off, tt.max, got, err, tt.want, tt.err)
		}
	}
	ok(t, s.WriteString(0, 0, strings.Repeat("x", 99)))
	if got, err := s.ReadString(0, 100); len(got) != 99 || err != nil {
		t.Error(got, err)
	}
	s.Bytes()[99] = 'x'
	_, err := s.ReadString(0, 0)
	is(t, err, shiplap.ErrCorrupt, "no NUL in the 100 bytes from offset 0")
}

func TestKeyText(t *testing.T) {
	for text, want := range map[string]sysv.Key{
		"0x41013f2a": 0x41013f2a, "0XFF": 0xff, "0xffffffff": -1, "-1": -1, "4294967295": -1, "0": 0, "65": 65,
	} {
		got, err := sysv.ParseKey(text)
		if got != want || err != nil {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "0x", "x", "0x100000000", "4294967296", "-2147483649", "1.5", "0x-1", " 1"} {
		if k, err := sysv.ParseKey(bad); err == nil {
			t.Errorf("%q is %v", bad, k)
		}
	}
}

func TestKeyJSON(t *testing.T) {
	b, err := json.Marshal(sysv.Info{Key: 0x41})
	ok(t, err)
	var i sysv.Info
	ok(t, json.Unmarshal(b, &i))
	if !strings.Contains(string(b), `"key":"0x00000041"`) || i.Key != 0x41 {
		t.Errorf("%s, %v", b, i.Key)
	}
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"0x41013f2a", "-1", "65", "0x", "0xfffffffff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, err := sysv.ParseKey(s)
		if err != nil {
			return
		}
		if again, err := sysv.ParseKey(k.String()); again != k || err != nil {
			t.Errorf("%q is %v, and that is %v, %v", s, k, again, err)
		}
	})
}
