package channel_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
)

func TestRefGone(t *testing.T) {
	d := domain(t)
	c, err := channel.Set[int](d, "x", nil)
	ok(t, err)
	ref, err := c.Ref(channel.SideA)
	ok(t, err)
	ok(t, c.Close(), d.Remove(bg, "x"))
	_, err = ref.Open(d, nil)
	is(t, "removed", err, shiplap.ErrNotExist)
	if !strings.Contains(err.Error(), "all who had it open closed it or died") || !strings.Contains(err.Error(), `channel "x"`) {
		t.Error(err)
	}
	set[int](t, d, "x", nil)
	_, err = ref.Open(d, nil)
	is(t, "another of that name", err, shiplap.ErrNotExist)
	if !strings.Contains(err.Error(), "another channel has that name") {
		t.Error(err)
	}
	other := ref
	other.Domain = "elsewhere"
	_, err = other.Open(d, nil)
	is(t, "another domain", err, shiplap.ErrNotExist)
	other = ref
	other.Side = "Z"
	_, err = other.Open(d, nil)
	is(t, "another side", err, shiplap.ErrName)
	_, err = (channel.Ref[int]{}).Open(d, nil)
	if err == nil {
		t.Error("the zero reference was opened")
	}
	_, err = set[int](t, d, "y", nil).Ref("")
	is(t, "to no side", err, shiplap.ErrName)
}

// Who closes his handle before the references were opened keeps the channel for those who come, in their places.
func TestRefsOutliveTheHandle(t *testing.T) {
	d := domain(t)
	c, err := channel.Anonymous[string](d, nil)
	ok(t, err)
	refA, err := c.Ref(channel.SideA)
	ok(t, err)
	refB, err := c.Ref(channel.SideB)
	ok(t, err)
	sends(t, c, "from the maker")
	name := c.Name()
	ok(t, c.Close())
	b := closing[string](t)(refB.Open(d, nil))
	receives(t, b, "from the maker")
	_, err = b.TryReceive()
	is(t, "side A is still to come", err, shiplap.ErrEmpty)
	a := closing[string](t)(refA.Open(d, nil))
	sends(t, a, "from A")
	receives(t, b, "from A")
	ok(t, a.Close())
	if _, err := b.Receive(soon(t)); err != io.EOF {
		t.Error(err)
	}
	ok(t, b.Close())
	eventually(t, "the channel stays", func() bool { _, err := d.Stat(name); return errors.Is(err, shiplap.ErrNotExist) })
}

// Nobody waits for ever for one who does not come.
func TestRefsThatNobodyOpens(t *testing.T) {
	d := domain(t)
	c, err := channel.Anonymous[string](d, &channel.Options{Lend: time.Millisecond})
	ok(t, err)
	_, err = c.Ref(channel.SideA)
	ok(t, err)
	b := get[string](t, d, c.Name(), nil)
	sends(t, c, "last words")
	ok(t, c.Close())
	receives(t, b, "last words")
	if _, err := b.Receive(soon(t)); err != io.EOF {
		t.Error(err)
	}
	is(t, "send", b.Send(bg, ""), shiplap.ErrPeerGone)
}
