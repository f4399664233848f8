package shared

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/npy"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

// RawArray is an array in bytes, for tools that learn its type only when they open it. All methods may be called
// concurrently. See Array for what they promise.
type RawArray struct {
	*handle
	g    geometry
	data *mem.Span
	seq  slots // of frames
}

// CreateRawArray makes an array of elements that the descriptor describes ("fixed:<f4"), all zero. shiplap.ErrExist when
// the name is taken.
func CreateRawArray(d *shiplap.Domain, name, typ string, shape []int, opt *ArrayOptions) (*RawArray, error) {
	desc, err := schema.Parse(typ)
	if err != nil {
		return nil, fmt.Errorf("create array %q: %w", name, err)
	}
	return createArray(d, name, desc, shape, opt)
}

func createArray(d *shiplap.Domain, name string, desc schema.Descriptor, shape []int, opt *ArrayOptions) (*RawArray, error) {
	if opt == nil {
		opt = &ArrayOptions{}
	}
	var g geometry
	l, err := desc.Layout()
	if err == nil {
		g, err = newGeometry(l.Size, shape, max(1, opt.Frames), !opt.Unlocked, errs.ErrTooLarge)
	}
	if err != nil {
		return nil, fmt.Errorf("create array %q: %w", name, err)
	}
	s := opt.general().spec(object.Array)
	s.Desc, s.Params, s.Parts = desc, g.params(), g.parts()
	o, err := object.OfDomain(d).Create(name, s)
	if err != nil {
		return nil, err
	}
	return newRawArray(o, g)
}

// OpenRawArray opens an array of any type and shape.
func OpenRawArray(d *shiplap.Domain, name string) (*RawArray, error) {
	var g geometry
	o, err := object.OfDomain(d).Open(name, object.Array, func(h *object.Header) ([]mem.Part, error) {
		_, l, err := fixed(h)
		if err == nil {
			g, err = parseGeometry(l, h.Params)
		}
		return g.parts(), err
	})
	if err != nil {
		return nil, err
	}
	return newRawArray(o, g)
}

func newRawArray(o *object.Object, g geometry) (*RawArray, error) {
	h, err := newHandle(o, g.locked)
	if err != nil {
		return nil, err
	}
	r := &RawArray{handle: h, g: g, data: o.Region.Span(1)}
	if g.frames > 1 {
		r.seq = slots{h: h, span: r.data, stride: g.stride, size: g.size, n: uint64(g.frames), fromOne: true}
	}
	return r, nil
}

// Shape is the number of elements in each dimension.
func (r *RawArray) Shape() []int { return slices.Clone(r.g.dims) }

// Len is the number of elements, of one frame if there are several.
func (r *RawArray) Len() int { return r.g.count }

// Size is the number of bytes of all elements, of one frame if there are several.
func (r *RawArray) Size() int { return r.g.size }

// FrameCount is the number of frames, 1 for a plain array.
func (r *RawArray) FrameCount() int { return r.g.frames }

// DType is the element type as a Python expression for numpy.dtype.
func (r *RawArray) DType() string { return npy.DType(r.layout) }

// String names the array, its type and its shape.
func (r *RawArray) String() string {
	s := fmt.Sprintf("array %q of %s %s", r.obj.Name, shapeText(r.g.dims), r.desc)
	if r.g.frames > 1 {
		s += fmt.Sprintf(", %d frames", r.g.frames)
	}
	return s
}

// Stats tells who holds its locks, at a glance and without locking.
func (r *RawArray) Stats() (Stats, error) { return r.stats(r.g.frames > 1) }

func (r *RawArray) plain(what string) error {
	if r.g.frames > 1 {
		return fmt.Errorf("%s %q: %w: %s of an array with %d frames; they are published, see Publish and Latest",
			r.obj.Kind, r.obj.Name, errs.ErrUnsupported, what, r.g.frames)
	}
	return nil
}

func (r *RawArray) framed(what string) error {
	if r.g.frames == 1 {
		return fmt.Errorf("%s %q: %w: %s of a plain array; make it with 2 frames or more", r.obj.Kind, r.obj.Name, errs.ErrUnsupported, what)
	}
	return nil
}

// fits checks the length of a caller's buffer.
func (r *RawArray) fits(n, want int, what string) error {
	if n == want {
		return nil
	}
	return fmt.Errorf("%s %q: %w: a buffer of %d %s for an array of %d", r.obj.Kind, r.obj.Name, errs.ErrIncompatible, n, what, want)
}

// within checks a stretch of bytes.
func (r *RawArray) within(off int64, n int) error {
	if off < 0 || n > r.g.size || off > int64(r.g.size-n) {
		return fmt.Errorf("%s %q: %w: %d bytes at offset %d of %d", r.obj.Kind, r.obj.Name, errs.ErrTooLarge, n, off, r.g.size)
	}
	return nil
}

