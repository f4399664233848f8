package pipe_test

import (
	"context"
	"errors"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/pipe"
)

// A message that is longer than an end takes costs it no memory; it can still be read as a stream.
func TestMaxReceive(t *testing.T) {
	d := domain(t)
	a, err := pipe.Create(d, "p", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := pipe.Open(d, "p", &pipe.Options{MaxReceive: 999})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := a.Send(context.Background(), make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Recv(context.Background(), nil); !errors.Is(err, shiplap.ErrTooLarge) {
		t.Errorf("Recv: %v", err)
	}
	if n, err := b.Read(make([]byte, 2000)); err != nil || n != 1000 {
		t.Errorf("Read: %d bytes, %v", n, err)
	}
}
