package shared

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

// Array is an array of up to 7 dimensions by name, in C order: the last index runs fastest. T has a fixed layout:
// numbers, bool, arrays and structs of them. All methods may be called concurrently.
type Array[T any] struct {
	*handle
	raw *RawArray
}

// CreateArray makes an array, all zero; shiplap.ErrExist when the name is taken. Its memory is reserved now. A type that
// has no fixed layout is an error.
func CreateArray[T any](d *shiplap.Domain, name string, shape []int, opt *ArrayOptions) (*Array[T], error) {
	desc, err := describe[T]()
	if err != nil {
		return nil, fmt.Errorf("create array %q: %w", name, err)
	}
	raw, err := createArray(d, name, desc, shape, opt)
	if err != nil {
		return nil, err
	}
	return &Array[T]{raw.handle, raw}, nil
}

// OpenArray opens an array of any shape; shiplap.ErrIncompatible when its elements are not T's, byte for byte.
func OpenArray[T any](d *shiplap.Domain, name string) (*Array[T], error) {
	desc, err := describe[T]()
	if err != nil {
		return nil, fmt.Errorf("open array %q: %w", name, err)
	}
	raw, err := OpenRawArray(d, name)
	if err != nil {
		return nil, err
	}
	if err := schema.Incompatible(raw.desc, desc); err != nil {
		raw.Close()
		return nil, fmt.Errorf("open array %q: %w", name, err)
	}
	return &Array[T]{raw.handle, raw}, nil
}

// OpenArrayShape is OpenArray for a program that needs this shape; shiplap.ErrIncompatible when it has another.
func OpenArrayShape[T any](d *shiplap.Domain, name string, shape []int) (*Array[T], error) {
	a, err := OpenArray[T](d, name)
	if err == nil && !slices.Equal(a.raw.g.dims, shape) {
		a.Close()
		return nil, fmt.Errorf("open array %q: %w: its shape is %s, wanted %s", name, errs.ErrIncompatible, shapeText(a.raw.g.dims), shapeText(shape))
	}
	return a, err
}

// OpenOrCreateArray opens the array of that shape, or makes it if it does not exist. An array that is there must
// be plain if it is to be plain, and have frames if it is to have frames.
func OpenOrCreateArray[T any](d *shiplap.Domain, name string, shape []int, opt *ArrayOptions) (*Array[T], error) {
	a, err := object.OpenOrCreate(
		func() (*Array[T], error) { return OpenArrayShape[T](d, name, shape) },
		func() (*Array[T], error) { return CreateArray[T](d, name, shape, opt) })
	if err != nil {
		return nil, err
	}
	if framed := opt != nil && opt.Frames > 1; framed != (a.FrameCount() > 1) {
		a.Close()
		return nil, fmt.Errorf("open array %q: %w: it has %d frames, wanted %d", name, errs.ErrIncompatible, a.FrameCount(), max(1, framesOf(opt)))
	}
	return a, nil
}

func framesOf(opt *ArrayOptions) int {
	if opt == nil {
		return 1
	}
	return opt.Frames
}

// Raw is the same array in bytes. It shares the handle: closing one closes both.
func (a *Array[T]) Raw() *RawArray { return a.raw }

// Shape is the number of elements in each dimension.
func (a *Array[T]) Shape() []int { return a.raw.Shape() }

// Len is the number of elements, of one frame if there are several.
func (a *Array[T]) Len() int { return a.raw.g.count }

// FrameCount is the number of frames, 1 for a plain array.
func (a *Array[T]) FrameCount() int { return a.raw.g.frames }

// DType is the element type as a Python expression for numpy.dtype.
func (a *Array[T]) DType() string { return a.raw.DType() }

// String names the array, its type and its shape.
func (a *Array[T]) String() string { return a.raw.String() }

// Stats tells who holds its locks, at a glance and without locking.
func (a *Array[T]) Stats() (Stats, error) { return a.raw.Stats() }

// At is one element of a plain array. Elements of 4 or 8 bytes that are scalars are read untorn; others may be half
// written, unless all take the lock.
func (a *Array[T]) At(i ...int) (t T, err error) {
	at, err := a.place("At", i)
	if err != nil {
		return t, err
	}
	if a.check == nil {
		err = a.raw.get(at, mem.AsBytes(&t)) // t stays on the stack
		return t, err
	}
	var c T
	if err = a.raw.get(at, mem.AsBytes(&c)); err == nil {
		err = a.obj.Wrap(a.check(mem.AsBytes(&c)))
	}
	if err != nil {
		return t, err // nobody must see a bool that is neither
	}
	return c, nil
}

// Set writes one element of a plain array: see At.
func (a *Array[T]) Set(t T, i ...int) error {
	at, err := a.place("Set", i)
	if err != nil {
		return err
	}
	return a.raw.set(at, mem.AsBytes(&t))
}

// place is the offset of an element.
func (a *Array[T]) place(what string, i []int) (int, error) {
	if a.raw.g.frames > 1 {
		return 0, a.raw.plain(what)
	}
	at := a.raw.g.index(i)
	if at < 0 {
		return 0, fmt.Errorf("array %q: no element %v in shape %s", a.obj.Name, slices.Clone(i), shapeText(a.raw.g.dims))
	}
	return at * a.desc.Size, nil
}

