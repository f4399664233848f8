package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/shiplap-ipc/shiplap/shm"
)

// What hexdump -C writes, whatever is in the memory.
func TestHexdump(t *testing.T) {
	if _, err := exec.LookPath("hexdump"); err != nil {
		t.Skip("no hexdump on this machine (Debian: apt-get install bsdextrautils)")
	}
	file := filepath.Join(t.TempDir(), "bytes")
	for _, n := range []int{0, 1, 15, 16, 17, 32, 48, 49, 1000, 4096} {
		b := make([]byte, n)
		for i := range b {
			if i/64%2 == 0 { // between stretches of zeros
				b[i] = byte(rand.IntN(256))
			}
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		want, err := exec.Command("hexdump", "-C", file).Output()
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		w := bufio.NewWriter(&got)
		d := dumper{w: w}
		for off := 0; off < n; off += 160 {
			if err := d.dump(int64(off), b[off:min(n, off+160)]); err != nil {
				t.Fatal(err)
			}
		}
		d.end(int64(n))
		w.Flush()
		if got.String() != string(want) {
			t.Errorf("%d bytes:\n%s\nhexdump -C:\n%s", n, got.String(), want)
		}
	}
}

// --keep stays, puts the name back, and leaves the segment when it is interrupted, but not what it held beside it.
func TestShmKeep(t *testing.T) {
	s := newTool(t)
	t.Setenv("SHIPLAP_SHM_DIR", s.dir)
	r, w := io.Pipe()
	p := s.start(nil, w, "shm", "create", "x", "--size", "10", "--keep")
	var name string
	if _, err := fmt.Fscanln(r, &name); err != nil || name != "x" {
		t.Fatalf("%q, %v", name, err)
	}
	for range 3 {
		if err := shm.Unlink("x", nil); err != nil {
			t.Fatal(err)
		}
		a, err := shm.AttachWait(t.Context(), "x", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.ends(exitSignalled + int(syscall.SIGTERM))
	list, err := shm.List(nil)
	if err != nil || len(list) != 1 || list[0].Name != "x" || list[0].Links != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if err := shm.Unlink("x", nil); err != nil {
		t.Error(err)
	}
}

// A stream that does not fit says how far it came; what is read is what was written.
func TestShmStream(t *testing.T) {
	s := newTool(t)
	t.Setenv("SHIPLAP_SHM_DIR", s.dir)
	const n = 5<<20 + 3
	s.run("shm", "create", "x", "--size", fmt.Sprint(n))
	b := lines(n)[:n]
	s.start(bytes.NewReader(b), nil, "shm", "write", "x").ends(exitOK)
	if got := s.run("shm", "read", "x"); got != string(b) {
		t.Error("other bytes")
	}
	p := s.start(bytes.NewReader(append(b, '!')), nil, "shm", "write", "x")
	p.ends(exitFailure)
	if !bytes.Contains(p.stderr.Bytes(), []byte("5,242,883 were written")) {
		t.Error(p.stderr.String())
	}
	a, err := shm.Attach("x", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Unlink(), a.Close()); err != nil {
		t.Error(err)
	}
}
