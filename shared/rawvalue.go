package shared

import (
	"bytes"
	"context"
	"fmt"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

const (
	valueLocked = 0 // param: 1 with a lock for users

	offSlots  = offWord + 256 // of values that are no word
	slotAlign = 64
	page      = 4096
)

// RawValue is a value in bytes, for tools that learn its type only when they open it. All methods may be
// called concurrently. See Value for what they promise.
type RawValue struct {
	*handle
	w32  *mem.U32 // a word of 1, 2 or 4 bytes
	w64  *mem.U64 // a word of 8 bytes
	mask uint64   // of the bytes in w32 that count
	seq  slots    // everything else
}

// isWord reports whether a value is kept in one word: bools and real numbers are.
func isWord(l *schema.Layout) bool { return l.Class() == schema.Bool || l.Number() }

func valueStride(l *schema.Layout) int { return (l.Size + slotAlign - 1) / slotAlign * slotAlign }

func valueParts(l *schema.Layout) []mem.Part {
	n := offWord + 8
	if !isWord(l) {
		n = offSlots + 2*valueStride(l)
	}
	return []mem.Part{{Len: (n + page - 1) / page * page}}
}

func checkValue(h *object.Header) ([]mem.Part, error) {
	_, l, err := fixed(h)
	if err != nil {
		return nil, err
	}
	if n := h.Params[valueLocked]; n > 1 {
		return nil, fmt.Errorf("%w: a value whose lock is %d; 0 and 1 are known", errs.ErrIncompatible, n)
	}
	return valueParts(l), nil
}

// CreateRawValue makes a value of the type that the descriptor says ("fixed:<f8"), with these bytes.
// shiplap.ErrExist when the name is taken.
func CreateRawValue(d *shiplap.Domain, name, typ string, initial []byte, opt *Options) (*RawValue, error) {
	desc, err := schema.Parse(typ)
	if err != nil {
		return nil, fmt.Errorf("create value %q: %w", name, err)
	}
	return createValue(d, name, desc, initial, opt)
}

func createValue(d *shiplap.Domain, name string, desc schema.Descriptor, initial []byte, opt *Options) (*RawValue, error) {
	if opt == nil {
		opt = &Options{}
	}
	l, err := desc.Layout()
	if err == nil {
		initial, err = clean(desc, l, initial)
	}
	if err != nil {
		return nil, fmt.Errorf("create value %q: %w", name, err)
	}
	s := opt.spec(object.Value)
	s.Desc, s.Parts = desc, valueParts(l)
	if !opt.Unlocked {
		s.Params[valueLocked] = 1
	}
	s.Init = func(r *mem.Region) {
		at := offSlots
		if isWord(l) {
			at = offWord
		}
		r.Span(0).CopyIn(at, initial)
	}
	o, err := object.OfDomain(d).Create(name, s)
	if err != nil {
		return nil, err
	}
	return newRawValue(o)
}

// clean is a private copy of the bytes of one element, checked, with zeros where no field is.
func clean(d schema.Descriptor, l *schema.Layout, b []byte) ([]byte, error) {
	if len(b) != d.Size {
		return nil, fmt.Errorf("%w: %d bytes for an element of %d", errs.ErrIncompatible, len(b), d.Size)
	}
	b = bytes.Clone(b)
	if check := d.Checker(); check != nil {
		if err := check(b); err != nil {
			return nil, err
		}
	}
	l.ClearPadding(b)
	return b, nil
}

// OpenRawValue opens a value of any type.
func OpenRawValue(d *shiplap.Domain, name string) (*RawValue, error) {
	o, err := object.OfDomain(d).Open(name, object.Value, checkValue)
	if err != nil {
		return nil, err
	}
	return newRawValue(o)
}

func newRawValue(o *object.Object) (*RawValue, error) {
	h, err := newHandle(o, o.Params[valueLocked] == 1)
	if err != nil {
		return nil, err
	}
	r := &RawValue{handle: h}
	switch {
	case !isWord(h.layout):
		r.seq = slots{h: h, span: o.Ctl, base: offSlots, stride: valueStride(h.layout), size: h.desc.Size, n: 2}
	case h.desc.Size == 8:
		r.w64 = h.word
	default:
		r.w32, r.mask = o.Ctl.U32(offWord), 1<<(8*h.desc.Size)-1
	}
	return r, nil
}

// Size is the length of the value in bytes.
func (r *RawValue) Size() int { return r.desc.Size }

// IsWord reports whether the value is kept in one machine word.
func (r *RawValue) IsWord() bool { return r.w32 != nil || r.w64 != nil }

// Stats tells who holds its locks, at a glance and without locking.
func (r *RawValue) Stats() (Stats, error) { return r.stats(!r.IsWord()) }

// readInto copies the value into b, of Size bytes, for those inside.
func (r *RawValue) readInto(b []byte) error {
	if err := r.obj.Err(); err != nil {
		return err
	}
	if r.IsWord() {
		putBits(b, r.load())
	} else if _, err := r.seq.read(b); err != nil {
		return err
	}
	return r.checked(b)
}

func (r *RawValue) loadInto(b []byte) error {
	return r.obj.Call(func() error { return r.readInto(b) })
}

// loadAny is loadInto where any bytes will do.
func (r *RawValue) loadAny(b []byte) error {
	return r.obj.Call(func() error {
		if err := r.obj.Err(); err != nil {
			return err
		}
		_, err := r.seq.read(b)
		return err
	})
}

// put and its likes take private bytes of the right length, and may clear their padding.
func (r *RawValue) put(ctx context.Context, b []byte) error {
	if r.IsWord() {
		return r.storeWord(bitsOf(b))
	}
	r.layout.ClearPadding(b)
	return r.obj.Call(func() error {
		_, err := r.seq.publish(ctx, func(place []byte) error {
			copy(place, b)
			return nil
		})
		return err
	})
}

// exchange writes b and leaves the old value there.
func (r *RawValue) exchange(ctx context.Context, b []byte) error {
	if r.IsWord() {
		old, err := r.swapWord(bitsOf(b))
		if err == nil {
			putBits(b, old)
		}
		return err
	}
	r.layout.ClearPadding(b)
	old := make([]byte, len(b))
	err := r.obj.Call(func() error {
		_, err := r.seq.publish(ctx, func(place []byte) error {
			if _, err := r.seq.readLocked(old); err != nil {
				return err
			}
			copy(place, b)
			return nil
		})
		return err
	})
	if err == nil {
		copy(b, old)
		err = r.obj.Wrap(r.checked(old)) // b is written all the same, as it is to a word
	}
	return err
}

func (r *RawValue) compareAndSwap(ctx context.Context, old, new []byte) (ok bool, err error) {
	if r.IsWord() {
		return r.casWord(bitsOf(old), bitsOf(new))
	}
	r.layout.ClearPadding(old)
	r.layout.ClearPadding(new)
	now, differs := make([]byte, len(old)), false
	err = r.obj.Call(func() error {
		_, err := r.seq.publish(ctx, func(place []byte) error {
			if _, err := r.seq.readLocked(now); err != nil {
				return err
			}
			r.layout.ClearPadding(now) // others may be less tidy
			if differs = !bytes.Equal(now, old); differs {
				return errs.ErrConflict // and nothing is published
			}
			copy(place, new)
			return nil
		})
		return err
	})
	if differs {
		return false, nil
	}
	return err == nil, err
}

// update changes the value by fn, which changes b.
func (r *RawValue) update(ctx context.Context, b []byte, fn func() error) error {
	return r.obj.Call(func() error {
		if _, err := r.writer.Lock(ctx); err != nil {
			return err
		}
		err := r.updateUnlock(ctx, b, fn)
		if err == nil {
			r.changed.WakeAll()
		}
		return err
	})
}

func (r *RawValue) updateUnlock(ctx context.Context, b []byte, fn func() error) error {
	defer r.writer.Unlock()
	for r.IsWord() {
		if err := r.obj.Err(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		was := r.load()
		putBits(b, was)
		if err := r.changeBy(b, fn); err != nil {
			return err
		}
		if r.cas(was, bitsOf(b)) {
			return nil
		}
	}
	if err := r.obj.Err(); err != nil {
		return err
	}
	v, place, err := r.seq.next()
	if err != nil {
		return err
	}
	if _, err := r.seq.readLocked(b); err != nil {
		return err
	}
	if err := r.changeBy(b, fn); err != nil {
		return err
	}
	copy(place, b)
	r.seq.commit(v)
	return nil
}

func (r *RawValue) changeBy(b []byte, fn func() error) error {
	if err := r.checked(b); err != nil {
		return err
	}
	if err := fn(); err != nil {
		return err
	}
	r.layout.ClearPadding(b)
	return r.checked(b)
}

// Load appends the value to dst.
func (r *RawValue) Load(dst []byte) ([]byte, error) {
	n := len(dst)
	dst = append(dst, make([]byte, r.desc.Size)...)
	if err := r.loadInto(dst[n:]); err != nil {
		return dst[:n], err
	}
	return dst, nil
}

// Store writes the value; b has Size bytes.
func (r *RawValue) Store(ctx context.Context, b []byte) error {
	b, err := clean(r.desc, r.layout, b)
	if err != nil {
		return r.obj.Wrap(err)
	}
	return r.put(ctx, b)
}

// Swap writes the value and returns the one before.
func (r *RawValue) Swap(ctx context.Context, b []byte) (old []byte, err error) {
	if old, err = clean(r.desc, r.layout, b); err != nil {
		return nil, r.obj.Wrap(err)
	}
	if err = r.exchange(ctx, old); err != nil {
		return nil, err
	}
	return old, nil
}

// CompareAndSwap writes new if the value is old.
func (r *RawValue) CompareAndSwap(ctx context.Context, old, new []byte) (bool, error) {
	old, err := clean(r.desc, r.layout, old)
	if err == nil {
		new, err = clean(r.desc, r.layout, new)
	}
	if err != nil {
		return false, r.obj.Wrap(err)
	}
	return r.compareAndSwap(ctx, old, new)
}

// Update changes the value by fn, which gets a private copy of its bytes to change: see Value.Update.
func (r *RawValue) Update(ctx context.Context, fn func(b []byte) error) ([]byte, error) {
	b := make([]byte, r.desc.Size)
	if err := r.update(ctx, b, func() error { return fn(b) }); err != nil {
		return nil, err
	}
	return b, nil
}

// WaitUntil waits until cond holds of the value, and returns that value: see Value.WaitUntil.
func (r *RawValue) WaitUntil(ctx context.Context, cond func(b []byte) bool) ([]byte, error) {
	b := make([]byte, r.desc.Size)
	if err := r.waitUntil(ctx, b, func() bool { return cond(b) }); err != nil {
		return nil, err
	}
	return b, nil
}

// otherWord is ready when the word is not v any more.
type otherWord struct {
	r *RawValue
	v uint64
}

func (o *otherWord) Ready() bool { return o.r.load() != o.v }

func (r *RawValue) waitUntil(ctx context.Context, b []byte, cond func() bool) error {
	return r.obj.Call(func() error {
		for {
			var other readiness
			if r.IsWord() {
				if err := r.readInto(b); err != nil {
					return err
				}
				other = &otherWord{r, bitsOf(b)}
			} else {
				other = &newer{r.word, r.word.Load()} // before the look: what comes between is not slept over
				if err := r.readInto(b); err != nil {
					return err
				}
			}
			if cond() {
				return nil
			}
			if err := r.await(ctx, other); err != nil {
				return err
			}
		}
	})
}
