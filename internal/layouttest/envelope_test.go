package layouttest

import (
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

// envelopeVars are the lengths of a table of an entry.
func envelopeVars(key, value string) variables {
	return variables{"key": len(key), "value": len(value)}
}

// TestEnvelopeWords holds a message with an envelope to the page, in a queue and one with acknowledgement.
func TestEnvelopeWords(t *testing.T) {
	h := get(t, "headerbits").bits(t, "Bits")
	for _, ack := range []bool{false, true} {
		d := join(t, shmDir(t))
		q := create(t, d, "q", queue.Options{Capacity: 4096, Ack: ack})
		ok(t, q.PutWith(bg, []byte("body"), shiplap.Envelope{"trace": []byte("00-11"), "b": nil}))
		img, at := file(t, d, "q"), at(t, "queue", "queue area").off
		n := 8 + (6 + 1) + (6 + 5 + 5) + 1
		head := int(h["length"].put(uint64(n+4)) | h["valid"].put(1) | h["envelope"].put(1) | h["number"].put(1))
		if ack {
			compare(t, "ackrecord", img, at, 16+n+8, n+8, want{"record header": head, "record state": 0, "payload": skip{}})
			at += 16
		} else {
			compare(t, "record", img, at, 8+n+8, n+8, want{"record header": head, "payload": skip{}})
			at += 8
		}
		compare(t, "envelope", img, at, 8, 0, want{"envelope length": n, "envelope entries": 2})
		compareWith(t, "envelopeentry", img, at+8, 7, envelopeVars("b", ""),
			want{"value length": 0, "key length": 1, "key": "b", "value": ""})
		compareWith(t, "envelopeentry", img, at+15, 16, envelopeVars("trace", "00-11"),
			want{"value length": 5, "key length": 5, "key": "trace", "value": "00-11"})
		if got := string(img[at+n:][:4]); got != "body" {
			t.Errorf("the body is %q", got)
		}
	}
}
