package mem

import (
	"bytes"
	"testing"
)

func TestBytesByWords(t *testing.T) {
	s := NewHeap(Part{Len: 128}).Span(0)
	src := make([]byte, 64)
	for i := range src {
		src[i] = byte(i + 1)
	}
	for n := range len(src) + 1 {
		clear(s.Bytes(0, 128))
		s.StoreBytes(16, src[:n])
		dst := make([]byte, n)
		s.LoadBytes(dst, 16)
		if !bytes.Equal(dst, src[:n]) || !s.EqualString(16, string(src[:n])) {
			t.Errorf("%d bytes: %x", n, dst)
		}
		if !bytes.Equal(s.Bytes(0, 16), make([]byte, 16)) || !bytes.Equal(s.Bytes(16+(n+7)/8*8, 8), make([]byte, 8)) {
			t.Errorf("%d bytes: written beside them", n)
		}
		clear(s.Bytes(0, 128))
		s.StoreString(16, string(src[:n]))
		for i := range n {
			if !s.EqualString(16, string(src[:n])) {
				t.Errorf("string of %d bytes", n)
			}
			s.Bytes(16+i, 1)[0]++
			if s.EqualString(16, string(src[:n])) {
				t.Errorf("byte %d of %d differs", i, n)
			}
			s.Bytes(16+i, 1)[0]--
		}
	}
	for _, f := range []func(){
		func() { s.LoadBytes(make([]byte, 8), 4) },
		func() { s.StoreBytes(4, make([]byte, 8)) },
		func() { s.StoreString(4, "x") },
		func() { s.EqualString(4, "x") },
		func() { s.LoadBytes(make([]byte, 200), 0) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		}()
	}
}
