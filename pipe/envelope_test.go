package pipe_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/pipe"
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
	a, b := pair(t, domain(t), &pipe.Options{Capacity: 4096})
	defer b.Close()
	defer a.Close()
	for i := range 200 {
		want := fmt.Sprint("message ", i)
		ok(t, a.SendWith(bg, []byte(want), enveloped(i)))
		var got []byte
		var err error
		switch i % 5 {
		case 0:
			got, err = b.Recv(bg, nil)
		case 1: // as a stream
			got = make([]byte, len(want))
			_, err = io.ReadFull(b, got)
		default:
			var env shiplap.Envelope
			got, env, err = b.RecvWith(bg, nil)
			same(t, env, enveloped(i), err)
		}
		if err != nil || string(got) != want {
			t.Fatalf("%q, %v", got, err)
		}
	}
	is(t, "no key", a.SendWith(bg, nil, shiplap.Envelope{"": nil}), shiplap.ErrName)
	short, most := shiplap.Envelope{"k": nil}, a.MaxMessage()-16
	is(t, "too long", a.SendWith(bg, make([]byte, most+1), short), shiplap.ErrTooLarge)
	ok(t, a.SendWith(bg, make([]byte, most), short))
}

// echo sends each message back with its envelope, until the other end is closed.
func echo(d *shiplap.Domain, a arg) error {
	e, err := pipe.Open(d, a.Name, nil)
	if err != nil {
		return err
	}
	for {
		m, env, err := e.RecvWith(bg, nil)
		if err == io.EOF {
			return e.Close()
		}
		if err == nil {
			err = e.SendWith(bg, m, env)
		}
		if err != nil {
			return err
		}
	}
}

func TestEnvelopesOfProcesses(t *testing.T) {
	d := domain(t)
	e, err := pipe.Create(d, "p", small)
	ok(t, err)
	p := peertest.Start(t, d, "echo", arg{Name: "p"})
	for i := range 1000 {
		want := fmt.Sprint("message ", i)
		ok(t, e.SendWith(bg, []byte(want), enveloped(i)))
		got, env, err := e.RecvWith(bg, nil)
		same(t, env, enveloped(i), err)
		if string(got) != want {
			t.Fatalf("%q", got)
		}
	}
	ok(t, e.Close())
	ok(t, p.Wait())
}
