package table

import (
	"fmt"
	"sync"
	"testing"
)

const benchKeys = 100_000

func benchTable(b *testing.B) (*Table, []string) {
	w := newWorld(Geometry{Buckets: 32768, Size: 64 << 20, Log: 8192, Locks: 256})
	tb := w.open(1)
	keys := make([]string, benchKeys)
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%012d", i)
		if _, err := tb.Set(bg, keys[i], make([]byte, 64), Change{}); err != nil {
			b.Fatal(err)
		}
	}
	return tb, keys
}

// draw walks through the keys in an order that prefetching does not guess.
func draw(i *uint32) int {
	*i = *i*1664525 + 1013904223
	return int(uint64(*i) * benchKeys >> 32)
}

func BenchmarkGet(b *testing.B) {
	tb, keys := benchTable(b)
	buf, i := make([]byte, 0, 64), uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, _, err = getOf(tb, buf[:0], keys[draw(&i)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSet(b *testing.B) {
	tb, keys := benchTable(b)
	buf, i := make([]byte, 64), uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tb.Set(bg, keys[draw(&i)], buf, Change{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMap is the same with what a single process would use.
func BenchmarkMap(b *testing.B) {
	m, mu := map[string][]byte{}, sync.RWMutex{}
	keys := make([]string, benchKeys)
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%012d", i)
		m[keys[i]] = make([]byte, 64)
	}
	b.Run("get", func(b *testing.B) {
		buf, i := make([]byte, 0, 64), uint32(0)
		for b.Loop() {
			mu.RLock()
			buf = append(buf[:0], m[keys[draw(&i)]]...)
			mu.RUnlock()
		}
	})
	b.Run("set", func(b *testing.B) {
		buf, i := make([]byte, 64), uint32(0)
		for b.Loop() {
			mu.Lock()
			k := keys[draw(&i)]
			m[k] = append(m[k][:0], buf...)
			mu.Unlock()
		}
	})
}

func getOf(t *Table, dst []byte, key string) ([]byte, Meta, error) {
	return t.Append(dst, key, t.Hash(key))
}
