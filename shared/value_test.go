package shared_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/shared"
)

// block is larger than a word, has padding and a bool; block n is made of n alone.
type block struct {
	A  uint8
	B  uint64
	C  [5]int32
	D  struct{ X, Y float64 }
	Ok bool
}

func blockOf(n int) block {
	b := block{A: uint8(n), B: uint64(n) * 3, Ok: n%2 == 0}
	for i := range b.C {
		b.C[i] = int32(n + i)
	}
	b.D.X, b.D.Y = float64(n), -float64(n)
	return b
}

func (b block) n() int { return int(b.B / 3) }

func words[T comparable](t *testing.T, a, b, c T) {
	t.Helper()
	d := domain(t)
	v := value(t, d, "v", a)
	get := func(want T) {
		t.Helper()
		if got, err := v.Load(); err != nil || got != want {
			t.Errorf("%v, %v; %v is wanted", got, err, want)
		}
	}
	get(a)
	ok(t, v.Store(bg, b))
	get(b)
	if old, err := v.Swap(bg, c); err != nil || old != b {
		t.Errorf("swap: %v, %v", old, err)
	}
	get(c)
	if done, err := v.CompareAndSwap(bg, b, a); err != nil || done {
		t.Errorf("compare with another: %v, %v", done, err)
	}
	if done, err := v.CompareAndSwap(bg, c, a); err != nil || !done {
		t.Errorf("compare: %v, %v", done, err)
	}
	get(a)
	if got, err := v.Update(bg, func(p *T) error {
		if *p != a {
			t.Errorf("update sees %v", *p)
		}
		*p = b
		return nil
	}); err != nil || got != b {
		t.Errorf("update: %v, %v", got, err)
	}
	get(b)
	no := errors.New("no")
	_, err := v.Update(bg, func(p *T) error { *p = c; return no })
	is(t, "update that refuses", err, no)
	get(b)
	func() {
		defer func() {
			if r := recover(); r != "oops" {
				t.Errorf("recovered %v", r)
			}
		}()
		_, _ = v.Update(bg, func(p *T) error { *p = c; panic("oops") })
	}()
	get(b)
	ok(t, v.Store(soon(t), c)) // the lock is free again

	w := closing[*shared.Value[T]](t)(shared.OpenValue[T](d, "v"))
	if got, err := w.Load(); err != nil || got != c {
		t.Errorf("another handle: %v, %v", got, err)
	}
	ok(t, w.Close())
	is(t, "closed twice", w.Close(), shiplap.ErrClosed)
	_, err = w.Load()
	is(t, "closed", err, shiplap.ErrClosed)
	ok(t, d.Remove(bg, "v"))
	for name, err := range map[string]error{
		"load": func() error { _, err := v.Load(); return err }(), "store": v.Store(bg, a),
		"update": func() error { _, err := v.Update(bg, func(*T) error { return nil }); return err }(),
	} {
		is(t, name+" of a removed value", err, shiplap.ErrRemoved)
	}
}

func TestValues(t *testing.T) {
	type celsius float32
	for name, f := range map[string]func(*testing.T){
		"int8":    func(t *testing.T) { words[int8](t, -1, 2, math.MinInt8) },
		"bool":    func(t *testing.T) { words(t, true, false, true) },
		"uint16":  func(t *testing.T) { words[uint16](t, 1, 65535, 7) },
		"int32":   func(t *testing.T) { words[int32](t, -1, 2, 3) },
		"celsius": func(t *testing.T) { words[celsius](t, -1.5, 2, 3) },
		"int":     func(t *testing.T) { words(t, -1, 2, math.MinInt64) },
		"uint64":  func(t *testing.T) { words[uint64](t, 1, math.MaxUint64, 3) },
		"float64": func(t *testing.T) { words(t, 1, math.Inf(-1), 1e-300) },
		"complex": func(t *testing.T) { words[complex64](t, 1, 2i, 3) },
		"small":   func(t *testing.T) { words(t, [3]byte{1}, [3]byte{2}, [3]byte{3}) },
		"block":   func(t *testing.T) { words(t, blockOf(1), blockOf(2), blockOf(3)) },
		"large":   func(t *testing.T) { words(t, [5000]int64{4999: 1}, [5000]int64{4999: 2}, [5000]int64{}) },
	} {
		t.Run(name, f)
	}
}

