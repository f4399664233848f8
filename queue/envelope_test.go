package queue_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/queue"
)

// enveloped is the envelope of message i; every third has none.
func enveloped(i int) shiplap.Envelope {
	if i%3 == 2 {
		return nil
	}
	return shiplap.Envelope{"number": fmt.Append(nil, i), "trace": bytes.Repeat([]byte{byte(i)}, i%90)}
}

func sameEnvelope(t testing.TB, what string, got, want shiplap.Envelope, err error) {
	t.Helper()
	if err != nil || !maps.EqualFunc(got, want, bytes.Equal) {
		t.Fatalf("%s: %v, %v; %v is wanted", what, got, err, want)
	}
}

// TestEnvelopes: what PutWith puts in front of a message comes out of each call that asks for it, and of no
// other.
func TestEnvelopes(t *testing.T) {
	for _, ack := range []bool{false, true} {
		_, q := raw(t, &queue.Options{Capacity: 8192, Ack: ack})
		for i := range 200 {
			ok(t, q.PutWith(bg, message(i, 50), enveloped(i)))
			seen, err := q.Browse(bg, 1)
			ok(t, err)
			env, err := seen[0].Envelope()
			sameEnvelope(t, "Browse", env, enveloped(i), err)
			var b []byte
			switch {
			case ack && i%2 == 0:
				m, err := q.Receive(bg)
				ok(t, err)
				env, err := m.Envelope()
				sameEnvelope(t, "Receive", env, enveloped(i), err)
				b = m.Body
				ok(t, m.Ack())
			case i%5 == 0:
				b, err = q.Get(bg, nil)
				ok(t, err)
			default:
				b, env, err = q.GetWith(bg, []byte("before"))
				sameEnvelope(t, "GetWith", env, enveloped(i), err)
				b = bytes.TrimPrefix(b, []byte("before"))
			}
			if n, err := number(b); n != i || err != nil || !bytes.Equal(seen[0].Body, b) {
				t.Fatal(n, err)
			}
		}
	}
}

// TestEnvelopesExclusive is the same through exclusive handles, in place as well.
func TestEnvelopesExclusive(t *testing.T) {
	_, q := raw(t, &queue.Options{Capacity: 8192})
	p, err := q.Producer(bg)
	ok(t, err)
	c, err := q.Consumer(bg)
	ok(t, err)
	for i := range 200 {
		ok(t, p.PutWith(bg, message(i, 50), enveloped(i)))
		var b []byte
		switch i % 4 {
		case 0:
			b, err = c.Get(bg, nil)
		case 1:
			var view []byte
			view, err = c.Peek(bg)
			b = bytes.Clone(view)
			ok(t, c.Release())
		case 2:
			_, err = c.GetMany(bg, 9, func(m []byte) error { b = bytes.Clone(m); return nil })
		case 3:
			var env shiplap.Envelope
			b, env, err = c.GetWith(bg, nil)
			sameEnvelope(t, "GetWith", env, enveloped(i), err)
		}
		ok(t, err)
		if n, err := number(b); n != i || err != nil {
			t.Fatal(n, err)
		}
	}
}

func TestEnvelopesTyped(t *testing.T) {
	d := join(t, shmDir(t))
	q, err := queue.Create[map[string]int](d, "q", nil)
	ok(t, err)
	defer q.Close()
	for i := range 9 {
		want := map[string]int{"i": i}
		ok(t, q.PutWith(bg, want, enveloped(i)))
		v, env, err := q.GetWith(bg)
		sameEnvelope(t, "GetWith", env, enveloped(i), err)
		if !maps.Equal(v, want) {
			t.Errorf("%v; %v is wanted", v, want)
		}
	}
	p, err := q.Producer(bg)
	ok(t, err)
	c, err := q.Consumer(bg)
	ok(t, err)
	ok(t, p.PutWith(bg, nil, enveloped(1)))
	_, env, err := c.GetWith(bg)
	sameEnvelope(t, "Consumer.GetWith", env, enveloped(1), err)
}

