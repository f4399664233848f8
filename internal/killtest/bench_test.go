//go:build linux && (amd64 || arm64)

package killtest

import (
	"runtime"
	"testing"
)

// BenchmarkStep measures one single step, and BenchmarkTrial one death at the start of an operation.
func BenchmarkStep(b *testing.B) {
	benchmarkWorker(b, func(w *worker) {
		var v *tracee
		for i := 0; b.Loop(); i++ {
			if i%100_000 == 0 {
				b.StopTimer()
				if v != nil {
					v.kill()
				}
				var err error
				if v, err = w.start(roleFirst, &Trial{}); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			if err := v.step(); err != nil {
				b.Fatal(err)
			}
		}
		v.kill()
	})
}

func BenchmarkTrial(b *testing.B) {
	benchmarkWorker(b, func(w *worker) {
		for b.Loop() {
			v, err := w.start(roleFirst, &Trial{})
			if err != nil {
				b.Fatal(err)
			}
			v.kill()
		}
	})
}

func benchmarkWorker(b *testing.B, f func(w *worker)) {
	if err := permitted(); err != nil || raceEnabled {
		b.Skip("cannot trace a child: ", err)
	}
	im, err := loadImage()
	if err != nil {
		b.Fatal(err)
	}
	runtime.LockOSThread() // and bound to a CPU: the thread ends with the benchmark
	s := spins
	w, err := newWorker(&s, Options{}.withDefaults(&s), im, b.TempDir(), 0)
	if err != nil {
		b.Fatal(err)
	}
	defer w.close()
	f(w)
}
