package topic_test

import (
	"errors"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/topic"
)

// A message that is longer than a handle takes is passed over, with an error.
func TestMaxReceive(t *testing.T) {
	for _, policy := range []topic.Policy{topic.Block, topic.Overwrite} {
		d, a := raw(t, &topic.Options{Policy: policy})
		small, err := topic.OpenRaw(d, a.Name(), &topic.Options{MaxReceive: 999})
		ok(t, err)
		defer small.Close()
		s, err := small.Subscribe(nil)
		ok(t, err)
		ok(t, a.TryPublish(make([]byte, 1000)))
		ok(t, a.TryPublish(make([]byte, 999)))
		if _, err := s.Receive(bg, nil); !errors.Is(err, shiplap.ErrTooLarge) {
			t.Errorf("%v: %v", policy, err)
		}
		if b, err := s.Receive(bg, nil); err != nil || len(b) != 999 {
			t.Errorf("%v: the next: %d bytes, %v", policy, len(b), err)
		}
	}
}