func adds[T shared.Number](t *testing.T, a, delta, want T) {
	t.Helper()
	v := value(t, domain(t), "v", a)
	if got, err := shared.Add(v, delta); err != nil || got != want {
		t.Errorf("%v + %v is %v, %v", a, delta, got, err)
	}
	if got, err := v.Load(); err != nil || got != want {
		t.Errorf("%v + %v became %v, %v", a, delta, got, err)
	}
}

func TestAdd(t *testing.T) {
	adds[int8](t, 127, 1, -128)
	adds[uint16](t, 65535, 2, 1)
	adds[int32](t, math.MaxInt32, 1, math.MinInt32)
	adds[uint32](t, 5, 7, 12)
	adds(t, 5, -7, -2)
	adds[uintptr](t, 5, 7, 12)
	adds[float32](t, 0.5, 0.25, 0.75)
	adds(t, 0.5, -2.25, -1.75)
}

// What the padding holds plays no part.
func TestPadding(t *testing.T) {
	d := domain(t)
	v := value(t, d, "v", blockOf(1))
	f, err := os.OpenFile(filepath.Join(d.Dir(), "v"), os.O_RDWR, 0)
	ok(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte{0xff, 0xff}, 4608+3)
	ok(t, err)
	done, err := v.CompareAndSwap(bg, blockOf(1), blockOf(2))
	if err != nil || !done {
		t.Error(done, err)
	}
	if got, err := v.Load(); err != nil || got != blockOf(2) {
		t.Error(got, err)
	}
	var b [7]byte
	_, err = f.ReadAt(b[:], 4608+64+1) // version 1 stands in slot 1
	ok(t, err)
	if b != [7]byte{} {
		t.Errorf("padding is % x", b)
	}
}

