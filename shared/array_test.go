package shared_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/shared"
)

func TestArray(t *testing.T) {
	d := domain(t)
	a := array[int32](t, d, "a", nil, 4, 5, 3)
	for i := range 4 {
		for j := range 5 {
			for k := range 3 {
				ok(t, a.Set(int32(100*i+10*j+k), i, j, k))
			}
		}
	}
	b := closing[*shared.Array[int32]](t)(shared.OpenArray[int32](d, "a"))
	if !reflect.DeepEqual(b.Shape(), []int{4, 5, 3}) || b.Len() != 60 || b.FrameCount() != 1 || b.DType() != "'<i4'" {
		t.Errorf("%v", b)
	}
	if x, err := b.At(3, 4, 2); err != nil || x != 342 {
		t.Error(x, err)
	}
	for _, i := range [][]int{{4, 0, 0}, {0, 5, 0}, {0, 0, -1}, {1, 2}, {}, {0, 0, 0, 0}} {
		if _, err := b.At(i...); err == nil || !strings.Contains(err.Error(), "no element") {
			t.Errorf("%v: %v", i, err)
		}
		if err := b.Set(1, i...); err == nil {
			t.Errorf("%v was set", i)
		}
	}
	all := make([]int32, 60)
	ok(t, b.Snapshot(bg, all))
	if all[59] != 342 || all[3] != 10 {
		t.Error(all)
	}
	all[0] = -1
	ok(t, a.Replace(bg, all))
	s, release, err := b.Slice()
	ok(t, err)
	s[1] = -2
	if x, err := a.At(0, 0, 0); err != nil || x != -1 {
		t.Error(x, err)
	}
	if x, err := a.At(0, 0, 1); err != nil || x != -2 {
		t.Error(x, err)
	}
	ok(t, b.Close())
	s[2]++ // still mapped
	release()
	is(t, "short", a.Snapshot(bg, all[1:]), shiplap.ErrIncompatible)
	is(t, "long", a.Replace(bg, make([]int32, 61)), shiplap.ErrIncompatible)
	_, err = a.Latest(all)
	is(t, "latest of a plain array", err, shiplap.ErrUnsupported)
	_, err = a.Publish(bg, func([]int32) error { return nil })
	is(t, "publish into a plain array", err, shiplap.ErrUnsupported)
	if s := a.String(); s != `array "a" of 4×5×3 fixed:<i4` {
		t.Error(s)
	}
	ok(t, d.Remove(bg, "a"))
	_, err = a.At(0, 0, 0)
	is(t, "at", err, shiplap.ErrRemoved)
	is(t, "set", a.Set(1, 0, 0, 0), shiplap.ErrRemoved)
	is(t, "snapshot", a.Snapshot(bg, all), shiplap.ErrRemoved)
	is(t, "replace", a.Replace(bg, all), shiplap.ErrRemoved)
}

func TestElements(t *testing.T) {
	d := domain(t)
	elements(t, d, blockOf(7), blockOf(8))
	elements(t, d, true, false)
	elements(t, d, uint64(1<<63), 5)
	elements(t, d, [4]byte{1, 2, 3, 4}, [4]byte{9})
	elements(t, d, complex64(3), 5i)
}

func elements[T comparable](t *testing.T, d *shiplap.Domain, x, y T) {
	t.Helper()
	a := array[T](t, d, fmt.Sprintf("%T", x), nil, 3, 3)
	ok(t, a.Set(x, 1, 1))
	ok(t, a.Set(y, 2, 2))
	for i := range 3 {
		want := []T{*new(T), x, y}[i]
		if got, err := a.At(i, i); err != nil || got != want {
			t.Error(got, err)
		}
	}
	v, err := a.Pin()
	ok(t, err)
	defer v.Release()
	if v.At(1, 1) != x || *v.Ptr(2, 2) != y {
		t.Errorf("%v", v)
	}
}