// get copies the element at an offset; words are copied as such.
func (r *RawArray) get(at int, b []byte) error {
	return r.obj.Call(func() error {
		if err := r.obj.Err(); err != nil {
			return err
		}
		switch {
		case len(b) == 8 && r.layout.Align == 8:
			putBits(b, r.data.U64(at).Load())
		case len(b) == 4 && r.layout.Align == 4:
			putBits(b, uint64(r.data.U32(at).Load()))
		default:
			copy(b, r.data.Bytes(at, len(b)))
		}
		return nil
	})
}

func (r *RawArray) set(at int, b []byte) error {
	return r.obj.Call(func() error {
		if err := r.obj.Err(); err != nil {
			return err
		}
		switch {
		case len(b) == 8 && r.layout.Align == 8:
			r.data.U64(at).Store(bitsOf(b))
		case len(b) == 4 && r.layout.Align == 4:
			r.data.U32(at).Store(uint32(bitsOf(b)))
		default:
			copy(r.data.Bytes(at, len(b)), b)
		}
		return nil
	})
}

// Snapshot copies the whole of a plain array into dst, of Len elements, under its lock, so that nobody who
// takes the lock changes it meanwhile. shiplap.ErrOwnerDied: a process died while it changed the array under the lock, and
// dst is what it left; the lock is not held then. The lock must not be held through this handle already: use Pin then.
func (a *Array[T]) Snapshot(ctx context.Context, dst []T) error {
	if err := a.raw.fits(len(dst), a.raw.g.count, "elements"); err != nil {
		return err
	}
	b := mem.BytesOf(dst)
	err := a.raw.Snapshot(ctx, b)
	if errors.Is(err, errs.ErrCorrupt) {
		clear(b) // nobody must see a bool that is neither
	}
	return err
}

// Replace writes the whole of a plain array from src, of Len elements, under its lock. If this process dies in it, the
// array is half old and half new, and the next one to lock is told so; Replace itself repairs that.
func (a *Array[T]) Replace(ctx context.Context, src []T) error {
	if err := a.raw.fits(len(src), a.raw.g.count, "elements"); err != nil {
		return err
	}
	return a.raw.Replace(ctx, mem.BytesOf(src))
}

// Publish lets fn fill the next frame in place, and then makes it the latest, by one store. Publishers wait for each other. frame holds
// what an older version left, or zeros if a peer left a bool there that is neither; fn writes all of it, and must not keep it. If fn returns an error or panics, or this process
// dies, nothing is published and the latest frame stays what it was. Versions count from 1.
func (a *Array[T]) Publish(ctx context.Context, fn func(frame []T) error) (version uint64, err error) {
	return a.raw.Publish(ctx, func(b []byte) error {
		if a.raw.checked(b) != nil {
			clear(b)
		}
		return fn(mem.SliceOf[T](b))
	})
}

// Latest copies the latest frame into dst, of Len elements. It does not wait for publishers. shiplap.ErrEmpty before the first one;
// shiplap.ErrBusy if for a second every attempt to copy was overtaken by publishers.
func (a *Array[T]) Latest(dst []T) (version uint64, err error) {
	if err := a.raw.fits(len(dst), a.raw.g.count, "elements"); err != nil {
		return 0, err
	}
	b := mem.BytesOf(dst)
	version, err = a.raw.Latest(b)
	if errors.Is(err, errs.ErrCorrupt) {
		clear(b) // nobody must see a bool that is neither
	}
	return version, err
}

// View lets fn look at the latest frame in place; it must neither change nor keep it. shiplap.ErrConflict if the frame was
// overwritten meanwhile: what fn saw may have been torn. shiplap.ErrEmpty before the first one. bools are not checked.
func (a *Array[T]) View(fn func(frame []T, version uint64) error) error {
	return a.raw.View(func(b []byte, version uint64) error { return fn(mem.SliceOf[T](b), version) })
}

// Watch waits until a frame newer than after is published, and returns the latest version.
func (a *Array[T]) Watch(ctx context.Context, after uint64) (version uint64, err error) {
	return a.raw.Watch(ctx, after)
}

// Frame is one published frame.
type Frame[T any] struct {
	Version uint64 // from 1; versions that a slow reader missed are skipped
	Data    []T    // a copy, used again for the next frame
}

// Frames yields the latest frame, if there is one, and then each newer one, always the latest, until an
// error, which comes last: that of ctx, as a rule.
func (a *Array[T]) Frames(ctx context.Context) iter.Seq2[Frame[T], error] {
	return func(yield func(Frame[T], error) bool) {
		f := Frame[T]{Data: make([]T, a.Len())}
		for {
			_, err := a.Watch(ctx, f.Version)
			if err == nil && ctx.Err() != nil { // also where frames come faster than they are used
				err = context.Cause(ctx)
			}
			if err == nil {
				f.Version, err = a.Latest(f.Data)
			}
			if err != nil {
				yield(Frame[T]{}, err)
				return
			}
			if !yield(f, nil) {
				return
			}
		}
	}
}