func TestWrongTypes(t *testing.T) {
	d := domain(t)
	value(t, d, "int32", int32(1))
	array[int32](t, d, "array", nil, 3)
	type pointers struct {
		A int
		P *int
	}
	for name, tt := range map[string]struct {
		err  error
		want error
		text string
	}{
		"float":    {second(shared.OpenValue[float32](d, "int32")), shiplap.ErrIncompatible, "elements are fixed:<i4, wanted fixed:<f4"},
		"unsigned": {second(shared.OpenValue[uint32](d, "int32")), shiplap.ErrIncompatible, "<u4"},
		"larger":   {second(shared.OpenValue[int64](d, "int32")), shiplap.ErrIncompatible, "<i8"},
		"array":    {second(shared.OpenValue[int32](d, "array")), shiplap.ErrIncompatible, "is an array, not a value"},
		"value":    {second(shared.OpenArray[int32](d, "int32")), shiplap.ErrIncompatible, "is a value, not an array"},
		"none":     {second(shared.OpenValue[int32](d, "none")), shiplap.ErrNotExist, "none"},
		"taken":    {second(shared.CreateValue(d, "int32", 1, nil)), shiplap.ErrExist, "int32"},
		"pointer":  {second(shared.CreateValue(d, "p", pointers{}, nil)), nil, "field P is a pointer"},
		"string":   {second(shared.CreateValue(d, "p", "text", nil)), nil, "not of fixed layout"},
		"slice":    {second(shared.OpenValue[[]byte](d, "int32")), nil, "not of fixed layout"},
		"empty":    {second(shared.CreateValue(d, "p", struct{}{}, nil)), nil, "no bytes"},
		"elements": {second(shared.CreateArray[*int](d, "p", []int{3}, nil)), nil, "a pointer"},
		"raw":      {second(shared.CreateRawValue(d, "p", "fixed:<i5", nil, nil)), shiplap.ErrCorrupt, "no type"},
		"raw size": {second(shared.CreateRawValue(d, "p", "fixed:<i4", []byte{1}, nil)), shiplap.ErrIncompatible, "1 bytes for an element of 4"},
		"raw bool": {second(shared.CreateRawValue(d, "p", "fixed:|b1", []byte{2}, nil)), shiplap.ErrCorrupt, "bool with value 2"},
		"bytes":    {second(shared.CreateRawArray(d, "p", "bytes", []int{3}, nil)), shiplap.ErrIncompatible, "no fixed layout"},
		"label":    {second(shared.CreateValue(d, "p", 1, &shared.Options{Label: strings.Repeat("x", 300)})), shiplap.ErrTooLarge, "label"},
	} {
		if tt.err == nil || tt.want != nil && !errors.Is(tt.err, tt.want) || !strings.Contains(tt.err.Error(), tt.text) {
			t.Errorf("%s: %v; %v and %q are wanted", name, tt.err, tt.want, tt.text)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestOpenOrCreateValue(t *testing.T) {
	d := domain(t)
	a := closing[*shared.Value[int]](t)(shared.OpenOrCreateValue(d, "v", 5, &shared.Options{Ephemeral: true}))
	b := closing[*shared.Value[int]](t)(shared.OpenOrCreateValue(d, "v", 7, nil))
	ok(t, a.Store(bg, 6))
	if got, err := b.Load(); err != nil || got != 6 {
		t.Error(got, err)
	}
	if s := b.String(); s != `value "v" of fixed:<i8` || b.Name() != "v" || b.Type() != "fixed:<i8" {
		t.Error(s)
	}
	ok(t, a.Close())
	ok(t, b.Close())
	_, err := shared.OpenValue[int](d, "v")
	is(t, "after its last user", err, shiplap.ErrNotExist)
}

func TestValueLock(t *testing.T) {
	d := domain(t)
	v := value(t, d, "v", 1)
	w := closing[*shared.Value[int]](t)(shared.OpenValue[int](d, "v"))
	is(t, "unlock of a free lock", v.Unlock(), shiplap.ErrConflict)
	ok(t, v.Lock(bg))
	is(t, "try of a held lock", w.TryLock(), shiplap.ErrBusy)
	if _, err := v.Update(soon(t), func(n *int) error { *n++; return nil }); err != nil {
		t.Errorf("update inside the lock: %v", err)
	}
	s, err := v.Stats()
	ok(t, err)
	if s.Lock == nil || s.Lock.Holder != os.Getpid() || s.Writer.Holder != 0 {
		t.Errorf("%+v", s)
	}
	ok(t, v.Unlock())
	ok(t, w.TryLock())
	ok(t, w.Close())
	ok(t, w.Unlock()) // a hold outlives the handle

	u := closing[*shared.Value[int]](t)(shared.CreateValue(d, "u", 1, &shared.Options{Unlocked: true}))
	for _, err := range []error{u.Lock(bg), u.TryLock(), u.Unlock(), u.Repaired()} {
		is(t, "without a lock", err, shiplap.ErrUnsupported)
	}
	if _, err := u.Update(bg, func(n *int) error { *n++; return nil }); err != nil {
		t.Error(err)
	}
	if s, err := u.Stats(); err != nil || s.Lock != nil {
		t.Error(s, err)
	}
}

func TestWord(t *testing.T) {
	d := domain(t)
	pinned(t, d, "int64", int64(5))
	pinned(t, d, "int32", int32(5))
	pinned(t, d, "uint", uint(5))
	pinned(t, d, "uint32", uint32(5))
}

func pinned[T shared.Integer](t *testing.T, d *shiplap.Domain, name string, five T) {
	v := value(t, d, name, five)
	w, err := shared.Pin(v)
	ok(t, err)
	defer w.Release()
	ok(t, v.Close())
	if w.Load() != five || w.Swap(6) != five || w.Add(1) != 7 || w.CompareAndSwap(6, 1) || !w.CompareAndSwap(7, 1) || w.Add(five-7) != five-6 {
		t.Errorf("%s: %v", name, w.Load())
	}
	w.Store(9)
	again := closing[*shared.Value[T]](t)(shared.OpenValue[T](d, name))
	if got, err := again.Load(); err != nil || got != 9 {
		t.Error(got, err)
	}
	ok(t, w.Wake())
	w.Release()
	w.Release()
	ok(t, again.Close())
	_, err = shared.Pin(again)
	is(t, "pin of a closed handle", err, shiplap.ErrClosed)
}

func TestWaitUntil(t *testing.T) {
	d := domain(t)
	v, b := value(t, d, "v", 0), value(t, d, "b", blockOf(0))
	const n = 200
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := 1; i <= n; i++ {
				if got, err := v.WaitUntil(soon(t), func(x int) bool { return x >= i }); err != nil || got < i {
					t.Error(got, err)
					return
				}
			}
		})
		wg.Go(func() {
			for i := 1; i <= n; i++ {
				got, err := b.WaitUntil(soon(t), func(x block) bool { return x.n() >= i })
				if err != nil || got != blockOf(got.n()) {
					t.Error(got, err)
					return
				}
			}
		})
	}
	for i := range n {
		if _, err := shared.Add(v, 1); err != nil {
			t.Error(err)
		}
		ok(t, b.Store(bg, blockOf(i+1)))
	}
	wg.Wait()

	ctx, cancel := context.WithTimeout(bg, time.Millisecond)
	defer cancel()
	_, err := v.WaitUntil(ctx, func(int) bool { return false })
	is(t, "wait for ever", err, context.DeadlineExceeded)
	var entered sync.WaitGroup
	entered.Add(2)
	var once [2]sync.Once
	wg.Go(func() {
		_, err := v.WaitUntil(bg, func(int) bool { once[0].Do(entered.Done); return false })
		is(t, "closed while it waits", err, shiplap.ErrClosed)
	})
	wg.Go(func() {
		_, err := b.WaitUntil(bg, func(block) bool { once[1].Do(entered.Done); return false })
		is(t, "removed while it waits", err, shiplap.ErrRemoved)
	})
	entered.Wait()
	ok(t, v.Close())
	ok(t, d.Remove(bg, "b"))
	wg.Wait()
}

