package mem

import "testing"

func TestSliceOf(t *testing.T) {
	b := NewHeap(Part{Len: 64}).Span(0).Bytes(0, 64)
	v := SliceOf[uint32](b[8:24])
	v[3] = 0x01020304
	if len(v) != 4 || b[20]+b[23] != 5 || len(SliceOf[uint64](nil)) != 0 {
		t.Errorf("%v, %v", v, b)
	}
	if back := BytesOf(v); len(back) != 16 || &back[0] != &b[8] || len(BytesOf[int64](nil)) != 0 {
		t.Error("the bytes are others")
	}
	for what, f := range map[string]func(){
		"unaligned": func() { SliceOf[uint32](b[2:6]) },
		"a part":    func() { SliceOf[uint64](b[:12]) },
		"no size":   func() { SliceOf[struct{}](b) },
	} {
		if !panics(f) {
			t.Errorf("%s: no panic", what)
		}
	}
}
