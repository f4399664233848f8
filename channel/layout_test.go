package channel_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/shiplap-ipc/shiplap/channel"
)

// The bytes of a channel are where docs/layout.md says.
func TestLayout(t *testing.T) {
	d := domain(t)
	a := set[int64](t, d, "c", &channel.Options{Capacity: 4096, Label: "l"})
	b := get[int64](t, d, "c", nil)
	b2 := get[int64](t, d, "c", nil)
	own := closing[int64](t)(channel.GetOwn[int64](d, "c", nil))
	ok(t, own.Close())
	sends(t, a, 11, 12)
	sends(t, b2, 21)
	receives(t, b, 11)
	img, err := os.ReadFile(filepath.Join(d.Dir(), "c"))
	ok(t, err)
	if len(img) != 16384+2*4096 {
		t.Fatalf("%d bytes", len(img))
	}
	u32 := func(off int) uint32 { return binary.LittleEndian.Uint32(img[off:]) }
	u64 := func(off int) uint64 { return binary.LittleEndian.Uint64(img[off:]) }
	members, err := d.Members()
	ok(t, err)
	token := members[0].Token
	slot := int(token & 1023)
	for _, tt := range []struct {
		what      string
		got, want uint64
	}{
		{"kind", uint64(u32(12)), 14},
		{"area", u64(64), 4096},
		{"puts of ring 0", u64(4096 + 520), 2},
		{"gets of ring 0", u64(4096 + 648), 1},
		{"puts of ring 1", u64(4864 + 520), 1},
		{"opens of A", uint64(u32(5632)), 2},
		{"lost of A", uint64(u32(5636)), 0},
		{"opens of B", uint64(u32(5696)), 2},
		{"lost of B", uint64(u32(5700)), 0},
		{"dropped of ring 0", u64(5760), 0},
		{"bitmap", u64(5888 + slot/64*8), 1 << (slot % 64)},
		{"holder token", uint64(u32(8192 + 8*slot)), uint64(token)},
		{"handles", uint64(u32(8192 + 8*slot + 4)), 2<<16 | 1},
		{"first message of ring 0", u64(16384 + 8), 11},
		{"first message of ring 1", u64(16384 + 4096 + 8), 21},
		{"locks", uint64(u32(512)), 4},
		{"events", uint64(u32(1024)), 4},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %#x, %#x is wanted", tt.what, tt.got, tt.want)
		}
	}
	if u64(72) == 0 {
		t.Error("no id")
	}
}