// Goroutines of one process are as far from each other as processes are.
func TestValueConcurrently(t *testing.T) {
	d := domain(t)
	v, f, b := value(t, d, "v", 0), value(t, d, "f", 0.0), value(t, d, "b", blockOf(0))
	short := value(t, d, "short", int16(0))
	const workers, n = 4, 500
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range n {
				_, e1 := shared.Add(v, 1)
				_, e2 := shared.Add(f, 0.5)
				_, e3 := shared.Add(short, 1)
				_, e4 := v.Update(bg, func(x *int) error { *x++; return nil })
				_, e5 := b.Update(bg, func(x *block) error { *x = blockOf(x.n() + 1); return nil })
				if err := errors.Join(e1, e2, e3, e4, e5); err != nil {
					t.Error(err)
					return
				}
				if x, err := b.Load(); err != nil || x != blockOf(x.n()) {
					t.Error(x, err)
					return
				}
				for { // an increment by compare and swap
					x, err := b.Load()
					if err != nil {
						t.Error(err)
						return
					}
					done, err := b.CompareAndSwap(bg, x, blockOf(x.n()+1))
					if err != nil {
						t.Error(err)
						return
					}
					if done {
						break
					}
				}
			}
		})
	}
	wg.Wait()
	x, _ := v.Load()
	y, _ := f.Load()
	z, _ := b.Load()
	s, _ := short.Load()
	if x != 2*workers*n || y != workers*n/2 || z.n() != 2*workers*n || s != workers*n {
		t.Errorf("%d %v %d %d", x, y, z.n(), s)
	}
}

// Whoever changes something wakes those who have said that they may sleep: the event word goes on.
func TestEveryChangeWakes(t *testing.T) {
	d := domain(t)
	v, b := value(t, d, "v", 1), value(t, d, "b", blockOf(1))
	a := array[int](t, d, "a", &shared.ArrayOptions{Frames: 2}, 3)
	w, err := shared.Pin(v)
	ok(t, err)
	defer w.Release()
	change := func(x *block) error { *x = blockOf(4); return nil }
	for _, tt := range []struct {
		object, name string
		f            func() error
	}{
		{"v", "store", func() error { return v.Store(bg, 2) }},
		{"v", "swap", func() error { return second(v.Swap(bg, 3)) }},
		{"v", "compare and swap", func() error { return second(v.CompareAndSwap(bg, 3, 4)) }},
		{"v", "add", func() error { return second(shared.Add(v, 1)) }},
		{"v", "update", func() error { return second(v.Update(bg, func(n *int) error { *n++; return nil })) }},
		{"v", "wake", w.Wake},
		{"b", "store", func() error { return b.Store(bg, blockOf(2)) }},
		{"b", "swap", func() error { return second(b.Swap(bg, blockOf(3))) }},
		{"b", "compare and swap", func() error { return second(b.CompareAndSwap(bg, blockOf(3), blockOf(2))) }},
		{"b", "update", func() error { return second(b.Update(bg, change)) }},
		{"a", "publish", func() error { return second(a.Publish(bg, filled(1))) }},
	} {
		f, err := os.OpenFile(filepath.Join(d.Dir(), tt.object), os.O_RDWR, 0)
		ok(t, err)
		word := []byte{1, 0, 0, 0}
		_, err = f.WriteAt(word, 4360)
		ok(t, err)
		ok(t, tt.f())
		_, err = f.ReadAt(word, 4360)
		ok(t, err)
		ok(t, f.Close())
		if word[0]&1 != 0 || word[0]>>4 == 0 { // the bit is taken back, and the generation is another one
			t.Errorf("%s of %s: the event word is % x", tt.name, tt.object, word)
		}
	}
}
