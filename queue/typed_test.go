package queue_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

type fixed struct {
	ID    int64
	Ratio float32
	Good  bool
	Tag   [7]byte
}

type loose struct {
	Name  string
	Parts []int
	More  map[string]float64
}

// through sends a value through a queue of its type in every way.
func through[T any](t *testing.T, d *shiplap.Domain, name string, codec queue.Codec, v T) {
	t.Helper()
	opt := &queue.Options{Capacity: 1 << 16, Codec: codec}
	q, err := queue.Create[T](d, name, opt)
	ok(t, err)
	defer q.Close()
	same, err := queue.Open[T](d, name, opt)
	ok(t, err)
	defer same.Close()
	want := func(what string, got T, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("%s, %s: got %v, put %v (%v)", name, what, got, v, err)
		}
	}
	ok(t, q.Put(bg, v))
	got, err := same.Get(bg)
	want("Get", got, err)
	ok(t, q.TryPut(v))
	got, err = same.TryGet()
	want("TryGet", got, err)
	_, err = q.PutMany(bg, []T{v, v})
	ok(t, err)
	many, err := same.GetMany(bg, 5)
	if err != nil || len(many) != 2 {
		t.Fatalf("%d of 2 (%v)", len(many), err)
	}
	want("GetMany", many[1], nil)
	p, err := q.Producer(bg)
	ok(t, err)
	c, err := same.Consumer(bg)
	ok(t, err)
	ok(t, p.Put(bg, v))
	got, err = c.Get(bg)
	want("Consumer.Get", got, err)
	ok(t, p.TryPut(v))
	ok(t, c.GetInto(bg, &got))
	want("Consumer.GetInto", got, nil)
}

func TestTypes(t *testing.T) {
	d := join(t, shmDir(t))
	through(t, d, "int", queue.Auto, 42)
	through(t, d, "struct", queue.Auto, fixed{7, 0.5, true, [7]byte{1, 2, 3}})
	through(t, d, "bytes", queue.Auto, []byte("abc"))
	through(t, d, "string", queue.Auto, "häh?")
	through(t, d, "cbor", queue.CBOR, loose{"a", []int{1, 2}, map[string]float64{"x": 0.25}})
	through(t, d, "json", queue.JSON, loose{"b", []int{3}, map[string]float64{"y": 1}})
	through(t, d, "auto", queue.Auto, loose{"c", []int{4}, nil})
}

// TestBoolsAreChecked: a byte that is neither true nor false is no bool, whoever put it.
func TestBoolsAreChecked(t *testing.T) {
	d := join(t, shmDir(t))
	q, err := queue.Create[bool](d, "b", nil)
	ok(t, err)
	defer q.Close()
	ok(t, q.Raw().TryPut([]byte{2}))
	ok(t, q.Raw().TryPut([]byte{1, 1}))
	ok(t, q.Raw().TryPut([]byte{1}))
	for range 2 {
		if v, err := q.TryGet(); v {
			t.Errorf("%v, %v", v, err)
		} else {
			is(t, "rubbish", err, shiplap.ErrCorrupt)
		}
	}
	if v, err := q.TryGet(); !v || err != nil {
		t.Errorf("%v, %v", v, err)
	}
}

// TestOtherTypes: opening as another type says what both are.
func TestOtherTypes(t *testing.T) {
	d := join(t, shmDir(t))
	q, err := queue.Create[fixed](d, "q", nil)
	ok(t, err)
	defer q.Close()
	type other struct {
		ID    int64
		Ratio float64
		Good  bool
		Tag   [7]byte
	}
	for name, open := range map[string]func() error{
		"other": func() error { _, err := queue.Open[other](d, "q", nil); return err },
		"int":   func() error { _, err := queue.Open[int64](d, "q", nil); return err },
		"bytes": func() error { _, err := queue.Open[[]byte](d, "q", nil); return err },
		"codec": func() error { _, err := queue.Open[fixed](d, "q", &queue.Options{Codec: queue.JSON}); return err },
	} {
		err := open()
		is(t, name, err, shiplap.ErrIncompatible)
		if err != nil && !strings.Contains(err.Error(), "ID") {
			t.Errorf("%s does not show the type that it has: %v", name, err)
		}
	}
	if _, err := queue.Create[fixed](d, "q", nil); err == nil {
		t.Error("created twice")
	} else {
		is(t, "created twice", err, shiplap.ErrExist)
	}
	raw, err := queue.OpenRaw(d, "q", nil)
	ok(t, err)
	if err := raw.TryPut(bytes.Repeat([]byte{1}, raw.MaxMessage()+1)); err == nil {
		t.Error("too large, and put")
	} else {
		is(t, "too large", err, shiplap.ErrTooLarge)
	}
	ok(t, raw.Close())
	is(t, "closed", raw.Close(), shiplap.ErrClosed)
}
