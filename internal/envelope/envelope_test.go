package envelope

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

func TestRoundTrip(t *testing.T) {
	many := map[string][]byte{}
	for i := range MostKeys {
		many[fmt.Sprint("key", i)] = bytes.Repeat([]byte{byte(i)}, i)
	}
	for _, m := range []map[string][]byte{
		nil, {"traceparent": []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")},
		{"a": {}, "b": nil, "ä": {0}}, many,
		{strings.Repeat("k", LongestKey): make([]byte, MostBytes-headSize-entrySize-LongestKey-3)},
	} {
		b, err := Append([]byte("before"), m)
		if err != nil {
			t.Fatal(err)
		}
		block := b[len("before"):]
		if len(block) != Size(m) || len(block)%align != 0 {
			t.Errorf("%d bytes, %d are announced", len(block), Size(m))
		}
		got, err := Decode(block)
		if err != nil || !maps.EqualFunc(got, m, bytes.Equal) {
			t.Errorf("%v became %v (%v)", m, got, err)
		}
		if len(m) == 0 {
			continue
		}
		if n, err := Len(binary.LittleEndian.Uint64(block), uint64(len(block)+4)); err != nil || n != len(block) {
			t.Errorf("%d, %v", n, err)
		}
		if twice, err := Append(nil, got); err != nil || !bytes.Equal(twice, block) {
			t.Errorf("a second encoding differs (%v)", err)
		}
	}
}

func TestRefused(t *testing.T) {
	many := map[string][]byte{}
	for i := range MostKeys + 1 {
		many[fmt.Sprint(i)] = nil
	}
	for name, tt := range map[string]struct {
		m    map[string][]byte
		want error
	}{
		"no key":    {map[string][]byte{"": nil}, errs.ErrName},
		"long key":  {map[string][]byte{strings.Repeat("k", LongestKey+1): nil}, errs.ErrName},
		"not UTF-8": {map[string][]byte{"\xff": nil}, errs.ErrName},
		"many keys": {many, errs.ErrTooLarge},
		"large":     {map[string][]byte{"k": make([]byte, MostBytes)}, errs.ErrTooLarge},
	} {
		if b, err := Append([]byte("x"), tt.m); !errors.Is(err, tt.want) || string(b) != "x" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

// TestNoEntries: a block of no entries is the same as none.
func TestNoEntries(t *testing.T) {
	if m, err := Decode([]byte{8, 0, 0, 0, 0, 0, 0, 0}); m != nil || err != nil {
		t.Errorf("%v, %v", m, err)
	}
}

// FuzzDecode: whatever a peer writes is decoded, and encodes to the same, or is ErrCorrupt.
func FuzzDecode(f *testing.F) {
	b, _ := Append(nil, map[string][]byte{"a": []byte("1"), "b": nil})
	f.Add(b)
	f.Add(append(b, 1, 2, 3))
	f.Add([]byte{8, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{16, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255, 1, 0, 'k', 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			if !errors.Is(err, errs.ErrCorrupt) || m != nil {
				t.Errorf("%v, %v", m, err)
			}
			return
		}
		again, err := Append(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decode(again); err != nil || !maps.EqualFunc(got, m, bytes.Equal) {
			t.Errorf("%v became %v (%v)", m, got, err)
		}
	})
}
