package racetest

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
)

func init() {
	side := func(d *shiplap.Domain, name string, s channel.Side) (*channel.Raw, error) {
		return channel.OpenRaw(d, name, &channel.Options{Side: s})
	}
	addStorm("channel", storm[*channel.Raw]{
		create: func(b *bout) error {
			return made(channel.Set[[]byte](b.d, object, &channel.Options{Capacity: 8192}))
		},
		open: func(w *worker, d *shiplap.Domain) (*channel.Raw, error) {
			return side(d, object, []channel.Side{channel.SideA, channel.SideB}[w.Hire%2])
		},
		turn: (*hand).channelTurn, judge: judgeChannel,
	})
	to := func(s channel.Side) func(d *shiplap.Domain, name string) (*channel.Raw, error) {
		return func(d *shiplap.Domain, name string) (*channel.Raw, error) { return side(d, name, s) }
	}
	v := vigil{
		create: makes(channel.Set[[]byte], &channel.Options{Capacity: 4096}),
		hold:   holds(to(channel.SideB), (*channel.Raw).Close),
		open: waits(to(channel.SideA), func(ctx context.Context, c *channel.Raw) error {
			_, err := c.Receive(ctx, nil)
			return err
		}),
		ends: leaving(deaths(shiplap.ErrPeerGone), io.EOF),
	}
	addVigil("channel receiving", v)
	v.open = waitsFull(to(channel.SideA), func(ctx context.Context, c *channel.Raw) error {
		return c.Send(ctx, make([]byte, 500))
	})
	v.ends = leaving(deaths(shiplap.ErrPeerGone), shiplap.ErrPeerGone)
	addVigil("channel sending", v)
}

// channelTurn sends or receives. Several processes have each side open.
func (h *hand) channelTurn(c *channel.Raw) bool {
	if h.temper == pausing {
		h.pause()
	}
	if h.sends() {
		return h.puts(func(msg []byte) error {
			return h.maybe(opSend, func(ctx context.Context) error { return c.Send(ctx, msg) },
				func() error { return c.TrySend(msg) })
		}, shiplap.ErrFull, shiplap.ErrBusy, shiplap.ErrPeerGone) && !h.isClosing()
	}
	var msg []byte
	err := h.maybe(opRecv,
		func(ctx context.Context) (err error) { msg, err = c.Receive(ctx, nil); return h.note(msg, err) },
		func() (err error) { msg, err = c.TryReceive(nil); return h.note(msg, err) })
	switch {
	case err == nil:
		return true
	case errors.Is(err, shiplap.ErrPeerGone) && !h.Weather.deadly() && !h.Weather.lossy():
		h.complain("false-death", "%v is told that its peer died, and nobody did", h.me())
	case gaveUp(err), isAny(err, []error{shiplap.ErrEmpty, shiplap.ErrBusy, shiplap.ErrPeerGone, io.EOF}):
		h.pause()
		return !h.isClosing()
	}
	return h.ends("Receive", err)
}

// judgeChannel: what was sent arrives once. Only a receiver that died may have taken one with it.
func judgeChannel(b *bout) error {
	for _, s := range []channel.Side{channel.SideA, channel.SideB} {
		c, err := channel.OpenRaw(b.d, object, &channel.Options{Side: s})
		if err != nil {
			return err
		}
		err = b.drain(func() ([]byte, error) { return c.TryReceive(nil) })
		if err := errors.Join(err, c.Close()); err != nil {
			return err
		}
	}
	b.once(opRecv)
	return nil
}

// drain takes what is left.
func (b *bout) drain(f func() ([]byte, error)) error {
	for {
		msg, err := f()
		if isAny(err, []error{shiplap.ErrEmpty, io.EOF, shiplap.ErrPeerGone}) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("draining: %w", err)
		}
		c, _, err := parse(msg)
		if err != nil {
			b.violation("torn", err.Error(), "")
			return nil
		}
		b.ledger.cell(c).Add(taken)
	}
}

// once judges messages that go to one receiver and are gone then: each arrived once, but for those
// that a goroutine which died in that operation had taken.
func (b *bout) once(in op) {
	for i := range min(int(b.ledger.cells.Load()), maxCells) {
		if c := b.ledger.cell(i).Load(); c >= 2*taken {
			b.violationf("doubled", "message %d arrived %d times", i, c/taken)
		}
	}
	missing, wrong, text := b.lost(func(c uint64) bool { return c >= taken })
	if wrong > 0 {
		b.violation("made-up", text, "")
	}
	if may := b.busyAtDeath(in); missing > may && !b.weather.lossy() {
		b.violationf("lost", "%d messages are missing, and %d receivers died: %s", missing, may, text)
	}
}
