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
