package layouttest

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
)

func channelIn(t testing.TB, dir string, args ...string) *process {
	t.Helper()
	return start(t, program(t, "channel", dir, "c", args...))
}

func closeChannel(t testing.TB, c *channel.Channel[[]byte]) {
	t.Helper()
	if err := c.Close(); err != nil && !errors.Is(err, shiplap.ErrClosed) {
		t.Error(err)
	}
}

func newChannel(t testing.TB, d *shiplap.Domain) *channel.Channel[[]byte] {
	t.Helper()
	c, err := channel.Set[[]byte](d, "c", &channel.Options{Capacity: 1 << 14, Wait: shiplap.WaitSleep})
	ok(t, err)
	t.Cleanup(func() { closeChannel(t, c) })
	return c
}

func TestChannelGoToC(t *testing.T) {
	dir := shmDir(t)
	a := newChannel(t, join(t, dir))
	ok(t, a.Send(bg, line(0))) // before anybody has the other side
	c := channelIn(t, dir, "receive", "B", "0")
	c.says("open")
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 1; i < someLines; i++ {
			if err := a.Send(limited(t), line(i)); err != nil {
				t.Error(err)
				break
			}
		}
		closeChannel(t, a)
	})
	c.lines(0, someLines)
	c.says("closed")
	c.done()
	wg.Wait()
}

func TestChannelCToGo(t *testing.T) {
	dir := shmDir(t)
	d := join(t, dir)
	a := newChannel(t, d)
	cmd := program(t, "channel", dir, "c", "send", "B")
	cmd.Stdin = pour(0, someLines)
	c := start(t, cmd)
	for i := range someLines {
		if b, err := a.Receive(limited(t)); err != nil || !bytes.Equal(b, line(i)) {
			t.Fatalf("message %d: %.80q, %v", i, b, err)
		}
	}
	c.done()
	if b, err := a.Receive(limited(t)); err != io.EOF {
		t.Errorf("%q, %v", b, err)
	}
	if err := a.Send(limited(t), nil); !errors.Is(err, shiplap.ErrPeerGone) {
		t.Error(err)
	}

	own, err := channel.GetOwn[[]byte](d, "c", nil) // C sends to nobody
	ok(t, err)
	closeChannel(t, a)
	closeChannel(t, own)
	cmd = program(t, "channel", dir, "c", "send", "B")
	cmd.Stdin = pour(0, 1)
	c = start(t, cmd)
	c.says("gone")
	c.done()
}

// Who waits for the other side learns that it died, in both languages; who opens it again heals it.
func TestChannelSidesDie(t *testing.T) {
	dir := shmDir(t)
	a := newChannel(t, join(t, dir))
	c := channelIn(t, dir, "hold", "B")
	c.says("open")
	got := make(chan error, 1)
	go func() {
		_, err := a.Receive(limited(t))
		got <- err
	}()
	c.kill()
	if err := <-got; !errors.Is(err, shiplap.ErrPeerGone) {
		t.Error(err)
	}
	if err := a.Send(limited(t), nil); !errors.Is(err, shiplap.ErrPeerGone) {
		t.Error(err)
	}
	c = channelIn(t, dir, "receive", "B", "1")
	c.says("open")
	ok(t, a.Send(limited(t), line(7)))
	c.lines(7, 8)
	c.done()

	dir = shmDir(t)
	g := goPeer(t, dir, "c", "channelbytes", 0)
	g.says("held")
	c = channelIn(t, dir, "receive", "B", "0")
	c.says("open")
	g.kill()
	c.says("died")
	c.done()
}

// C claims the slot of one who died with side A open, and opens side B: others still learn of the death.
func TestChannelLostInC(t *testing.T) {
	dir := shmDir(t)
	g := goPeer(t, dir, "c", "channelbytes", 0)
	g.says("held")
	g.kill()
	d := join(t, dir)
	_, err := d.Sweep(bg, false)
	ok(t, err)
	c := channelIn(t, dir, "hold", "B")
	c.says("open")
	lost := at(t, "channel", "lost A")
	if got := word(file(t, d, "c")[lost.off:][:lost.size]); got != 1 {
		t.Errorf("lost A is %d", got)
	}
	b, err := channel.Get[[]byte](d, "c", nil)
	ok(t, err)
	defer closeChannel(t, b)
	if _, err := b.Receive(limited(t)); !errors.Is(err, shiplap.ErrPeerGone) {
		t.Error(err)
	}
}
