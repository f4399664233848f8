package shared

import (
	"sync"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
)

// Integer is what a Word can be.
type Integer interface {
	~int | ~int32 | ~int64 | ~uint | ~uint32 | ~uint64 | ~uintptr
}

// Word is the memory of a value, borrowed: each method is one atomic instruction. Its copies are the same word. It must
// not be used after Release; it may be used after the value's handle was closed.
//
// There are no errors here. Accesses fault if a peer truncated the file: see Protect. Changes wake nobody who sleeps in
// WaitUntil, who looks again within a quarter of a second; Wake wakes them.
type Word[T Integer] struct {
	w64 *mem.U64
	w32 *mem.U32
	pin *pin
}

// pin keeps memory mapped until it is released.
type pin struct {
	h    *handle
	once sync.Once
}

func (h *handle) pin() (*pin, error) {
	if !h.obj.Gate.Enter() {
		return nil, h.obj.Wrap(errs.ErrClosed)
	}
	return &pin{h: h}, nil
}

func (p *pin) release() { p.once.Do(p.h.obj.Gate.Leave) }

// Pin lends the memory of v until Release.
func Pin[T Integer](v *Value[T]) (Word[T], error) {
	p, err := v.pin()
	if err != nil {
		return Word[T]{}, err
	}
	return Word[T]{v.raw.w64, v.raw.w32, p}, nil
}

// Release gives the memory back. Releasing twice is fine.
func (w Word[T]) Release() { w.pin.release() }

// Wake lets those who sleep in WaitUntil look again.
func (w Word[T]) Wake() error {
	return object.Guarded(func() error {
		w.pin.h.changed.WakeAll()
		return nil
	})
}

// Load is the value.
func (w Word[T]) Load() T {
	if w.w64 != nil {
		return T(w.w64.Load())
	}
	return T(w.w32.Load())
}

// Store writes the value.
func (w Word[T]) Store(t T) {
	if w.w64 != nil {
		w.w64.Store(uint64(t))
		return
	}
	w.w32.Store(uint32(t))
}

// Swap writes the value and returns the one before.
func (w Word[T]) Swap(t T) T {
	if w.w64 != nil {
		return T(w.w64.Swap(uint64(t)))
	}
	return T(w.w32.Swap(uint32(t)))
}

// CompareAndSwap writes new if the value is old, and reports whether it was.
func (w Word[T]) CompareAndSwap(old, new T) bool {
	if w.w64 != nil {
		return w.w64.CAS(uint64(old), uint64(new))
	}
	return w.w32.CAS(uint32(old), uint32(new))
}

// Add adds delta and returns the sum.
func (w Word[T]) Add(delta T) T {
	if w.w64 != nil {
		return T(w.w64.Add(uint64(delta)))
	}
	return T(w.w32.Add(uint32(delta)))
}
