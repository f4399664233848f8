package topic_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/topic"
)

// enveloped is the envelope of message i; every third has none.
func enveloped(i int) shiplap.Envelope {
	if i%3 == 2 {
		return nil
	}
	return shiplap.Envelope{"number": fmt.Append(nil, i), "trace": bytes.Repeat([]byte{byte(i)}, i%90)}
}

func same(t testing.TB, got, want shiplap.Envelope, err error) {
	t.Helper()
	if err != nil || !maps.EqualFunc(got, want, bytes.Equal) {
		t.Fatalf("%v, %v; %v is wanted", got, err, want)
	}
}

// TestEnvelopes: a subscriber that asks for envelopes gets them, one that does not gets the messages.
func TestEnvelopes(t *testing.T) {
	for _, policy := range []topic.Policy{topic.Block, topic.Overwrite} {
		_, r := raw(t, &topic.Options{Capacity: 8192, Policy: policy})
		p, err := r.Publisher(bg)
		ok(t, err)
		asks, other := subscribe(t, r, 0), subscribe(t, r, 0)
		for i := range 200 {
			ok(t, p.PublishWith(bg, message(i, 50), enveloped(i)))
			b, env, err := asks.ReceiveWith(bg, []byte("before"))
			same(t, env, enveloped(i), err)
			if n, err := number(bytes.TrimPrefix(b, []byte("before"))); n != i || err != nil {
				t.Fatal(n, err)
			}
			receive := other.TryReceive
			if i%2 == 0 {
				receive = func(dst []byte) ([]byte, error) { return other.Receive(bg, dst) }
			}
			if b, err = receive(nil); err != nil || !bytes.Equal(b, message(i, 50)) {
				t.Fatal(b, err)
			}
		}
	}
}

func TestEnvelopesTyped(t *testing.T) {
	tp := closing[*topic.Topic[[]string]](t)(topic.Create[[]string](domain(t), "t", nil))
	s := closing[*topic.Subscription[[]string]](t)(tp.Subscribe(nil))
	publish := tp.PublishWith
	for i := range 6 {
		if i == 3 {
			publish = closing[*topic.Publisher[[]string]](t)(tp.Publisher(bg)).PublishWith
		}
		ok(t, publish(bg, []string{fmt.Sprint(i)}, enveloped(i)))
		v, env, err := s.ReceiveWith(bg)
		same(t, env, enveloped(i), err)
		if len(v) != 1 || v[0] != fmt.Sprint(i) {
			t.Error(v)
		}
	}
}

func TestEnvelopeLimits(t *testing.T) {
	_, r := raw(t, &topic.Options{Capacity: 4096})
	is(t, "no key", r.PublishWith(bg, nil, shiplap.Envelope{"": nil}), shiplap.ErrName)
	short, most := shiplap.Envelope{"k": nil}, r.MaxMessage()-16
	is(t, "too long", r.PublishWith(bg, make([]byte, most+1), short), shiplap.ErrTooLarge)
	ok(t, r.PublishWith(bg, make([]byte, most), short))
}

// receiveTraced receives until the topic is closed, and checks each envelope.
func receiveTraced(_ *shiplap.Domain, r *topic.Raw, _ int) error {
	s, err := r.Subscribe(nil)
	if err != nil {
		return err
	}
	defer s.Close()
	peertest.Say("here")
	for i := 0; ; i++ {
		b, env, err := s.ReceiveWith(bg, nil)
		if errors.Is(err, shiplap.ErrClosed) {
			peertest.Say(i)
			return nil
		}
		if err != nil {
			return err
		}
		if n, err := number(b); n != i || err != nil || !maps.EqualFunc(env, enveloped(i), bytes.Equal) {
			return fmt.Errorf("message %d has number %d and envelope %v (%v)", i, n, env, err)
		}
	}
}

// TestEnvelopesOfProcesses publishes envelopes to another process.
func TestEnvelopesOfProcesses(t *testing.T) {
	d, r := raw(t, &topic.Options{Capacity: 1 << 14})
	p := peertest.Start(t, d, "receive traced", 0)
	p.Says("here")
	const n = 3000
	for i := range n {
		ok(t, r.PublishWith(soon(t), message(i, 8+i%300), enveloped(i)))
	}
	ok(t, r.CloseTopic())
	p.Says(fmt.Sprint(n))
	ok(t, p.Wait())
}

// TestEnvelopesTry: calls that do not wait say what the others would wait for.
func TestEnvelopesTry(t *testing.T) {
	_, r := raw(t, &topic.Options{Capacity: 4096})
	s := subscribe(t, r, 0)
	through := func(publish func([]byte, shiplap.Envelope) error) {
		t.Helper()
		var err error
		n := 0
		for ; err == nil; n++ {
			err = publish(message(n, 50), enveloped(n))
		}
		is(t, "published into a full topic", err, shiplap.ErrFull)
		for i := range n - 1 {
			b, env, err := s.TryReceiveWith([]byte("before"))
			same(t, env, enveloped(i), err)
			if n, err := number(bytes.TrimPrefix(b, []byte("before"))); n != i || err != nil {
				t.Fatal(n, err)
			}
		}
		_, _, err = s.TryReceiveWith(nil)
		is(t, "nothing to receive", err, shiplap.ErrEmpty)
	}
	through(r.TryPublishWith)
	p, err := r.Publisher(bg)
	ok(t, err)
	is(t, "beside a publisher", r.TryPublishWith(nil, enveloped(1)), shiplap.ErrBusy)
	is(t, "no key", p.TryPublishWith(nil, shiplap.Envelope{"": nil}), shiplap.ErrName)
	through(p.TryPublishWith)
}

func TestEnvelopesTryTyped(t *testing.T) {
	tp := closing[*topic.Topic[[]string]](t)(topic.Create[[]string](domain(t), "t", nil))
	s := closing[*topic.Subscription[[]string]](t)(tp.Subscribe(nil))
	publish := tp.TryPublishWith
	for i := range 6 {
		if i == 3 {
			publish = closing[*topic.Publisher[[]string]](t)(tp.Publisher(bg)).TryPublishWith
		}
		ok(t, publish([]string{fmt.Sprint(i)}, enveloped(i)))
		v, env, err := s.TryReceiveWith()
		same(t, env, enveloped(i), err)
		if len(v) != 1 || v[0] != fmt.Sprint(i) {
			t.Error(v)
		}
	}
}
