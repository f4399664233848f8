//go:build explore

package row

import (
	"context"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/explore"
)

// A message with an envelope is overwritten while it is read: it is gone then, and never corrupt.
func TestSchedulesOfEnvelopes(t *testing.T) {
	exploring(t, explore.Options{Switches: 2}, func() *aTopic {
		a := newTopicOf(true, func(f *Topic) error {
			return f.PutWith(context.Background(), []byte{8, 0, 0, 0, 0, 0, 0, 0}, ofLength(1))
		})
		a.exclusive(false, 90)
		a.subscriber(1<<40, 2)
		return a
	})
}
