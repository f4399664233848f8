package shm

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

const smapsSample = `7f0000000000-7f0000200000 rw-s 00000000 00:1a 17    /dev/shm/a\040b
Size:               2048 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                2048 kB
ShmemPmdMapped:     2048 kB
VmFlags: rd wr sh mr mw me ms
7f0000200000-7f0000300000 r--s 00200000 00:1a 17    /dev/shm/a\040b (deleted)
KernelPageSize:        4 kB
Rss:                1024 kB
ShmemPmdMapped:        0 kB
7f0000300000-7f0000500000 rw-p 00000000 00:00 0
Rss:                2048 kB
`

func TestParse(t *testing.T) {
	p, found := parseSmaps([]byte(smapsSample), 0x7f0000000000, 0x7f0000300000-5)
	if !found || p != (Pages{PageSize: 4096, Resident: 3 << 20, Huge: 2 << 20}) {
		t.Errorf("%+v, %v", p, found)
	}
	if _, found := parseSmaps([]byte(smapsSample), 0x1000, 0x2000); found {
		t.Error("found what is not there")
	}
	maps := parseMaps([]byte(smapsSample))
	if len(maps) != 1 || !maps[FileID{unix.Mkdev(0, 0x1a), 17}] {
		t.Errorf("%v", maps)
	}
	for _, d := range [][2]uint32{{0, 0x1a}, {259, 3}, {4095, 1048575}, {1 << 20, 1 << 19}} {
		if device(d[0], d[1]) != unix.Mkdev(d[0], d[1]) {
			t.Errorf("%v: %x, unix says %x", d, device(d[0], d[1]), unix.Mkdev(d[0], d[1]))
		}
	}
	const mounts = `36 35 0:26 / /dev/shm rw,nosuid - tmpfs tmpfs rw,inode64
37 35 0:27 / /mnt/a\040b rw shared:1 - tmpfs none rw,huge=advise,inode64
38 35 0:28 / /dev/shm rw - tmpfs tmpfs rw,huge=within_size
`
	for mount, want := range map[string]string{"/dev/shm": "within_size", "/mnt/a b": "advise", "/x": "never"} {
		if got := parseHuge([]byte(mounts), mount); got != want {
			t.Errorf("%s: %s", mount, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(smapsSample))
	f.Add([]byte("36 35 0:26 / /dev/shm rw,nosuid - tmpfs tmpfs rw,huge=always\n"))
	f.Add([]byte(`0-1 rw-s 0 ffffffff:ffffffff 1 \777\04`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, _ := parseSmaps(b, 0, 1<<63); p.PageSize < 0 {
			t.Errorf("%+v", p)
		}
		for id := range parseMaps(b) {
			if id.Ino == 0 {
				t.Error("inode 0")
			}
		}
		parseHuge(b, string(b))
		unescape(string(b))
	})
}

func FuzzMessage(f *testing.F) {
	f.Add(message{10}.marshal())
	f.Add([]byte("shiplapM"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err == nil && string(m.marshal()) != string(b) {
			t.Errorf("%q comes back as %q", b, m.marshal())
		}
		if err != nil && !errors.Is(err, errs.ErrCorrupt) {
			t.Error(err)
		}
	})
}

func FuzzRights(f *testing.F) {
	f.Add(unix.UnixRights(0, 1))
	f.Add([]byte("\x11\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x000"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if fds, _ := rights(b); 4*len(fds) > len(b) { // the numbers are nobody's: nothing may be closed
			t.Errorf("%d descriptors out of %d bytes", len(fds), len(b))
		}
	})
}

func FuzzFileName(f *testing.F) {
	for _, s := range []string{"psm_1b2c3d4e", "/psm_1b2c3d4e", "a/b", "", "..", "ä\x00", privatePrefix} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		file, err := fileName(s, mostNew)
		if err != nil {
			if !errors.Is(err, errs.ErrName) {
				t.Error(err)
			}
			return
		}
		if file == "" || len(file) > mostNew || strings.ContainsAny(file, "/\x00") || filepath.Clean("/d/"+file) != "/d/"+file {
			t.Errorf("%q: file %q", s, file)
		}
	})
}

func TestPages(t *testing.T) {
	o := in(t)
	s := created(t, "x", 10<<20, o)
	p, err := s.Pages()
	if err != nil || p.PageSize != int64(os.Getpagesize()) || p.Huge != 0 || p.Note == "" {
		t.Errorf("%v, %v", p, err)
	}
	clear(s.Bytes())
	if p, err = s.Pages(); err != nil || p.Resident != 10<<20 {
		t.Errorf("%v, %v", p, err)
	}
	t.Log(p)
	dir := mount(t, "size=64m,mode=0700,huge=advise")
	h := created(t, "x", 10<<20, &Options{Dir: dir, Huge: true})
	if p, err = h.Pages(); err != nil {
		t.Fatal(err)
	}
	t.Log(p)
	if p.Huge == 0 {
		t.Skipf("no transparent huge pages were to be had: %s", p.Note)
	}
	if p.Huge != 10<<20 || p.Note != "" {
		t.Errorf("%v", p)
	}
	if i, err := h.Stat(); err != nil || i.Reserved < 10<<20 {
		t.Errorf("%+v, %v", i, err)
	}
	a := attached(t, "x", &Options{Dir: dir, Huge: true})
	a.Bytes()[0] = 1
	if p, err := a.Pages(); err != nil || p.Huge == 0 {
		t.Errorf("another handle: %v, %v", p, err)
	}
}

// Anonymous memory comes from the pool, or says why not.
func TestPagesAnonymous(t *testing.T) {
	s, err := Anonymous(3<<20, &Options{Huge: true})
	closing(t, s, err)
	clear(s.Bytes())
	p, err := s.Pages()
	ok(t, err)
	t.Log(p)
	page := hugePageSize()
	switch {
	case p.PageSize == page && page > 0:
		if s.Size()%page != 0 || p.Huge != s.Size() {
			t.Errorf("%v: %v", s, p)
		}
		ok(t, s.Seal(SealSize|SealWrite))
		if s.Bytes()[s.Size()-1] != 0 {
			t.Error("not zero")
		}
	case s.Size() != 3<<20 || p.Huge < s.Size() && !strings.Contains(p.Note, "none from the pool"):
		t.Errorf("%v: %v", s, p)
	}
}
