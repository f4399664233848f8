package lock

import (
	"context"
	"testing"

	"github.com/shiplap-ipc/shiplap"
)

func BenchmarkMutex(b *testing.B) {
	d, err := shiplap.Join("bench", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	m, err := CreateMutex(d, "m", &Options{Ephemeral: true})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Lock(ctx); err != nil {
			b.Fatal(err)
		}
		if err := m.Unlock(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRWMutex(b *testing.B) {
	d, err := shiplap.Join("bench", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	m, err := CreateRWMutex(d, "rw", &Options{Ephemeral: true})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	ctx := context.Background()
	for _, c := range []struct {
		name string
		in   func(context.Context) error
		out  func() error
	}{{"read", m.RLock, m.RUnlock}, {"write", m.Lock, m.Unlock}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.in(ctx); err != nil {
					b.Fatal(err)
				}
				if err := c.out(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBarrier(b *testing.B) {
	d, err := shiplap.Join("bench", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	m, err := CreateBarrier(d, "b", 1, &Options{Ephemeral: true})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	for b.Loop() {
		if _, err := m.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
