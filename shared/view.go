package shared

import (
	"fmt"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"iter"
	"slices"

	"github.com/shiplap-ipc/shiplap/internal/object"
)

// View is the memory of a plain array, or of a part of it, borrowed: elements are read and written where they lie,
// without any order among processes but that of the locks they take. Contiguous is the memory as a Go slice. It may be used
// after the array's handle was closed, until Release; then it, and every view made from it, has no elements.
//
// At, Set and the iterators panic on indexes that are out of range, as slices do. Accesses fault if a peer truncated the
// file: see Protect. A bool that a peer made neither true nor false is undefined; CopyTo checks.
type View[T any] struct {
	p       *lent[T]
	dims    []int
	strides []int // in elements; may be negative
	off     int
}

// lent is what a view and those made from it have in common.
type lent[T any] struct {
	pin  *pin
	raw  *RawArray
	data []T
}

// Pin lends the memory of a plain array until Release.
func (a *Array[T]) Pin() (*View[T], error) {
	if err := a.raw.plain("Pin"); err != nil {
		return nil, err
	}
	p, err := a.pin()
	if err != nil {
		return nil, err
	}
	v := &View[T]{p: &lent[T]{p, a.raw, mem.SliceOf[T](a.raw.data.Bytes(0, a.raw.g.size))}, dims: a.Shape()}
	v.strides = make([]int, len(v.dims))
	n := 1
	for d := len(v.dims) - 1; d >= 0; d-- {
		v.strides[d] = n
		n *= v.dims[d]
	}
	return v, nil
}

// Slice lends the memory of a plain array as one slice, in C order, until release is called: Pin for those who need
// no more.
func (a *Array[T]) Slice() (s []T, release func(), err error) {
	v, err := a.Pin()
	if err != nil {
		return nil, nil, err
	}
	return v.p.data, v.Release, nil
}

// Release gives the memory back, of this view and of all made from the same Pin. Releasing twice is fine.
func (v *View[T]) Release() {
	v.p.data = nil
	v.p.pin.release()
}

// Shape is the number of elements in each dimension.
func (v *View[T]) Shape() []int { return slices.Clone(v.dims) }

// Strides is, for each dimension, how many elements apart neighbours lie.
func (v *View[T]) Strides() []int { return slices.Clone(v.strides) }

// Len is the number of elements.
func (v *View[T]) Len() int {
	n := 1
	for _, d := range v.dims {
		n *= d
	}
	return n
}

// String describes the view.
func (v *View[T]) String() string {
	return fmt.Sprintf("view of %s of array %q", shapeText(v.dims), v.p.pin.h.obj.Name)
}

func (v *View[T]) place(i []int) int {
	if len(i) != len(v.dims) {
		panic(fmt.Sprintf("shared: %d indexes into %d dimensions", len(i), len(v.dims)))
	}
	at := v.off
	for d, n := range v.dims {
		if uint(i[d]) >= uint(n) {
			panic(fmt.Sprintf("shared: index %d out of range in dimension %d of %s", i[d], d, shapeText(v.dims)))
		}
		at += i[d] * v.strides[d]
	}
	return at
}

// At is one element.
func (v *View[T]) At(i ...int) T { return v.p.data[v.place(i)] }

// Set writes one element.
func (v *View[T]) Set(t T, i ...int) { v.p.data[v.place(i)] = t }

// Ptr is one element in place. It must not be used after Release.
func (v *View[T]) Ptr(i ...int) *T { return &v.p.data[v.place(i)] }

func (v *View[T]) derive() *View[T] {
	return &View[T]{v.p, slices.Clone(v.dims), slices.Clone(v.strides), v.off}
}

// Sub is what the first indexes select: of a 480×640×3 view, Sub(7) is row 7, 640×3.
func (v *View[T]) Sub(i ...int) *View[T] {
	w := v.derive()
	for _, k := range i {
		if len(w.dims) == 1 {
			panic(fmt.Sprintf("shared: Sub by %d indexes of %d dimensions; At is one element", len(i), len(v.dims)))
		}
		if uint(k) >= uint(w.dims[0]) {
			panic(fmt.Sprintf("shared: index %d out of range in %s", k, shapeText(w.dims)))
		}
		w.off += k * w.strides[0]
		w.dims, w.strides = w.dims[1:], w.strides[1:]
	}
	return w
}