func TestShapes(t *testing.T) {
	d := domain(t)
	for _, tt := range []struct {
		shape  []int
		frames int
		good   bool
	}{
		{[]int{1}, 0, true}, {[]int{1, 2, 1, 2, 1, 2, 1}, 3, true},
		{nil, 1, false}, {[]int{0}, 1, false}, {[]int{-1}, 1, false}, {[]int{1, 1, 1, 1, 1, 1, 1, 1}, 1, false},
		{[]int{1 << 40}, 1, false}, {[]int{1 << 62, 4}, 1, false}, {[]int{1 << 31, 1 << 31, 1 << 31}, 1, false},
		{[]int{1 << 35}, 1 << 16, false}, {[]int{1}, 1<<16 + 1, false}, {[]int{1}, -1 << 40, true}, // less than 1 is 1
	} {
		a, err := shared.CreateArray[int64](d, "a", tt.shape, &shared.ArrayOptions{Frames: tt.frames})
		if tt.good {
			ok(t, err)
			ok(t, a.Close())
			ok(t, d.Remove(bg, "a"))
		} else {
			is(t, fmt.Sprint(tt.shape), err, shiplap.ErrTooLarge)
		}
	}
	array[int64](t, d, "a", nil, 2, 3)
	array[int64](t, d, "framed", &shared.ArrayOptions{Frames: 3}, 2, 3)
	for what, tt := range map[string]struct {
		err  error
		text string
	}{
		"type":   {second(shared.OpenArray[float64](d, "a")), "elements are fixed:<i8, wanted fixed:<f8"},
		"shape":  {second(shared.OpenArrayShape[int64](d, "a", []int{3, 2})), "its shape is 2×3, wanted 3×2"},
		"dims":   {second(shared.OpenArrayShape[int64](d, "a", []int{6})), "wanted 6"},
		"either": {second(shared.OpenOrCreateArray[int64](d, "a", []int{6}, nil)), "wanted 6"},
		"frames": {second(shared.OpenOrCreateArray[int64](d, "a", []int{2, 3}, &shared.ArrayOptions{Frames: 2})), "1 frames, wanted 2"},
		"plain":  {second(shared.OpenOrCreateArray[int64](d, "framed", []int{2, 3}, nil)), "3 frames, wanted 1"},
	} {
		if !errors.Is(tt.err, shiplap.ErrIncompatible) || !strings.Contains(tt.err.Error(), tt.text) {
			t.Errorf("%s: %v", what, tt.err)
		}
	}
	b := closing[*shared.Array[int64]](t)(shared.OpenOrCreateArray[int64](d, "new", []int{2}, &shared.ArrayOptions{Ephemeral: true, Frames: 4}))
	closing[*shared.Array[int64]](t)(shared.OpenOrCreateArray[int64](d, "new", []int{2}, &shared.ArrayOptions{Frames: 9}))
	if b.FrameCount() != 4 {
		t.Error(b)
	}
	for _, err := range []error{b.Set(1, 0), second(b.At(0)), second(b.Pin()), b.Snapshot(bg, make([]int64, 2)), b.Replace(bg, make([]int64, 2))} {
		is(t, "in place in an array of frames", err, shiplap.ErrUnsupported)
	}
}