// TestEnvelopeMoves: what is moved, rejected or worn keeps its envelope.
func TestEnvelopeMoves(t *testing.T) {
	d, q := limited(t, queue.Options{MaxDeliveries: 1})
	for i, away := range []func(m *queue.RawDelivery) error{
		(*queue.RawDelivery).Nack,
		func(m *queue.RawDelivery) error { return m.Reject(bg) },
	} {
		ok(t, q.PutWith(bg, message(i, 50), enveloped(i)))
		m, err := q.Receive(bg)
		ok(t, err)
		ok(t, away(m))
		dead, err := queue.OpenRaw(d, "dead", nil)
		ok(t, err)
		b, env, err := dead.GetWith(bg, nil)
		sameEnvelope(t, "a dead letter", env, enveloped(i), err)
		if n, err := number(b); n != i || err != nil {
			t.Error(n, err)
		}
		ok(t, dead.Close())
	}
}

func TestEnvelopeLimits(t *testing.T) {
	_, q := raw(t, &queue.Options{Capacity: 4096})
	for what, tt := range map[string]struct {
		n    int
		env  shiplap.Envelope
		want error
	}{
		"no key":                {0, shiplap.Envelope{"": nil}, shiplap.ErrName},
		"too much":              {0, shiplap.Envelope{"k": make([]byte, 1<<16)}, shiplap.ErrTooLarge},
		"too much with message": {q.MaxMessage(), shiplap.Envelope{"k": nil}, shiplap.ErrTooLarge},
	} {
		err := q.PutWith(bg, make([]byte, tt.n), tt.env)
		is(t, what, err, tt.want)
		if !strings.Contains(err.Error(), `queue "q"`) {
			t.Errorf("%s: %v does not name the queue", what, err)
		}
	}
	ok(t, q.PutWith(bg, make([]byte, q.MaxMessage()-16), shiplap.Envelope{"k": nil}))
}

// TestEnvelopeSpoiled: entries that cannot be are the fault of one message, which can be had all the same.
func TestEnvelopeSpoiled(t *testing.T) {
	for _, ack := range []bool{false, true} {
		d, q := raw(t, &queue.Options{Ack: ack})
		const key = "a key that is easy to find"
		put := func() {
			t.Helper()
			ok(t, q.PutWith(bg, []byte("body"), shiplap.Envelope{key: []byte("value")}))
			spoil(t, d, key)
		}
		put()
		seen, err := q.Browse(bg, 1)
		ok(t, err)
		_, err = seen[0].Envelope()
		is(t, "Browse", err, shiplap.ErrCorrupt)
		b, env, err := q.GetWith(bg, nil)
		is(t, "GetWith", err, shiplap.ErrCorrupt)
		var bad *queue.UndecodableError
		if !errors.As(err, &bad) || string(bad.Body) != "body" || string(b) != "body" || env != nil ||
			!bytes.Contains(bad.Envelope, []byte("value")) {
			t.Errorf("%q, %v, %#v", b, env, err)
		}
		put()
		if b, err := q.Get(bg, nil); err != nil || string(b) != "body" {
			t.Errorf("Get: %q, %v", b, err)
		}
		if !ack {
			continue
		}
		put()
		m, err := q.Receive(bg)
		ok(t, err)
		_, err = m.Envelope()
		is(t, "Envelope", err, shiplap.ErrCorrupt)
		ok(t, m.Ack())
	}
}

// spoil changes a key in the queue's file to what is no UTF-8.
func spoil(t *testing.T, d *shiplap.Domain, key string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(d.Dir(), "q"), os.O_RDWR, 0)
	ok(t, err)
	defer f.Close()
	img, err := os.ReadFile(f.Name())
	ok(t, err)
	at := bytes.LastIndex(img, []byte(key))
	if at < 0 {
		t.Fatal("the key is not there")
	}
	_, err = f.WriteAt([]byte{0xff}, int64(at))
	ok(t, err)
}

