package layouttest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
	"github.com/shiplap-ipc/shiplap/topic"
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

// traced is the envelope of message i, nil for every third, and tracedText what the C clients print of it.
func traced(i int) shiplap.Envelope {
	if i%3 == 2 {
		return nil
	}
	return shiplap.Envelope{"trace": fmt.Append(nil, i), "a": bytes.Repeat([]byte{'v'}, i%70)}
}

func tracedText(i int) string {
	if i%3 == 2 {
		return ""
	}
	return fmt.Sprintf("a=%s trace=%d ", strings.Repeat("v", i%70), i)
}

// TestEnvelopesGoToC: what C takes with envelopes has those of Go; what does not ask gets the messages.
func TestEnvelopesGoToC(t *testing.T) {
	for _, tt := range []struct {
		cmd       string
		ack, with bool
	}{{"get", false, false}, {"get-with", false, true}, {"receive", true, false}, {"receive-with", true, true}} {
		dir, _, q := setup(t, queue.Options{Ack: tt.ack})
		c := client(t, dir, "q", tt.cmd, "0")
		go func() {
			for i := range someLines {
				if err := q.PutWith(bg, line(i), traced(i)); err != nil {
					t.Error(err)
					break
				}
			}
			if err := q.CloseQueue(); err != nil {
				t.Error(err)
			}
		}()
		for i := range someLines {
			want := string(line(i))
			if tt.with {
				want = tracedText(i) + want
			}
			if tt.ack {
				want = "1 " + want
			}
			c.says(want)
		}
		c.done()
	}
}

func TestEnvelopesCToGo(t *testing.T) {
	for _, ack := range []bool{false, true} {
		dir, _, q := setup(t, queue.Options{Ack: ack})
		feed(t, clientCmd(t, dir, "q", "put", "trace=00-11"), 0, someLines)
		for i := range someLines {
			b, env, err := q.GetWith(limited(t), nil)
			if err != nil || !bytes.Equal(b, line(i)) || len(env) != 1 || string(env["trace"]) != "00-11" {
				t.Fatalf("message %d: %.80q, %v, %v", i, b, env, err)
			}
		}
	}
}

func TestTopicEnvelopesAcrossLanguages(t *testing.T) {
	policies(t, func(t *testing.T, p topic.Policy) {
		dir := shmDir(t)
		tp := newTopic(t, join(t, dir), topic.Options{Capacity: 1 << 20, Policy: p})
		const n = 1000
		for i := range n {
			ok(t, tp.PublishWith(bg, line(i), traced(i)))
		}
		with, without := topicIn(t, dir, "subscribe-with", "0", "1000"), topicIn(t, dir, "subscribe", "0", "1000")
		s := subscribe(t, tp, 0)
		with.says("subscribed")
		without.says("subscribed")
		for i := range n {
			with.says(tracedText(i) + string(line(i)))
			without.says(string(line(i)))
		}
		c := publishIn(t, dir, 0, n, "k=v")
		c.says("published")
		c.done()
		ok(t, tp.CloseTopic())
		for i := range n {
			b, env, err := s.ReceiveWith(limited(t), nil)
			if err != nil || !bytes.Equal(b, line(i)) || len(env) != 1 || string(env["k"]) != "v" {
				t.Fatalf("message %d: %.80q, %v, %v", i, b, env, err)
			}
		}
		without.lines(0, n)
		without.done()
		for i := range n {
			with.says("k=v " + string(line(i)))
		}
		with.done()
	})
}

// TestEnvelopeChecked: a length that cannot be is corrupt for Go and for C, and the record stays.
func TestEnvelopeChecked(t *testing.T) {
	dir, d, q := setup(t, queue.Options{Capacity: 4096})
	ok(t, q.PutWith(bg, []byte("body"), traced(1)))
	f, err := os.OpenFile(filepath.Join(d.Dir(), "q"), os.O_RDWR, 0)
	ok(t, err)
	defer f.Close()
	off := int64(at(t, "queue", "queue area").off + 8 + at(t, "envelope", "envelope length").off)
	for _, n := range []byte{0, 7, 12, 248} {
		_, err = f.WriteAt([]byte{n, 0, 0, 0}, off)
		ok(t, err)
		if _, err := q.TryGet(nil); !errors.Is(err, shiplap.ErrCorrupt) {
			t.Errorf("length %d: %v", n, err)
		}
		out, err := clientCmd(t, dir, "q", "get", "1").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "corrupt: envelope length") {
			t.Errorf("length %d: C says %q, %v", n, out, err)
		}
	}
	if st, err := q.Stats(); err != nil || st.Depth != 1 {
		t.Errorf("%+v, %v", st, err)
	}
}