func TestView(t *testing.T) {
	d := domain(t)
	a := array[int](t, d, "a", nil, 4, 6)
	v, err := a.Pin()
	ok(t, err)
	defer v.Release()
	for i, p := range v.All() {
		*p = 10*i[0] + i[1]
	}
	check := func(what string, v *shared.View[int], shape []int, want ...int) {
		t.Helper()
		got := make([]int, v.Len())
		ok(t, v.CopyTo(got))
		if !reflect.DeepEqual(v.Shape(), shape) || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v %v; %v %v is wanted", what, v.Shape(), got, shape, want)
		}
		n := 0
		for i, p := range v.All() {
			if *p != want[n] || v.At(i...) != want[n] {
				t.Errorf("%s: element %v is %d and %d", what, i, *p, v.At(i...))
			}
			n++
		}
		flat, contiguous := v.Contiguous()
		if contiguous && fmt.Sprint(flat) != fmt.Sprint(want) {
			t.Errorf("%s: contiguous %v", what, flat)
		}
	}
	check("row", v.Sub(2), []int{6}, 20, 21, 22, 23, 24, 25)
	check("rows", v.Slice(0, 1, 3, 1), []int{2, 6}, 10, 11, 12, 13, 14, 15, 20, 21, 22, 23, 24, 25)
	check("columns", v.Slice(1, 1, 3, 1), []int{4, 2}, 1, 2, 11, 12, 21, 22, 31, 32)
	check("every other", v.Slice(1, 0, 6, 2).Slice(0, 0, 4, 3), []int{2, 3}, 0, 2, 4, 30, 32, 34)
	check("odd step", v.Sub(0).Slice(0, 1, 6, 3), []int{2}, 1, 4)
	check("backwards", v.Sub(1).Slice(0, 0, 6, -1), []int{6}, 15, 14, 13, 12, 11, 10)
	check("backwards in twos", v.Sub(1).Slice(0, 1, 5, -2), []int{2}, 14, 12)
	check("column", v.Transpose().Sub(3), []int{4}, 3, 13, 23, 33)
	check("transposed", v.Slice(0, 0, 2, 1).Slice(1, 0, 3, 1).Transpose(), []int{3, 2}, 0, 10, 1, 11, 2, 12)
	check("same axes", v.Slice(0, 0, 1, 1).Transpose(0, 1), []int{1, 6}, 0, 1, 2, 3, 4, 5)
	check("nothing", v.Slice(0, 2, 2, 1), []int{0, 6})
	check("nothing backwards", v.Slice(1, 0, 0, -1), []int{4, 0})
	if _, contiguous := v.Slice(0, 1, 3, 1).Contiguous(); !contiguous {
		t.Error("two rows are not contiguous")
	}
	if _, contiguous := v.Slice(1, 1, 3, 1).Contiguous(); contiguous {
		t.Error("two columns are contiguous")
	}
	if s := v.Transpose().Strides(); s[0] != 1 || s[1] != 6 {
		t.Error(s)
	}
	ok(t, v.Slice(1, 0, 6, 5).CopyFrom([]int{1, 2, 3, 4, 5, 6, 7, 8}))
	check("copied", v.Slice(1, 0, 6, 5), []int{4, 2}, 1, 2, 3, 4, 5, 6, 7, 8)
	ok(t, v.Sub(0).Fill(9))
	ok(t, v.Sub(1).CopyFrom([]int{9, 9, 9, 9, 9, 9}))
	check("filled", v.Slice(0, 0, 2, 1), []int{2, 6}, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9)
	is(t, "too few", v.CopyTo(make([]int, 3)), shiplap.ErrIncompatible)
	is(t, "too many", v.CopyFrom(make([]int, 30)), shiplap.ErrIncompatible)
	for what, f := range map[string]func(){
		"index": func() { v.At(4, 0) }, "negative": func() { v.At(0, -1) }, "one index": func() { v.At(1) }, "sub": func() { v.Sub(4) },
		"sub too deep": func() { v.Sub(1, 1) }, "slice": func() { v.Slice(0, 0, 5, 1) }, "no step": func() { v.Slice(0, 0, 4, 0) },
		"dimension": func() { v.Slice(2, 0, 1, 1) }, "axes": func() { v.Transpose(0, 0) }, "one axis": func() { v.Transpose(1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", what)
				}
			}()
			f()
		}()
	}
	w := v.Sub(1)
	v.Release()
	defer func() {
		if recover() == nil {
			t.Error("used after Release")
		}
	}()
	w.At(0)
}

func TestReadAt(t *testing.T) {
	d := domain(t)
	a := array[uint16](t, d, "a", nil, 4).Raw()
	n, err := a.WriteAt([]byte{1, 2, 3}, 5)
	if n != 3 || err != nil {
		t.Error(n, err)
	}
	b, err := io.ReadAll(io.NewSectionReader(a, 0, 100))
	if err != nil || string(b) != "\x00\x00\x00\x00\x00\x01\x02\x03" {
		t.Errorf("%q, %v", b, err)
	}
	for _, off := range []int64{-1, 9, 1 << 62} {
		if n, err := a.ReadAt(b, off); n != 0 || err == nil {
			t.Error(n, err)
		}
		if n, err := a.WriteAt(b, off); n != 0 || err == nil {
			t.Error(n, err)
		}
	}
	if n, err := a.WriteAt(b, 1); n != 0 || err == nil {
		t.Error(n, err)
	}
}

func filled(n int) func([]int) error {
	return func(f []int) error {
		for i := range f {
			f[i] = n
		}
		return nil
	}
}

func same(f []int) (int, error) {
	for i := range f {
		if f[i] != f[0] {
			return 0, fmt.Errorf("torn: element 0 is %d, element %d is %d", f[0], i, f[i])
		}
	}
	return f[0], nil
}