// Slice is what dimension dim has from lo up to, but not including, hi, each step-th of it. With a negative step it
// is that range backwards.
func (v *View[T]) Slice(dim, lo, hi, step int) *View[T] {
	if dim < 0 || dim >= len(v.dims) || step == 0 || lo < 0 || hi > v.dims[dim] || lo > hi {
		panic(fmt.Sprintf("shared: slice %d:%d:%d of dimension %d of %s", lo, hi, step, dim, shapeText(v.dims)))
	}
	w := v.derive()
	n := hi - lo
	if step > 0 {
		w.off += lo * v.strides[dim]
		w.dims[dim] = (n + step - 1) / step
	} else {
		w.off += max(lo, hi-1) * v.strides[dim]
		w.dims[dim] = (n - step - 1) / -step
	}
	w.strides[dim] = v.strides[dim] * step
	return w
}

// Transpose reverses the dimensions, or orders them as axes says: Transpose(1, 0, 2) swaps the first two.
func (v *View[T]) Transpose(axes ...int) *View[T] {
	if len(axes) == 0 {
		for d := range v.dims {
			axes = append(axes, len(v.dims)-1-d)
		}
	}
	w := v.derive()
	seen := make([]bool, len(v.dims))
	for d, a := range axes {
		if len(axes) != len(v.dims) || uint(a) >= uint(len(v.dims)) || seen[a] {
			panic(fmt.Sprintf("shared: axes %v of %d dimensions", axes, len(v.dims)))
		}
		seen[a] = true
		w.dims[d], w.strides[d] = v.dims[a], v.strides[a]
	}
	return w
}

// Contiguous is the elements as one slice, in C order, if they lie in memory like that.
func (v *View[T]) Contiguous() ([]T, bool) {
	n := 1
	for d := len(v.dims) - 1; d >= 0; d-- {
		if v.dims[d] != 1 && v.strides[d] != n {
			return nil, v.Len() == 0
		}
		n *= v.dims[d]
	}
	if n == 0 {
		return nil, true
	}
	return v.p.data[v.off : v.off+n : v.off+n], true
}

// rows calls f with the place of each row, that is all indexes but the last, in C order.
func (v *View[T]) rows(f func(i []int, at int) bool) {
	if v.Len() == 0 {
		return
	}
	i := make([]int, len(v.dims))
	for at := v.off; ; {
		if !f(i, at) {
			return
		}
		d := len(v.dims) - 2
		for ; d >= 0; d-- {
			i[d]++
			at += v.strides[d]
			if i[d] < v.dims[d] {
				break
			}
			at -= i[d] * v.strides[d]
			i[d] = 0
		}
		if d < 0 {
			return
		}
	}
}

// All yields the elements in place, in C order, with their indexes, a slice that is used again.
func (v *View[T]) All() iter.Seq2[[]int, *T] {
	return func(yield func([]int, *T) bool) {
		last := len(v.dims) - 1
		v.rows(func(i []int, at int) bool {
			for k := range v.dims[last] {
				i[last] = k
				if !yield(i, &v.p.data[at+k*v.strides[last]]) {
					return false
				}
			}
			i[last] = 0
			return true
		})
	}
}

// CopyTo copies the elements to dst, of Len elements, in C order. It is safe against truncation, and checks bools.
func (v *View[T]) CopyTo(dst []T) error {
	if err := v.p.raw.fits(len(dst), v.Len(), "elements"); err != nil {
		return err
	}
	err := object.Guarded(func() error {
		if s, ok := v.Contiguous(); ok {
			copy(dst, s)
			return v.p.raw.checked(mem.BytesOf(dst))
		}
		n := 0
		for _, p := range v.All() {
			dst[n] = *p
			n++
		}
		return v.p.raw.checked(mem.BytesOf(dst))
	})
	if err != nil {
		clear(dst) // nobody must see a bool that is neither
		return v.wrap(err)
	}
	return nil
}

// CopyFrom writes the elements from src, of Len elements, in C order. It is safe against truncation.
func (v *View[T]) CopyFrom(src []T) error {
	if err := v.p.raw.fits(len(src), v.Len(), "elements"); err != nil {
		return err
	}
	return v.wrap(object.Guarded(func() error {
		if s, ok := v.Contiguous(); ok {
			copy(s, src)
			return nil
		}
		n := 0
		for _, p := range v.All() {
			*p = src[n]
			n++
		}
		return nil
	}))
}

// Fill sets all elements to t. It is safe against truncation.
func (v *View[T]) Fill(t T) error {
	return v.wrap(object.Guarded(func() error {
		for _, p := range v.All() {
			*p = t
		}
		return nil
	}))
}

func (v *View[T]) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("array %q: %w", v.p.pin.h.obj.Name, err)
}