// ReadAt copies the bytes of a plain array at off into p; io.EOF when the array ends before p does. Others may be
// changing them.
func (r *RawArray) ReadAt(p []byte, off int64) (n int, err error) {
	if err := r.plain("ReadAt"); err != nil {
		return 0, err
	}
	if off < 0 || off > int64(r.g.size) {
		return 0, r.within(off, len(p))
	}
	n = min(len(p), r.g.size-int(off))
	err = r.obj.Call(func() error {
		copy(p, r.data.Bytes(int(off), n))
		return r.obj.Err()
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// WriteAt copies p into a plain array at off, all of it or nothing. The caller sees to it that bools are 0 or 1.
func (r *RawArray) WriteAt(p []byte, off int64) (n int, err error) {
	if err := errors.Join(r.plain("WriteAt"), r.within(off, len(p))); err != nil {
		return 0, err
	}
	err = r.obj.Call(func() error {
		if err := r.obj.Err(); err != nil {
			return err
		}
		n = copy(r.data.Bytes(int(off), len(p)), p)
		return nil
	})
	return n, err
}

// Snapshot copies a plain array under its lock: see Array.Snapshot.
func (r *RawArray) Snapshot(ctx context.Context, dst []byte) error {
	if err := errors.Join(r.plain("Snapshot"), r.fits(len(dst), r.g.size, "bytes")); err != nil {
		return err
	}
	return r.underLock(ctx, func(died error) error {
		copy(dst, r.data.Bytes(0, r.g.size))
		if err := r.checked(dst); err != nil {
			return err
		}
		return died
	})
}

// Replace writes all of a plain array under its lock: see Array.Replace.
func (r *RawArray) Replace(ctx context.Context, src []byte) error {
	if err := errors.Join(r.plain("Replace"), r.fits(len(src), r.g.size, "bytes")); err != nil {
		return err
	}
	if err := r.checked(src); err != nil {
		return r.obj.Wrap(err)
	}
	return r.underLock(ctx, func(died error) error {
		copy(r.data.Bytes(0, r.g.size), src)
		if died != nil {
			return r.user.Repaired() // nothing of what the dead one left is there any more
		}
		return nil
	})
}

// underLock runs f with the users' lock; died is not nil if there is something to repair.
func (r *RawArray) underLock(ctx context.Context, f func(died error) error) (err error) {
	died := r.Lock(ctx)
	if died != nil && !errors.Is(died, errs.ErrOwnerDied) {
		return died
	}
	defer func() { err = errors.Join(err, r.Unlock()) }()
	if died != nil {
		died = fmt.Errorf("%w with the lock while it changed the array: take the lock, repair and call Repaired, or Replace all of it", errs.ErrOwnerDied)
	}
	return r.obj.Call(func() error {
		if err := r.obj.Err(); err != nil {
			return err
		}
		return f(died)
	})
}

// Publish publishes a frame: see Array.Publish.
func (r *RawArray) Publish(ctx context.Context, fn func(frame []byte) error) (version uint64, err error) {
	if err := r.framed("Publish"); err != nil {
		return 0, err
	}
	err = r.obj.Call(func() error {
		version, err = r.seq.publish(ctx, fn)
		return err
	})
	return version, err
}

// Latest copies the newest frame: see Array.Latest.
func (r *RawArray) Latest(dst []byte) (version uint64, err error) {
	if err := errors.Join(r.framed("Latest"), r.fits(len(dst), r.g.size, "bytes")); err != nil {
		return 0, err
	}
	err = r.obj.Call(func() error {
		if err := r.obj.Err(); err != nil {
			return err
		}
		if version, err = r.seq.read(dst); err != nil {
			return err
		}
		return r.checked(dst)
	})
	return version, err
}

// View looks at the newest frame in place: see Array.View.
func (r *RawArray) View(fn func(frame []byte, version uint64) error) error {
	if err := r.framed("View"); err != nil {
		return err
	}
	return r.obj.Call(func() error {
		if err := r.obj.Err(); err != nil {
			return err
		}
		v, err := r.seq.version()
		if err != nil {
			return err
		}
		mem.RaceAcquire(r.changed.Word())
		err = fn(r.seq.bytes(v), v)
		if !r.seq.still(v) {
			return errors.Join(fmt.Errorf("%w: frame %d was overwritten while it was looked at", errs.ErrConflict, v), err)
		}
		return err
	})
}

// Watch waits until a frame newer than after is published, and returns the newest one's version.
func (r *RawArray) Watch(ctx context.Context, after uint64) (version uint64, err error) {
	if err := r.framed("Watch"); err != nil {
		return 0, err
	}
	err = r.obj.Call(func() error {
		for {
			if err := r.obj.Err(); err != nil {
				return err
			}
			version, err = r.seq.version()
			if err != nil && err != errs.ErrEmpty {
				return err
			}
			if version > after {
				return nil
			}
			if err := r.await(ctx, &newer{r.word, version}); err != nil {
				return err
			}
		}
	})
	return version, err
}
