package mem

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

func sized(t *testing.T, size int64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "bytes"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

// guarded runs f and returns the fault in a mapping, if there was one.
func guarded(f func()) (err error) {
	g := Protect()
	defer g.Recover(&err)
	f()
	g.Done = true
	return nil
}

// A length to the byte is kept, through a page's end as well.
func TestMapBytes(t *testing.T) {
	for _, n := range []int64{1, 10, 4096, 4097, 100_000} {
		f := sized(t, n)
		b, err := MapBytes(int(f.Fd()), n, ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(b)) != n || int64(cap(b)) != n {
			t.Errorf("%d bytes, capacity %d; %d were wanted", len(b), cap(b), n)
		}
		b[n-1] = 2
		back := make([]byte, 1)
		if _, err := f.ReadAt(back, n-1); err != nil || back[0] != 2 {
			t.Errorf("the file holds %v, %v", back, err)
		}
		if err := UnmapBytes(b); err != nil {
			t.Error(err)
		}
	}
	for _, n := range []int64{0, -1, 1 << 47} {
		if b, err := MapBytes(int(sized(t, 1).Fd()), n, ReadWrite); err == nil {
			UnmapBytes(b)
			t.Errorf("%d bytes were mapped", n)
		}
	}
	if _, err := MapBytes(-1, 10, ReadWrite); !errors.Is(err, unix.EBADF) {
		t.Errorf("a bad descriptor: %v", err)
	}
}

// What faults is an error under a guard: stores to a read-only view, a file that shrank, a hidden view.
func TestBytesFaults(t *testing.T) {
	needsFaultAddress(t)
	f := sized(t, 10)
	for _, v := range []View{ReadOnly, Frozen} {
		b, err := MapBytes(int(f.Fd()), 10, v)
		if err != nil {
			t.Fatal(err)
		}
		if err := guarded(func() { b[0] = 1 }); !errors.Is(err, errs.ErrCorrupt) {
			t.Errorf("view %d: a store: %v", v, err)
		}
		if err := UnmapBytes(b); err != nil {
			t.Error(err)
		}
	}
	b, err := MapBytes(int(f.Fd()), 10, ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	copy(b, "0123456789")
	if err := HideBytes(b); err != nil {
		t.Fatal(err)
	}
	if err := guarded(func() { _ = bytes.Clone(b) }); !errors.Is(err, errs.ErrCorrupt) {
		t.Errorf("hidden: %v", err)
	}
	if err := RemapBytes(b, int(f.Fd()), Frozen); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, []byte("0123456789")) {
		t.Errorf("after it: %q", b)
	}
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if err := guarded(func() { _ = bytes.Clone(b) }); !errors.Is(err, errs.ErrCorrupt) {
		t.Errorf("truncated: %v", err)
	}
	if err := UnmapBytes(b); err != nil {
		t.Error(err)
	}
}
