package shared_test

import (
	"sync/atomic"
	"testing"

	"github.com/shiplap-ipc/shiplap/shared"
)

// BenchmarkAdd compares, in one run, a plain atomic add with Add in place and with the checked call.
func BenchmarkAdd(b *testing.B) {
	d := domain(b)
	v := value(b, d, "v", int64(0))
	b.Run("atomic", func(b *testing.B) {
		x := new(int64)
		for b.Loop() {
			atomic.AddInt64(x, 1)
		}
	})
	b.Run("Word", func(b *testing.B) {
		w, err := shared.Pin(v)
		ok(b, err)
		defer w.Release()
		for b.Loop() {
			w.Add(1)
		}
	})
	b.Run("Add", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := shared.Add(v, 1); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkValue(b *testing.B) {
	d := domain(b)
	v, s := value(b, d, "v", int64(0)), value(b, d, "s", [8]int64{})
	withBool := value(b, d, "b", blockOf(0))
	for name, f := range map[string]func() error{
		"word/Load":   func() error { return second(v.Load()) },
		"word/Store":  func() error { return v.Store(bg, 1) },
		"64B/Load":    func() error { return second(s.Load()) },
		"64B/Store":   func() error { return s.Store(bg, [8]int64{1}) },
		"64B/Update":  func() error { return second(s.Update(bg, func(x *[8]int64) error { x[0]++; return nil })) },
		"bool/Load":   func() error { return second(withBool.Load()) },
		"word/Update": func() error { return second(v.Update(bg, func(x *int64) error { *x++; return nil })) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLock takes the own lock of a small array, whose memory lingers, and of a large one.
func BenchmarkLock(b *testing.B) {
	d := domain(b)
	for _, size := range []struct {
		name string
		n    int
	}{{"small", 64}, {"large", 1 << 16}} {
		a := array[int64](b, d, size.name, nil, size.n)
		b.Run(size.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if a.Lock(bg) != nil || a.Unlock() != nil { // ok would cost more than they do
					b.Fatal("not locked, or not unlocked")
				}
			}
		})
	}
}

// BenchmarkArray compares, in one run, sums over a Go slice, over the array in place, and by other ways in.
func BenchmarkArray(b *testing.B) {
	const n = 1 << 16
	d := domain(b)
	a := array[int64](b, d, "a", nil, n)
	framed := array[int64](b, d, "f", &shared.ArrayOptions{Frames: 3}, n)
	plain := make([]int64, n)
	sum := func(s []int64) (x int64) {
		for i := range s {
			s[i]++
			x += s[i]
		}
		return x
	}
	b.Run("Go slice", func(b *testing.B) {
		b.SetBytes(8 * n)
		for b.Loop() {
			sum(plain)
		}
	})
	b.Run("Slice", func(b *testing.B) {
		s, release, err := a.Slice()
		ok(b, err)
		defer release()
		b.SetBytes(8 * n)
		for b.Loop() {
			sum(s)
		}
	})
	b.Run("copy", func(b *testing.B) {
		other := make([]int64, n)
		b.SetBytes(8 * n)
		for b.Loop() {
			copy(other, plain)
		}
	})
	b.Run("Snapshot", func(b *testing.B) {
		b.SetBytes(8 * n)
		for b.Loop() {
			ok(b, a.Snapshot(bg, plain))
		}
	})
	b.Run("Publish and Latest", func(b *testing.B) {
		b.SetBytes(16 * n)
		for b.Loop() {
			ok(b, second(framed.Publish(bg, func(f []int64) error { copy(f, plain); return nil })))
			ok(b, second(framed.Latest(plain)))
		}
	})
	b.Run("At", func(b *testing.B) {
		for b.Loop() {
			if _, err := a.At(5); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("View.At", func(b *testing.B) {
		v, err := a.Pin()
		ok(b, err)
		defer v.Release()
		for b.Loop() {
			v.At(5)
		}
	})
}
