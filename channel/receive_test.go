package channel_test

import (
	"errors"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
)

// A message that is longer than a handle takes costs it no memory, and stays.
func TestMaxReceive(t *testing.T) {
	d := domain(t)
	c, err := channel.Set[[]byte](d, "c", nil)
	ok(t, err)
	defer c.Close()
	a := c.Raw()
	small, err := channel.OpenRaw(d, "c", &channel.Options{MaxReceive: 999})
	ok(t, err)
	ok(t, a.TrySend(make([]byte, 1000)))
	if _, err := small.TryReceive(nil); !errors.Is(err, shiplap.ErrTooLarge) {
		t.Errorf("TryReceive: %v", err)
	}
	if _, err := small.Receive(bg, nil); !errors.Is(err, shiplap.ErrTooLarge) {
		t.Errorf("Receive: %v", err)
	}
	ok(t, small.Close())
	b, err := channel.OpenRaw(d, "c", nil)
	ok(t, err)
	defer b.Close()
	if m, err := b.TryReceive(nil); err != nil || len(m) != 1000 {
		t.Errorf("another handle gets %d bytes, %v", len(m), err)
	}
}
