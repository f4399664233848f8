package store

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
)

// A watcher that wants what is there already gets it piece by piece: the memory that this takes does not grow with the
// store.
func TestWatchInitialIsNotKept(t *testing.T) {
	const keys, each = 320, 100 << 10
	s, err := Create(domain(t), "s", &Options{MaxBytes: 64 << 20, Ephemeral: true})
	ok(t, err)
	defer s.Close()
	for i := range keys {
		_, err := s.Set(bg, fmt.Sprint(i), bytes.Repeat([]byte{byte(i)}, each))
		ok(t, err)
	}
	before := heapInUse()
	n := 0
	for e, err := range s.Watch(bg, "*", &WatchOptions{Initial: true}) {
		ok(t, err)
		if len(e.Value) != each {
			t.Fatalf("key %q has %d bytes", e.Key, len(e.Value))
		}
		if n++; n == 1 || n == keys/2 {
			if more := heapInUse() - before; more > keys*each/4 {
				t.Errorf("at entry %d, %d bytes are kept, of a store of %d", n, more, keys*each)
			}
		}
		if n == keys {
			break
		}
	}
}

// heapInUse is what is reachable, in bytes.
func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
