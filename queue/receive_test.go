package queue_test

import (
	"errors"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

// A message that is longer than a handle takes costs it no memory, and stays for others.
func TestMaxReceive(t *testing.T) {
	for _, ack := range []bool{false, true} {
		d, q := raw(t, &queue.Options{Ack: ack})
		ok(t, q.TryPut(make([]byte, 1000)))
		small, err := queue.OpenRaw(d, q.Name(), &queue.Options{MaxReceive: 999})
		ok(t, err)
		defer small.Close()
		if _, err := small.TryGet(nil); !errors.Is(err, shiplap.ErrTooLarge) {
			t.Errorf("ack %v, TryGet: %v", ack, err)
		}
		if _, err := small.Get(bg, nil); !errors.Is(err, shiplap.ErrTooLarge) {
			t.Errorf("ack %v, Get: %v", ack, err)
		}
		if ack {
			if _, err := small.Receive(bg); !errors.Is(err, shiplap.ErrTooLarge) {
				t.Errorf("Receive: %v", err)
			}
		} else {
			c, err := small.Consumer(bg)
			ok(t, err)
			if _, err := c.Get(bg, nil); !errors.Is(err, shiplap.ErrTooLarge) {
				t.Errorf("Consumer.Get: %v", err)
			}
			ok(t, c.Close())
		}
		if b, err := q.TryGet(nil); err != nil || len(b) != 1000 {
			t.Errorf("ack %v: another handle gets %d bytes, %v", ack, len(b), err)
		}
	}
}
