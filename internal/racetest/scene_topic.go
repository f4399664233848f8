package racetest

import (
	"context"
	"errors"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/topic"
)

func init() {
	for _, p := range []topic.Policy{topic.Block, topic.Overwrite} {
		addStorm("topic "+p.String(), storm[*topic.Raw]{
			create: func(b *bout) error {
				return made(topic.CreateRaw(b.d, object,
					&topic.Options{Capacity: 8192, Policy: p, Subscribers: 64}))
			},
			open: func(_ *worker, d *shiplap.Domain) (*topic.Raw, error) {
				return topic.OpenRaw(d, object, nil)
			},
			turn: (*hand).topicTurn,
		})
	}
	open := func(d *shiplap.Domain, name string) (*topic.Raw, error) { return topic.OpenRaw(d, name, nil) }
	publisher := takes(open, func(t *topic.Raw) (*topic.RawPublisher, error) {
		return t.Publisher(context.Background())
	})
	subscription := takes(open, func(t *topic.Raw) (*topic.RawSubscription, error) {
		return t.Subscribe(nil)
	})
	v := vigil{ // a subscriber is behind
		create: makes(topic.CreateRaw, &topic.Options{Capacity: 4096}),
		hold:   holds(subscription, part[*topic.RawSubscription].giveBack),
		ends:   leaving(deaths(nil), nil),
	}
	publish := func(ctx context.Context, t *topic.Raw) error { return t.Publish(ctx, make([]byte, 500)) }
	v.open = waitsFull(open, publish)
	addVigil("topic lag", v)
	v.open = waitsFull(publisher, func(ctx context.Context, p part[*topic.RawPublisher]) error {
		return p.own.Publish(ctx, make([]byte, 500))
	})
	addVigil("topic lag of a publisher's", v)
	v.hold, v.open = holds(publisher, part[*topic.RawPublisher].giveBack), waits(open, publish)
	addVigil("topic publisher", v)
	v.hold = holds(open, func(t *topic.Raw) error { return t.Publish(context.Background(), []byte("one")) })
	v.open = waits(subscription, func(ctx context.Context, s part[*topic.RawSubscription]) error {
		_, err := s.own.Receive(ctx, nil)
		return err
	})
	v.ends = quiet()
	addVigil("topic silent", v)
}

// topicTurn publishes in order, or subscribes for some messages.
func (h *hand) topicTurn(t *topic.Raw) bool {
	if !h.sends() {
		return h.subscribes(t)
	}
	c, there := h.newCell()
	if !there {
		return false
	}
	publish := t.Publish
	if h.rng.IntN(4) == 0 {
		var p *topic.RawPublisher
		err := h.wait(opLock, func() (err error) { p, err = t.Publisher(h.ctx); return err })
		if err != nil {
			return h.ends("Publisher", err)
		}
		defer p.Close()
		publish = p.Publish
	}
	seq := uint64(1)
	for range 1 + h.rng.IntN(200) {
		if h.temper == pausing {
			h.pause()
		}
		msg := message(nil, c, name(seq), h.rng.IntN(300))
		ctx, _, cancel := h.context()
		// That the publishing side is taken, or a subscriber slow, may last until the handles are
		// closed.
		err := h.wait(opPublish, func() error { return publish(ctx, msg) })
		cancel()
		switch {
		case err == nil:
			h.cell(c).Store(seq)
			seq++
		case gaveUp(err):
		default:
			return h.ends("Publish", err)
		}
	}
	return true
}

// subscribes receives some messages: of each session all from the first one on, but for those that
// it is told are gone.
func (h *hand) subscribes(t *topic.Raw) bool {
	s, err := t.Subscribe(nil)
	if err != nil {
		if errors.Is(err, shiplap.ErrFull) {
			h.pause()
			return !h.isClosing()
		}
		return h.ends("Subscribe", err)
	}
	defer s.Close()
	type session struct {
		last uint64
		lags int // how often it had been told before
	}
	seen := map[int]session{}
	lags := 0
	for range 1 + h.rng.IntN(400) {
		if h.temper == pausing {
			h.pause()
		}
		var msg []byte
		err := h.maybe(opReceive,
			func(ctx context.Context) (err error) { msg, err = s.Receive(ctx, nil); return err },
			func() (err error) { msg, err = s.TryReceive(nil); return err })
		var lagged *topic.ErrLagged
		var byValue topic.ErrLagged
		switch {
		case err == nil:
		case errors.As(err, &lagged), errors.As(err, &byValue):
			if t.Policy() == topic.Block {
				h.complain("lost", "%v subscribed to a topic that blocks: %v", h.me(), err)
			}
			lags++
			continue
		case gaveUp(err), errors.Is(err, shiplap.ErrEmpty):
			h.pause()
			if h.isClosing() {
				return false
			}
			continue
		default:
			return h.ends("Receive", err)
		}
		c, seq, err := parse(msg)
		if err != nil {
			h.complain("torn", "%v received %v", h.me(), err)
			return false
		}
		was, known := seen[c]
		switch {
		case known && uint64(seq) <= was.last:
			h.complain("doubled", "%v received message %d of a session after %d", h.me(), uint64(seq),
				was.last)
		case known && uint64(seq) != was.last+1 && lags == was.lags:
			h.complain("lost", "%v received message %d of a session after %d, and was not told", h.me(),
				uint64(seq), was.last)
		}
		seen[c] = session{uint64(seq), lags}
	}
	return true
}
