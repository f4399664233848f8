package channel_test

import (
	"bytes"
	"fmt"
	"maps"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
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

func TestEnvelopes(t *testing.T) {
	a, b := pair[map[string]int](t, &channel.Options{Capacity: 4096})
	for i := range 200 {
		ok(t, a.SendWith(bg, map[string]int{"i": i}, enveloped(i)))
		if i%5 == 0 {
			v, err := b.Receive(bg)
			if err != nil || v["i"] != i {
				t.Fatal(v, err)
			}
			continue
		}
		v, env, err := b.ReceiveWith(bg)
		same(t, env, enveloped(i), err)
		if v["i"] != i {
			t.Fatal(v)
		}
	}
	raw := a.Raw()
	is(t, "no key", raw.SendWith(bg, nil, shiplap.Envelope{"": nil}), shiplap.ErrName)
	short, most := shiplap.Envelope{"k": nil}, raw.MaxMessage()-16
	is(t, "too long", raw.SendWith(bg, make([]byte, most+1), short), shiplap.ErrTooLarge)
	ok(t, raw.SendWith(bg, make([]byte, most), short))
}

// TestEnvelopesTry: calls that do not wait say what the others would wait for.
func TestEnvelopesTry(t *testing.T) {
	a, b := pair[map[string]int](t, &channel.Options{Capacity: 4096})
	var err error
	n := 0
	for ; err == nil; n++ {
		err = a.TrySendWith(map[string]int{"i": n}, enveloped(n))
	}
	is(t, "sent into a full channel", err, shiplap.ErrFull)
	for i := range n - 1 {
		v, env, err := b.TryReceiveWith()
		same(t, env, enveloped(i), err)
		if v["i"] != i {
			t.Fatal(v)
		}
	}
	_, _, err = b.TryReceiveWith()
	is(t, "nothing to receive", err, shiplap.ErrEmpty)
	is(t, "no key", a.TrySendWith(nil, shiplap.Envelope{"": nil}), shiplap.ErrName)
}

// echo sends each message back with its envelope, until the other side is closed.
func echo(d *shiplap.Domain, name string) error {
	c, err := channel.Get[int](d, name, nil)
	if err != nil {
		return err
	}
	for peertest.Say("has it"); ; {
		v, env, err := c.ReceiveWith(bg)
		if err == nil {
			err = c.SendWith(bg, v, env)
		}
		if err != nil {
			return c.Close()
		}
	}
}

func TestEnvelopesOfProcesses(t *testing.T) {
	d := domain(t)
	c := set[int](t, d, "c", nil)
	p := peertest.Start(t, d, "echo", "c")
	p.Says("has it")
	for i := range 1000 {
		ok(t, c.SendWith(soon(t), i, enveloped(i)))
		v, env, err := c.ReceiveWith(soon(t))
		same(t, env, enveloped(i), err)
		if v != i {
			t.Fatal(v)
		}
	}
	ok(t, c.Close())
	ok(t, p.Wait())
}
