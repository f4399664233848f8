package sysv

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

func TestFtokBits(t *testing.T) {
	for _, tt := range []struct {
		dev, ino uint64
		id       int
		want     Key
	}{
		{0, 0, 0, 0},
		{0x1234, 0xabcdef12, 'A', 0x4134ef12},
		{math.MaxUint64, math.MaxUint64, -1, -1},
		{0xfd01, 0x10000, 0x1ff, -0xff0000},
	} {
		if got := ftok(tt.dev, tt.ino, tt.id); got != tt.want {
			t.Errorf("%#x %#x %#x: %v, want %v", tt.dev, tt.ino, tt.id, got, tt.want)
		}
	}
}

// Whatever lies in the memory, a string is what stands before the first NUL in bounds, or an error.
func FuzzReadString(f *testing.F) {
	f.Add([]byte("hello\x00world"), int64(0), 0)
	f.Add([]byte("hello"), int64(2), 100)
	f.Add([]byte{}, int64(0), 1)
	f.Add([]byte("a\x00"), int64(-1), 1)
	f.Add([]byte("a\x00"), int64(math.MaxInt64), math.MaxInt)
	f.Fuzz(func(t *testing.T, mem []byte, off int64, max int) {
		got, err := readString(mem, off, max)
		if off < 0 || off > int64(len(mem)) || max < 0 {
			if !errors.Is(err, errs.ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		want := string(mem[off:])
		if max > 0 && max < len(want) {
			want = want[:max]
		}
		want, _, found := strings.Cut(want, "\x00")
		if found != (err == nil) || found && got != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	})
}
