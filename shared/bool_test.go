package shared_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/shared"
)

// TestDamagedBools: a byte that is neither true nor false is seen by no function, and equals nothing.
func TestDamagedBools(t *testing.T) {
	d := domain(t)
	v := closing[*shared.Value[bool]](t)(shared.CreateValue(d, "v", true, nil))
	f, err := os.OpenFile(filepath.Join(d.Dir(), "v"), os.O_RDWR, 0)
	ok(t, err)
	defer f.Close()
	const word = 4352
	ok(t, at(word, 9)(f))
	for _, old := range []bool{true, false} {
		done, err := v.CompareAndSwap(bg, old, true)
		is(t, "CompareAndSwap", err, shiplap.ErrCorrupt)
		if done {
			t.Error("it was swapped")
		}
	}
	ok(t, v.Store(bg, false))
	if done, err := v.CompareAndSwap(bg, true, false); done || err != nil {
		t.Errorf("another value: %v, %v", done, err)
	}

	a := closing[*shared.Array[bool]](t)(shared.CreateArray[bool](d, "a", []int{4}, &shared.ArrayOptions{Frames: 2}))
	for range 3 {
		_, err := a.Raw().Publish(bg, func(b []byte) error { b[1] = 9; return nil })
		ok(t, err)
	}
	_, err = a.Publish(bg, func(frame []bool) error {
		if frame[1] {
			t.Error("it saw a bool that is neither")
		}
		frame[1] = true
		return nil
	})
	ok(t, err)
	got := make([]bool, 4)
	if _, err := a.Latest(got); err != nil || !got[1] || got[0] {
		t.Errorf("%v, %v", got, err)
	}
}
