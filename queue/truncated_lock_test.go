package queue_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

// A file that was cut short is an error for all: a call that meets the missing memory does not keep the lock of its
// side, behind which others would wait for a living process.
func TestTruncatedKeepsNoLock(t *testing.T) {
	for name, meet := range map[string]func(q *queue.Raw) error{
		"producer": func(q *queue.Raw) error { _, err := q.Producer(bg); return err },
		"consumer": func(q *queue.Raw) error { _, err := q.Consumer(bg); return err },
	} {
		t.Run(name, func(t *testing.T) {
			d, q := raw(t, nil)
			// The control words stay, the messages go.
			if err := os.Truncate(filepath.Join(d.Dir(), "q"), 8192); err != nil {
				t.Fatal(err)
			}
			if err := meet(q); !errors.Is(err, shiplap.ErrCorrupt) {
				t.Fatalf("%v; %v is wanted", err, shiplap.ErrCorrupt)
			}
			ctx, cancel := context.WithTimeout(bg, 5*time.Second)
			defer cancel()
			if err := q.Put(ctx, nil); !errors.Is(err, shiplap.ErrCorrupt) {
				t.Errorf("Put: %v", err)
			}
			if _, err := q.Get(ctx, nil); !errors.Is(err, shiplap.ErrCorrupt) {
				t.Errorf("Get: %v", err)
			}
		})
	}
}
