package pymp

import (
	"errors"
	"math"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// A pickle that Python cannot load is not made.
func TestUnhashable(t *testing.T) {
	type point struct{ X, Y int }
	for name, v := range map[string]any{
		"list as key":        map[[2]int]string{{1, 2}: "a"},
		"dict as key":        map[point]int{{1, 2}: 3},
		"list in a set":      Set{[]any{1}},
		"dict in a set":      FrozenSet{NewDict()},
		"bytearray in a set": Set{ByteArray("a")},
		"deeper":             []any{map[string]any{"a": Set{Tuple{[]any{}}}}},
		"one and true":       map[any]any{1: "a", true: "b"},
		"one and 1.0":        map[any]any{1: "a", 1.0: "b"},
	} {
		if b, err := EncodePickle(v, nil); !errors.Is(err, errs.ErrIncompatible) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	type name string
	for _, v := range []any{
		Set{1, "a", Tuple{1, "b"}, name("c"), int8(3), [2]byte{1, 2}}, map[name]int{"a": 1}, map[float32]bool{0.5: true},
		map[any]int{int8(1): 1, "1": 2, uint16(7): 3}, map[[2]byte]int{{1, 2}: 3},
	} {
		if _, err := EncodePickle(v, nil); err != nil {
			t.Errorf("%#v: %v", v, err)
		}
	}
}

// Keys count as what they are written as.
func TestKeysOfGoTypes(t *testing.T) {
	type name string
	d := NewDict()
	for i, k := range []any{int32(1), uint8(2), float32(0.5), name("a"), [2]byte{1, 2}} {
		if err := d.Set(k, i); err != nil {
			t.Errorf("%T: %v", k, err)
		}
	}
	for _, k := range []any{1, 2.0, 0.5, "a", []byte{1, 2}} {
		if _, ok := d.Get(k); !ok {
			t.Errorf("no %v", k)
		}
	}
	if err := d.Set([]any{1}, 1); !errors.Is(err, errs.ErrIncompatible) || errors.Is(err, ErrPickle) {
		t.Errorf("a list: %v", err)
	}
	other := math.Float64frombits(math.Float64bits(math.NaN()) + 1)
	for _, k := range []any{Tuple{math.NaN()}, Tuple{math.NaN()}, Tuple{other}, complex(other, 1), complex(math.NaN(), 1)} {
		if err := d.Set(k, 0); err != nil {
			t.Error(err)
		}
	}
	if d.Len() != 10 {
		t.Errorf("%d entries, no two NaNs are equal", d.Len())
	}
}
