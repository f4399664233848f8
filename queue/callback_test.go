package queue_test

import (
	"errors"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

// A function that is given messages may close what gives them: the call ends, and nothing waits for itself.
func TestCloseFromCallback(t *testing.T) {
	for name, all := range map[string]bool{"the consumer": false, "the queue": true} {
		t.Run(name, func(t *testing.T) {
			d, q := raw(t, nil)
			for _, m := range []string{"a", "b", "c"} {
				ok(t, q.Put(bg, []byte(m)))
			}
			c, err := q.Consumer(bg)
			ok(t, err)
			done := make(chan error, 1)
			var saw int
			go func() {
				_, err := c.GetMany(bg, 2, func([]byte) error {
					if saw++; saw > 1 {
						return nil
					}
					if all {
						return q.Close()
					}
					return c.Close()
				})
				done <- err
			}()
			select {
			case err = <-done:
			case <-time.After(20 * time.Second):
				t.Fatal("Close waits for the call that it was called from")
			}
			ok(t, err)
			if _, err := c.Get(bg, nil); !errors.Is(err, shiplap.ErrClosed) {
				t.Errorf("Get afterwards: %v", err)
			}
			other, err := queue.OpenRaw(d, "q", nil)
			ok(t, err)
			defer other.Close()
			b, err := other.TryGet(nil) // the side is free, and what was seen is taken
			if ok(t, err); string(b) != "c" {
				t.Errorf("the next one gets %q", b)
			}
		})
	}
}