// echo gives each message back with its envelope, until the queue is closed.
func echo(d *shiplap.Domain, q *queue.Raw, _ int) error {
	back, err := queue.OpenRaw(d, "back", nil)
	if err != nil {
		return err
	}
	defer back.Close()
	for {
		b, env, err := q.GetWith(bg, nil)
		if errors.Is(err, shiplap.ErrClosed) {
			return nil
		}
		if err == nil {
			err = back.PutWith(bg, b, env)
		}
		if err != nil {
			return err
		}
	}
}

// TestEnvelopesOfProcesses sends envelopes to another process, and gets them back.
func TestEnvelopesOfProcesses(t *testing.T) {
	d, q := raw(t, &queue.Options{Capacity: 1 << 14})
	back, err := queue.CreateRaw(d, "back", &queue.Options{Capacity: 1 << 14})
	ok(t, err)
	defer back.Close()
	p := peertest.Start(t, d, "echo", 0)
	const n = 3000
	put := make(chan error)
	go func() {
		var err error
		for i := 0; i < n && err == nil; i++ {
			err = q.PutWith(bg, message(i, 8+i%300), enveloped(i))
		}
		put <- err
	}()
	for i := range n {
		b, env, err := back.GetWith(bg, nil)
		sameEnvelope(t, "back", env, enveloped(i), err)
		if got, err := number(b); got != i || err != nil {
			t.Fatal(got, err)
		}
	}
	ok(t, <-put)
	ok(t, q.CloseQueue())
	ok(t, p.Wait())
}

// TestEnvelopesTry: calls that do not wait say what the others would wait for.
func TestEnvelopesTry(t *testing.T) {
	for _, ack := range []bool{false, true} {
		_, q := raw(t, &queue.Options{Capacity: 4096, Ack: ack})
		fill := func(put func([]byte, shiplap.Envelope) error) (n int) {
			var err error
			for ; err == nil; n++ {
				err = put(message(n, 50), enveloped(n))
			}
			is(t, "put into a full queue", err, shiplap.ErrFull)
			return n - 1
		}
		drain := func(n int, get func([]byte) ([]byte, shiplap.Envelope, error)) {
			for i := range n {
				b, env, err := get([]byte("before"))
				sameEnvelope(t, "TryGetWith", env, enveloped(i), err)
				if n, err := number(bytes.TrimPrefix(b, []byte("before"))); n != i || err != nil {
					t.Fatal(n, err)
				}
			}
			_, _, err := get(nil)
			is(t, "get from an empty queue", err, shiplap.ErrEmpty)
		}
		drain(fill(q.TryPutWith), q.TryGetWith)
		p, err := q.Producer(bg)
		ok(t, err)
		is(t, "put beside a producer", q.TryPutWith(nil, enveloped(1)), shiplap.ErrBusy)
		is(t, "no key", p.TryPutWith(nil, shiplap.Envelope{"": nil}), shiplap.ErrName)
		n := fill(p.TryPutWith)
		if ack {
			drain(n, q.TryGetWith)
			continue
		}
		c, err := q.Consumer(bg)
		ok(t, err)
		_, _, err = q.TryGetWith(nil)
		is(t, "get beside a consumer", err, shiplap.ErrBusy)
		drain(n, c.TryGetWith)
	}
}

func TestEnvelopesTryTyped(t *testing.T) {
	q, err := queue.Create[[]string](join(t, shmDir(t)), "q", nil)
	ok(t, err)
	defer q.Close()
	want := []string{"v"}
	check := func(v []string, env shiplap.Envelope, err error) {
		t.Helper()
		if sameEnvelope(t, "TryGetWith", env, enveloped(1), err); len(v) != 1 || v[0] != "v" {
			t.Error(v)
		}
	}
	ok(t, q.TryPutWith(want, enveloped(1)))
	check(q.TryGetWith())
	p, err := q.Producer(bg)
	ok(t, err)
	c, err := q.Consumer(bg)
	ok(t, err)
	ok(t, p.TryPutWith(want, enveloped(1)))
	check(c.TryGetWith())
}
