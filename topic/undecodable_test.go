package topic_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/topic"
)

// A message that cannot be decoded ends no loop, and its bytes are in the error.
func TestUndecodable(t *testing.T) {
	type event struct{ At time.Time }
	var logged bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, nil)))
	defer slog.SetDefault(old)
	tp := closing[*topic.Topic[event]](t)(topic.Create[event](domain(t), "t", nil))
	err := tp.Publish(bg, event{time.Unix(1<<62, 0)})
	if err == nil || !strings.Contains(err.Error(), "event.At: year ") {
		t.Errorf("a year beyond 9999: %v", err)
	}
	loop := closing[*topic.Subscription[event]](t)(tp.Subscribe(nil))
	handler := closing[*topic.Subscription[event]](t)(tp.Subscribe(nil))
	const text, cut = "\x65hello", "\x65hell"
	ok(t, tp.Raw().Publish(bg, []byte(text)))
	ok(t, tp.Raw().Publish(bg, []byte(cut)))
	last := event{time.Unix(5, 0).UTC()}
	ok(t, tp.Publish(bg, last))
	ok(t, tp.CloseTopic())
	n := 0
	for v, err := range loop.All(soon(t)) {
		var e *topic.UndecodableError
		switch {
		case n == 0 && errors.As(err, &e) && string(e.Body) == text && errors.Is(err, shiplap.ErrIncompatible):
		case n == 1 && errors.As(err, &e) && string(e.Body) == cut && errors.Is(err, shiplap.ErrCorrupt):
		case n == 2 && err == nil && v == last:
		default:
			t.Errorf("%d: %v, %v", n, v, err)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d of 3", n)
	}
	var got []event
	ok(t, handler.OnMessage(soon(t), func(v event) { got = append(got, v) }))
	if len(got) != 1 || strings.Count(logged.String(), "cannot be decoded") != 2 {
		t.Errorf("%v, logged %s", got, &logged)
	}
}
