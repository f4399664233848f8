package shared

import (
	"context"
	"errors"
	"fmt"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

// Value is one value of type T by name. T has a fixed layout: numbers, bool, arrays and structs of them. All
// methods may be called concurrently; a value is never seen half written.
//
// If T is a number of up to 8 bytes (but not complex) or bool, every method that changes it is one atomic instruction, and
// none waits. Otherwise writers wait for each other; a writer that was stopped in the middle holds up
// writers, never readers.
type Value[T any] struct {
	*handle
	raw *RawValue
}

// CreateValue makes a value; shiplap.ErrExist when the name is taken. A type that has no fixed layout is an error.
func CreateValue[T any](d *shiplap.Domain, name string, initial T, opt *Options) (*Value[T], error) {
	desc, err := describe[T]()
	if err != nil {
		return nil, fmt.Errorf("create value %q: %w", name, err)
	}
	raw, err := createValue(d, name, desc, mem.AsBytes(&initial), opt)
	if err != nil {
		return nil, err
	}
	return &Value[T]{raw.handle, raw}, nil
}

// OpenValue opens a value; shiplap.ErrIncompatible when it is not a T, byte for byte.
func OpenValue[T any](d *shiplap.Domain, name string) (*Value[T], error) {
	desc, err := describe[T]()
	if err != nil {
		return nil, fmt.Errorf("open value %q: %w", name, err)
	}
	raw, err := OpenRawValue(d, name)
	if err != nil {
		return nil, err
	}
	if err := schema.Incompatible(raw.desc, desc); err != nil {
		raw.Close()
		return nil, fmt.Errorf("open value %q: %w", name, err)
	}
	return &Value[T]{raw.handle, raw}, nil
}

// OpenOrCreateValue opens the value, or makes it if it does not exist.
func OpenOrCreateValue[T any](d *shiplap.Domain, name string, initial T, opt *Options) (*Value[T], error) {
	return object.OpenOrCreate(
		func() (*Value[T], error) { return OpenValue[T](d, name) },
		func() (*Value[T], error) { return CreateValue(d, name, initial, opt) })
}

// Raw is the same value in bytes. It shares the handle: closing one closes both.
func (v *Value[T]) Raw() *RawValue { return v.raw }

// Stats tells who holds its locks, at a glance and without locking.
func (v *Value[T]) Stats() (Stats, error) { return v.raw.Stats() }

// Load is the value. It does not wait for writers. shiplap.ErrCorrupt when a bool is neither true nor false;
// shiplap.ErrBusy if for a second every attempt to copy a large value was overtaken by writers.
func (v *Value[T]) Load() (t T, err error) {
	if v.raw.IsWord() {
		bits, err := v.raw.loadWord()
		if err != nil {
			return t, err
		}
		return fromBits[T](bits), nil
	}
	if v.raw.check == nil {
		err = v.raw.loadAny(mem.AsBytes(&t)) // t stays on the stack
		return t, err
	}
	var c T
	b := mem.AsBytes(&c)
	if err = v.raw.loadInto(b); err != nil {
		return t, err // nobody must see a bool that is neither
	}
	return c, nil
}

// Store writes the value. ctx bounds the wait for other writers of a value that is no word.
func (v *Value[T]) Store(ctx context.Context, t T) error {
	if v.raw.IsWord() {
		return v.raw.storeWord(toBits(t))
	}
	return v.raw.put(ctx, mem.AsBytes(&t))
}

// Swap writes the value and returns the one before.
func (v *Value[T]) Swap(ctx context.Context, t T) (old T, err error) {
	if v.raw.IsWord() {
		bits, err := v.raw.swapWord(toBits(t))
		if err != nil {
			return old, err
		}
		return fromBits[T](bits), nil
	}
	if err := v.raw.exchange(ctx, mem.AsBytes(&t)); err != nil {
		return old, err
	}
	return t, nil
}

// CompareAndSwap writes new if the value is old, and reports whether it was. All bits are compared, but for padding: a
// float's NaN equals the same NaN, and 0 does not equal -0. shiplap.ErrCorrupt if the value is none of the type.
func (v *Value[T]) CompareAndSwap(ctx context.Context, old, new T) (done bool, err error) {
	if v.raw.IsWord() {
		done, err = v.raw.casWord(toBits(old), toBits(new))
	} else {
		done, err = v.raw.compareAndSwap(ctx, mem.AsBytes(&old), mem.AsBytes(&new))
	}
	if done || err != nil || v.raw.check == nil {
		return done, err
	}
	if _, err = v.Load(); !errors.Is(err, errs.ErrCorrupt) { // a bool that is neither equals nothing
		err = nil
	}
	return false, err
}

// Update changes the value by fn and returns what it is then. Updates wait for each other, and other writers of values
// that are no words wait for them too; Store, Swap, CompareAndSwap and Add of a word do not, so that fn may run
// again, with what they wrote. If fn returns an error or panics nothing changes. fn must not write this value.
//
// It is independent of Lock: Update while the lock is held is fine. A process that dies in it leaves the old value or the
// new one, and nothing to repair.
func (v *Value[T]) Update(ctx context.Context, fn func(*T) error) (T, error) {
	var t T
	if err := v.raw.update(ctx, mem.AsBytes(&t), func() error { return fn(&t) }); err != nil {
		var zero T
		return zero, err
	}
	return t, nil
}

// WaitUntil waits until cond holds of the value, and returns that value. A value that only passes by may be missed.
// cond must not write this value.
func (v *Value[T]) WaitUntil(ctx context.Context, cond func(T) bool) (T, error) {
	var t T
	if err := v.raw.waitUntil(ctx, mem.AsBytes(&t), func() bool { return cond(t) }); err != nil {
		var zero T
		return zero, err
	}
	return t, nil
}

// Number is what Add can add.
type Number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr | ~float32 | ~float64
}

// Add adds delta to the value and returns the sum, which no other Add returns as well unless delta is 0 or it wraps.
// Integers wrap around.
func Add[T Number](v *Value[T], delta T) (sum T, err error) {
	r := v.raw
	err = r.obj.Call(func() error {
		if err := r.obj.Err(); err != nil {
			return err
		}
		integer := r.layout.Class() != schema.Float
		switch {
		case integer && r.w64 != nil:
			mem.RaceRelease(r.changed.Word())
			sum = T(r.w64.Add(uint64(delta)))
		case integer && r.desc.Size == 4:
			mem.RaceRelease(r.changed.Word())
			sum = T(r.w32.Add(uint32(delta)))
		default:
			for {
				old := r.load()
				sum = fromBits[T](old) + delta
				if r.cas(old, toBits(sum)) {
					break
				}
			}
		}
		r.changed.WakeAll()
		return nil
	})
	return sum, err
}
