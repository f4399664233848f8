package mem

import (
	"sync/atomic"
	"unsafe"
)

// U32 is a 32-bit word in a region. All methods are sequentially consistent atomics unless they say less.
type U32 struct{ v uint32 }

// U64 is a 64-bit word in a region, 8-byte aligned. Methods as for U32.
type U64 struct{ v uint64 }

func (w *U32) Load() uint32 {
	if hooked {
		if v, ok := hookLoad(unsafe.Pointer(w)); ok {
			return uint32(v)
		}
	}
	return atomic.LoadUint32(&w.v)
}

func (w *U32) Store(v uint32) {
	if hooked && hookStore(unsafe.Pointer(w), 4, uint64(v), false) {
		return
	}
	atomic.StoreUint32(&w.v, v)
}

func (w *U32) Swap(v uint32) uint32 {
	if hooked {
		hook(unsafe.Pointer(w), AccessUpdate)
	}
	return atomic.SwapUint32(&w.v, v)
}

func (w *U32) CAS(old, new uint32) bool {
	if hooked {
		hook(unsafe.Pointer(w), AccessUpdate)
	}
	return atomic.CompareAndSwapUint32(&w.v, old, new)
}

func (w *U32) Add(d uint32) uint32 {
	if hooked {
		hook(unsafe.Pointer(w), AccessUpdate)
	}
	return atomic.AddUint32(&w.v, d)
}

func (w *U32) Or(bits uint32) (old uint32) {
	if hooked {
		hook(unsafe.Pointer(w), AccessUpdate)
	}
	return atomic.OrUint32(&w.v, bits)
}

// Ptr is the address to wait on with package futex.
func (w *U32) Ptr() *uint32 { return &w.v }

func (w *U64) Load() uint64 {
	if hooked {
		if v, ok := hookLoad(unsafe.Pointer(w)); ok {
			return v
		}
	}
	return atomic.LoadUint64(&w.v)
}

func (w *U64) Store(v uint64) {
	if hooked && hookStore(unsafe.Pointer(w), 8, v, false) {
		return
	}
	atomic.StoreUint64(&w.v, v)
}

func (w *U64) Swap(v uint64) uint64 {
	if hooked {
		hook(unsafe.Pointer(w), AccessUpdate)
	}
	return atomic.SwapUint64(&w.v, v)
}

func (w *U64) CAS(old, new uint64) bool {
	if hooked {
		hook(unsafe.Pointer(w), AccessUpdate)
	}
	return atomic.CompareAndSwapUint64(&w.v, old, new)
}

func (w *U64) Add(d uint64) uint64 {
	if hooked {
		hook(unsafe.Pointer(w), AccessUpdate)
	}
	return atomic.AddUint64(&w.v, d)
}

// StoreRelease publishes v: whoever loads it sees all that was stored before. Unlike Store it does
// not by itself keep a later load of this process from being done earlier; a peer that needs that
// calls Heavy between its own store and load (see barrier.go).
func (w *U32) StoreRelease(v uint32) {
	if hooked && hookStore(unsafe.Pointer(w), 4, uint64(v), true) {
		return
	}
	if plainRelease && asymmetric.Load() {
		w.v = v
		return
	}
	atomic.StoreUint32(&w.v, v)
}

// StoreRelease is as for U32.
func (w *U64) StoreRelease(v uint64) {
	if hooked && hookStore(unsafe.Pointer(w), 8, v, true) {
		return
	}
	if plainRelease && asymmetric.Load() {
		w.v = v
		return
	}
	atomic.StoreUint64(&w.v, v)
}
