package message

import (
	"errors"
	"reflect"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

type point struct {
	X, Y float64
	On   bool
}

// there checks that v comes back, one at a time and as one of many.
func there[T any](t *testing.T, codec schema.Codec, v T) {
	t.Helper()
	c, err := New[T](codec)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Append([]byte("x"), v)
	if err != nil {
		t.Fatal(err)
	}
	var got T
	if err := c.Decode(b[1:], &got); err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("%v: %+v came back as %+v (%v)", c.Desc, v, got, err)
	}
	many, err := c.Many([]T{v, v})
	if err != nil || len(many) != 2 {
		t.Fatalf("%v: many are %q (%v)", c.Desc, many, err)
	}
	var second T
	if err := c.Decode(many[1], &second); err != nil || !reflect.DeepEqual(second, v) {
		t.Errorf("%v: of many, %+v came back as %+v (%v)", c.Desc, v, second, err)
	}
	if err := c.Matches(c.Desc.Text, c.Desc.Hash); err != nil {
		t.Error(err)
	}
}

func TestThereAndBack(t *testing.T) {
	there(t, schema.Auto, point{1, 2, true})
	there(t, schema.Auto, []byte("bytes"))
	there(t, schema.Auto, "text")
	there(t, schema.Raw, "text")
	there(t, schema.JSON, point{1, 2, true})
	there(t, schema.Auto, map[string][]int{"a": {1, 2}})
	there(t, schema.Auto, uint16(7))
}

func TestRefusals(t *testing.T) {
	p, err := New[point](schema.Auto)
	if err != nil {
		t.Fatal(err)
	}
	var v point
	b, _ := p.Append(nil, point{1, 2, true})
	b[16] = 7
	for _, bad := range [][]byte{b, b[:5], nil} {
		if err := p.Decode(bad, &v); !errors.Is(err, errs.ErrCorrupt) || v != (point{}) {
			t.Errorf("%x: %v, %+v", bad, err, v)
		}
	}
	n, err := New[int](schema.Auto)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Matches(n.Desc.Text, n.Desc.Hash); !errors.Is(err, errs.ErrIncompatible) {
		t.Error(err)
	}
	if err := p.Matches(n.Desc.Text, 1); !errors.Is(err, errs.ErrCorrupt) {
		t.Error(err)
	}
	if err := p.Matches("nonsense", 1); err == nil {
		t.Error("nonsense matches")
	}
	if _, err := New[chan int](schema.Auto); err == nil {
		t.Error("a channel has a codec")
	}
	c, err := New[any](schema.Auto)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Append(nil, make(chan int)); err == nil {
		t.Error("a channel was encoded")
	}
	if _, err := c.Many([]any{1, make(chan int)}); err == nil {
		t.Error("a channel was encoded among many")
	}
}