func TestFrames(t *testing.T) {
	d := domain(t)
	a := array[int](t, d, "a", &shared.ArrayOptions{Frames: 2}, 10, 100)
	dst := make([]int, 1000)
	_, err := a.Latest(dst)
	is(t, "nothing published", err, shiplap.ErrEmpty)
	is(t, "nothing to view", a.View(func([]int, uint64) error { return nil }), shiplap.ErrEmpty)
	for n := 1; n <= 5; n++ {
		v, err := a.Publish(bg, filled(n))
		if err != nil || v != uint64(n) {
			t.Error(v, err)
		}
		v, err = a.Latest(dst)
		if x, e := same(dst); err != nil || e != nil || v != uint64(n) || x != n {
			t.Error(v, x, err, e)
		}
	}
	no := errors.New("no")
	_, err = a.Publish(bg, func(f []int) error { f[0] = 77; return no })
	is(t, "refused", err, no)
	func() {
		defer func() { _ = recover() }()
		_, _ = a.Publish(bg, func(f []int) error { panic(1) })
	}()
	if v, err := a.Latest(dst); err != nil || v != 5 || dst[0] != 5 {
		t.Error(v, err)
	}
	ok(t, a.View(func(f []int, v uint64) error {
		if x, err := same(f); err != nil || x != 5 || v != 5 {
			t.Error(x, v, err)
		}
		return nil
	}))
	// With two frames, one more publication endangers the one that is looked at.
	is(t, "overtaken", a.View(func([]int, uint64) error { return second(a.Publish(bg, filled(6))) }), shiplap.ErrConflict)
	b := array[int](t, d, "b", &shared.ArrayOptions{Frames: 4}, 10)
	for range 9 {
		ok(t, second(b.Publish(bg, filled(1))))
	}
	two := func([]int, uint64) error {
		return errors.Join(second(b.Publish(bg, filled(6))), second(b.Publish(bg, filled(6))))
	}
	ok(t, b.View(two))
	is(t, "overtaken by three of four", b.View(func(f []int, v uint64) error {
		return errors.Join(two(f, v), second(b.Publish(bg, filled(6))))
	}), shiplap.ErrConflict)
	if s := a.String(); !strings.Contains(s, "2 frames") {
		t.Error(s)
	}
	if s, err := a.Stats(); err != nil || s.Version != 6 {
		t.Error(s, err)
	}
}

func TestWatch(t *testing.T) {
	d := domain(t)
	a := array[int](t, d, "a", &shared.ArrayOptions{Frames: 3}, 1000)
	const n = 300
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			last := uint64(0)
			for f, err := range a.Frames(ctx) {
				if err != nil {
					t.Error(err)
					return
				}
				x, err := same(f.Data)
				if err != nil || f.Version <= last || x != int(f.Version) {
					t.Errorf("frame %d of %d after %d: %v", f.Version, x, last, err)
				}
				if last = f.Version; last == n {
					return
				}
			}
		})
	}
	for i := range n {
		ok(t, second(a.Publish(bg, filled(i+1))))
	}
	wg.Wait()
	if v, err := a.Watch(bg, n-1); err != nil || v != n {
		t.Error(v, err)
	}
	short, stop := context.WithTimeout(bg, time.Millisecond)
	defer stop()
	_, err := a.Watch(short, n)
	is(t, "none newer", err, context.DeadlineExceeded)
	cancel()
	for _, err := range a.Frames(ctx) {
		is(t, "cancelled", err, context.Canceled)
	}
	wg.Go(func() { is(t, "closed", second(a.Watch(bg, n)), shiplap.ErrClosed) })
	ok(t, a.Close())
	wg.Wait()
}

func TestArrayLock(t *testing.T) {
	d := domain(t)
	a := array[int](t, d, "a", nil, 3)
	ok(t, a.Lock(bg))
	ctx, cancel := context.WithTimeout(bg, time.Millisecond)
	defer cancel()
	b := closing[*shared.Array[int]](t)(shared.OpenArray[int](d, "a"))
	is(t, "snapshot of a locked array", b.Snapshot(ctx, make([]int, 3)), context.DeadlineExceeded)
	is(t, "replace of a locked array", b.Replace(ctx, make([]int, 3)), context.DeadlineExceeded)
	ok(t, b.Set(5, 0)) // no call but these needs the lock
	ok(t, a.Unlock())
	ok(t, b.Snapshot(bg, make([]int, 3)))
	u := array[int](t, d, "u", &shared.ArrayOptions{Unlocked: true, Label: "no lock"}, 3)
	is(t, "lock", u.Lock(bg), shiplap.ErrUnsupported)
	is(t, "snapshot", u.Snapshot(bg, make([]int, 3)), shiplap.ErrUnsupported)
	locks, err := d.Locks("u")
	if err != nil || len(locks) != 1 || locks[0].Lock != "writer" {
		t.Error(locks, err)
	}
}
