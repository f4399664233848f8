package queue_test

import (
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/killtest"
)

func TestEveryOperationHasAScenario(t *testing.T) {
	const (
		looks = "it reads, and changes nothing that is shared"
		typed = "it encodes or decodes, and does the rest by the method of the same name of the raw type"
		loops = "it calls Get or Receive again and again"
		into  = "it is Get with memory of the caller's"
	)
	killtest.CheckCovered(t, ".", map[string]string{
		"queue.*.Stats": looks, "queue.*.String": looks, "queue.UndecodableDelivery.Error": looks, "queue.UndecodableDelivery.Unwrap": looks, "queue.Stats.String": looks,
		"queue.Raw.Name": looks, "queue.Raw.Type": looks, "queue.Raw.Ack": looks, "queue.Raw.MaxMessage": looks,
		"queue.Raw.MaxDeliveries": looks, "queue.Raw.DeadLetters": looks,
		"queue.*.All": loops, "queue.*.Deliveries": loops,
		"queue.Queue.*": typed, "queue.Producer.*": typed, "queue.Consumer.*": typed,
		"queue.RawDelivery.Envelope": looks, "queue.Message.Envelope": looks,
		"queue.*.GetInto": into, "queue.*.Raw": looks,
	}, scenarios()...)
}
