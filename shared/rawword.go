package shared

import "github.com/shiplap-ipc/shiplap/internal/mem"

// The word, for those inside.

func (r *RawValue) load() uint64 {
	var v uint64
	if r.w64 != nil {
		v = r.w64.Load()
	} else {
		v = uint64(r.w32.Load()) & r.mask
	}
	mem.RaceAcquire(r.changed.Word())
	return v
}

func (r *RawValue) cas(old, new uint64) bool {
	mem.RaceRelease(r.changed.Word())
	if r.w64 != nil {
		return r.w64.CAS(old, new)
	}
	for { // what stands above a short value does not count
		v := r.w32.Load()
		if uint64(v)&r.mask != old {
			return false
		}
		if r.w32.CAS(v, uint32(new)) {
			return true
		}
	}
}

func (r *RawValue) swap(new uint64) (old uint64) {
	mem.RaceRelease(r.changed.Word())
	if r.w64 != nil {
		return r.w64.Swap(new)
	}
	return uint64(r.w32.Swap(uint32(new))) & r.mask
}

func (r *RawValue) checkWord(v uint64) error {
	if r.check == nil {
		return nil
	}
	return r.check([]byte{byte(v)}) // only a bool has a check
}

// loadWord and its likes are whole calls.
func (r *RawValue) loadWord() (v uint64, err error) {
	err = r.obj.Call(func() error {
		if err := r.obj.Err(); err != nil {
			return err
		}
		v = r.load()
		return r.checkWord(v)
	})
	return v, err
}

func (r *RawValue) swapWord(new uint64) (old uint64, err error) {
	err = r.obj.Call(func() error {
		if err := r.obj.Err(); err != nil {
			return err
		}
		old = r.swap(new)
		r.changed.WakeAll()
		return r.checkWord(old)
	})
	return old, err
}

func (r *RawValue) storeWord(new uint64) error {
	return r.obj.Call(func() error {
		if err := r.obj.Err(); err != nil {
			return err
		}
		r.swap(new)
		r.changed.WakeAll()
		return nil
	})
}

func (r *RawValue) casWord(old, new uint64) (ok bool, err error) {
	err = r.obj.Call(func() error {
		if err := r.obj.Err(); err != nil {
			return err
		}
		if ok = r.cas(old, new); ok {
			r.changed.WakeAll()
		}
		return nil
	})
	return ok, err
}
