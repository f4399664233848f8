package racetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

func init() {
	small := &queue.Options{Capacity: 8192}
	ack := &queue.Options{Capacity: 8192, Ack: true}
	open := func(_ *worker, d *shiplap.Domain) (*queue.Raw, error) { return queue.OpenRaw(d, object, nil) }
	addStorm("queue", storm[*queue.Raw]{
		create: func(b *bout) error { return made(queue.CreateRaw(b.d, object, small)) },
		open:   open, turn: (*hand).queueTurn, judge: judgeQueue,
	})
	addStorm("queue exclusive", storm[*queue.Raw]{
		create: func(b *bout) error { return made(queue.CreateRaw(b.d, object, small)) },
		open:   open, turn: (*hand).exclusiveTurn, judge: judgeQueue,
	})
	addStorm("queue ack", storm[*queue.Raw]{
		create: func(b *bout) error { return made(queue.CreateRaw(b.d, object, ack)) },
		open:   open, turn: (*hand).ackTurn, judge: judgeAck,
	})
	openRaw := func(d *shiplap.Domain, name string) (*queue.Raw, error) { return queue.OpenRaw(d, name, nil) }
	one := func(opt *queue.Options) creating { // with a message in it
		return func(d *shiplap.Domain, name string) (io.Closer, error) {
			q, err := queue.CreateRaw(d, name, opt)
			if err != nil {
				return nil, err
			}
			return q, putOne(context.Background(), q)
		}
	}
	producer := takes(openRaw, func(q *queue.Raw) (*queue.RawProducer, error) {
		return q.Producer(context.Background())
	})
	consumer := takes(openRaw, func(q *queue.Raw) (*queue.RawConsumer, error) {
		return q.Consumer(context.Background())
	})
	receive := func(ctx context.Context, q *queue.Raw) error {
		v, err := q.Receive(ctx)
		if err == nil {
			err = v.Ack()
		}
		return err
	}
	get := func(ctx context.Context, q *queue.Raw) error { _, err := q.Get(ctx, nil); return err }
	putHalf := func(ctx context.Context, q *queue.Raw) error { return q.Put(ctx, make([]byte, 4000)) }
	addVigil("queue lease", vigil{ // the message that the victim has in hand comes to the waiter
		create: one(ack),
		hold: func(d *shiplap.Domain, name string) (func() error, error) {
			q, err := openRaw(d, name)
			if err != nil {
				return nil, err
			}
			_, err = q.Receive(context.Background())
			return q.Close, err
		},
		open: waits(openRaw, receive), ends: leaving(deaths(nil), nil),
	})
	addVigil("queue producer", vigil{
		create: makes(queue.CreateRaw, small), hold: holds(producer, part[*queue.RawProducer].giveBack),
		open: waits(openRaw, putOne), ends: leaving(deaths(nil), nil),
	})
	addVigil("queue consumer", vigil{
		create: one(small), hold: holds(consumer, part[*queue.RawConsumer].giveBack),
		open: waits(openRaw, get), ends: leaving(deaths(nil), nil),
	})
	// In the rest the victim holds nothing. It leaves by giving what is waited for.
	gives := holds(openRaw, func(q *queue.Raw) error { return putOne(context.Background(), q) })
	takesAll := holds(openRaw, func(q *queue.Raw) error {
		for {
			if _, err := q.TryGet(nil); err != nil {
				return unless(err, shiplap.ErrEmpty)
			}
		}
	})
	addVigil("queue empty", vigil{
		create: makes(queue.CreateRaw, small), hold: gives, open: waits(openRaw, get), ends: quiet(),
	})
	addVigil("queue ack empty", vigil{
		create: makes(queue.CreateRaw, ack), hold: gives, open: waits(openRaw, receive), ends: quiet(),
	})
	addVigil("queue full", vigil{
		create: makes(queue.CreateRaw, small), ends: quiet(),
		hold: takesAll, open: waitsFull(openRaw, putHalf),
	})
	addVigil("queue exclusive empty", vigil{
		create: makes(queue.CreateRaw, small), hold: gives, ends: quiet(),
		open: waits(consumer, func(ctx context.Context, c part[*queue.RawConsumer]) error {
			_, err := c.own.Get(ctx, nil)
			return err
		}),
	})
	addVigil("queue exclusive full", vigil{
		create: makes(queue.CreateRaw, small), hold: takesAll, ends: quiet(),
		open: waitsFull(producer, func(ctx context.Context, p part[*queue.RawProducer]) error {
			return p.own.Put(ctx, make([]byte, 4000))
		}),
	})
}

func putOne(ctx context.Context, q *queue.Raw) error { return q.Put(ctx, []byte("one")) }

// unless is the error if it is another one than is expected.
func unless(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

func isAny(err error, any []error) bool {
	return slices.ContainsFunc(any, func(e error) bool { return errors.Is(err, e) })
}

// sends reports whether this goroutine is one that sends, in this cycle.
func (h *hand) sends() bool { return h.n%2 == 0 }

// maybe waits by the call that does, or tries by the one that does not.
func (h *hand) maybe(o op, wait func(ctx context.Context) error, try func() error) error {
	if h.rng.IntN(4) == 0 {
		return h.call(o, 0, try)
	}
	ctx, _, cancel := h.context()
	defer cancel()
	return h.wait(o, func() error { return wait(ctx) })
}

func (h *hand) queueTurn(q *queue.Raw) bool {
	if h.temper == pausing {
		h.pause()
	}
	if h.sends() {
		return h.puts(func(msg []byte) error {
			return h.maybe(opPut, func(ctx context.Context) error { return q.Put(ctx, msg) },
				func() error { return q.TryPut(msg) })
		}, shiplap.ErrFull, shiplap.ErrBusy)
	}
	return h.gets(func() (msg []byte, err error) {
		err = h.maybe(opGet,
			func(ctx context.Context) (err error) { msg, err = q.Get(ctx, nil); return h.note(msg, err) },
			func() (err error) { msg, err = q.TryGet(nil); return h.note(msg, err) })
		return msg, err
	})
}

// note writes a message down while the slot still says that the goroutine gets one: a death in
// between is its loss.
func (h *hand) note(msg []byte, err error) error {
	if err == nil {
		h.takes(msg)
	}
	return err
}

// gets is false when the handle is not good any more.
func (h *hand) gets(f func() ([]byte, error)) bool {
	_, err := f()
	return err == nil || h.goesOn("receiving", err, shiplap.ErrEmpty, shiplap.ErrBusy)
}

// goesOn judges the error of a call: it reports whether the handle is still good, and the call may be
// made again. again are errors that say so, besides those of the context.
func (h *hand) goesOn(what string, err error, again ...error) bool {
	switch {
	case gaveUp(err), isAny(err, again):
		h.pause()
		return true
	case h.over(err):
	default:
		h.unexpected(what, err)
	}
	return false
}

// exclusiveTurn takes a side for some messages.
func (h *hand) exclusiveTurn(q *queue.Raw) bool {
	if h.rng.IntN(4) == 0 {
		return h.queueTurn(q)
	}
	ctx, _, cancel := h.context()
	defer cancel()
	took := func(err error) bool {
		if err != nil && !gaveUp(err) && !h.over(err) {
			h.unexpected("taking a side", err)
		}
		return err == nil || gaveUp(err)
	}
	n := 1 + h.rng.IntN(20)
	if h.sends() {
		var p *queue.RawProducer
		err := h.wait(opLock, func() (err error) { p, err = q.Producer(ctx); return err })
		if err != nil {
			return took(err)
		}
		defer p.Close()
		for range n {
			good := h.puts(func(msg []byte) error {
				if h.rng.IntN(2) == 0 {
					return h.wait(opPut, func() error {
						view, err := p.Reserve(ctx, len(msg))
						if err != nil {
							return err
						}
						copy(view, msg)
						return p.Commit(len(msg))
					})
				}
				return h.maybe(opPut, func(ctx context.Context) error { return p.Put(ctx, msg) },
					func() error { return p.TryPut(msg) })
			}, shiplap.ErrFull)
			if !good {
				return false
			}
		}
		return true
	}
	var c *queue.RawConsumer
	err := h.wait(opLock, func() (err error) { c, err = q.Consumer(ctx); return err })
	if err != nil {
		return took(err)
	}
	defer c.Close()
	for range n {
		good := h.gets(func() (msg []byte, err error) {
			err = h.maybe(opGet,
				func(ctx context.Context) (err error) { msg, err = c.Get(ctx, nil); return h.note(msg, err) },
				func() (err error) { msg, err = c.TryGet(nil); return h.note(msg, err) })
			return msg, err
		})
		if !good {
			return false
		}
	}
	return true
}

func (h *hand) ackTurn(q *queue.Raw) bool {
	if h.sends() {
		return h.queueTurn(q)
	}
	if h.temper == pausing {
		h.pause()
	}
	var v *queue.RawDelivery
	err := h.maybe(opReceive, func(ctx context.Context) (err error) { v, err = q.Receive(ctx); return err },
		func() (err error) { v, err = q.TryReceive(); return err })
	if err != nil {
		return h.goesOn("Receive", err, shiplap.ErrEmpty, shiplap.ErrBusy)
	}
	c, ok := h.takes(v.Body)
	if !ok {
		return false
	}
	cell := h.cell(c)
	// One that received it earlier, and whose handle is closed, may come here after the next one
	// has acknowledged it.
	if now := cell.Load(); now&acked != 0 && v.Count > int(now>>ackedBy&0xff) {
		h.complain("doubled", "message %d was acknowledged (%#x), and comes again, for the %dth time, to %v",
			c, now, v.Count, h.me())
	}
	if h.temper == pausing {
		h.linger()
	}
	switch h.rng.IntN(12) {
	case 0:
		err = h.call(opAck, 0, v.Nack)
	case 1: // closing the handle gives it back
		return true
	default:
		change(cell, acking, 0)
		if err = h.call(opAck, 0, v.Ack); err == nil {
			change(cell, acked|uint64(min(v.Count, 0xff))<<ackedBy, 0)
		} else {
			change(cell, 0, acking)
		}
	}
	if err != nil && !h.over(err) {
		h.unexpected("Ack or Nack", err)
	}
	return err == nil
}

// lost counts messages that were put and did not arrive, refused ones that did, and those that came
// too often.
func (b *bout) lost(arrived func(cell uint64) bool) (missing, wrong int, text string) {
	n := min(int(b.ledger.cells.Load()), maxCells)
	for i := range n {
		c := b.ledger.cell(i).Load()
		switch {
		case c&refused != 0 && c >= taken:
			wrong++
			text = fmt.Sprintf("message %d was refused, and arrived", i)
		case c&put != 0 && !arrived(c):
			missing++
			text = fmt.Sprintf("message %d of %d was put (%#x)", i, n, c)
		}
	}
	b.count("messages", uint64(n))
	return missing, wrong, text
}

// judgeQueue: what was put arrives once. Only a consumer that died may have taken one with it.
func judgeQueue(b *bout) error {
	q, err := queue.OpenRaw(b.d, object, nil)
	if err != nil {
		return err
	}
	defer q.Close()
	err = b.drain(func() (msg []byte, err error) {
		if msg, err = q.TryGet(nil); errors.Is(err, shiplap.ErrBusy) {
			err = b.within("Get of what is left",
				func(ctx context.Context) error { msg, err = q.Get(ctx, nil); return err })
		}
		return msg, err
	})
	if err != nil {
		return err
	}
	b.once(opGet)
	st, err := q.Stats()
	if err == nil && (st.Depth != 0 || st.Used != 0) {
		b.violation("lost", "an empty queue that is not: "+st.String(), "")
	}
	return err
}

// judgeAck: what was put and not acknowledged is there, although those who had it in hand are still
// members.
func judgeAck(b *bout) error { return b.judgeAcked(object) }

// judgeAcked is judgeAck over several queues, between which messages are moved: what was put and not acknowledged is in
// one of them.
func (b *bout) judgeAcked(names ...string) error {
	var all []*queue.Raw
	for _, name := range names {
		q, err := queue.OpenRaw(b.d, name, nil)
		if errors.Is(err, shiplap.ErrNotExist) && name != object {
			continue
		}
		if err != nil {
			return err
		}
		defer q.Close()
		all = append(all, q)
	}
	for end := time.Now().Add(b.Bound); ; {
		got, left := false, queue.Stats{}
		for _, q := range all {
			ok, err := b.receiveOne(q)
			if err != nil {
				b.violationf("error", "draining: %v", err)
				return nil
			}
			got = got || ok
			st, err := q.Stats()
			if err != nil {
				return err
			}
			if st.Depth != 0 || st.Used != 0 {
				left = st
			}
		}
		if !got && left.Name == "" {
			break
		}
		if !got && time.Now().After(end) {
			b.violationf("stuck", "%d messages are there that nobody can receive: %v", left.Depth, left)
			return nil
		}
		if !got {
			time.Sleep(time.Millisecond)
		}
	}
	missing, wrong, text := b.lost(func(c uint64) bool { return c&(acked|acking) != 0 })
	if wrong > 0 {
		b.violation("made-up", text, "")
	}
	if missing > 0 && !b.weather.lossy() {
		b.violationf("lost", "%d messages are missing: %s", missing, text)
	}
	return nil
}

// receiveOne receives and acknowledges a message, if there is one.
func (b *bout) receiveOne(q *queue.Raw) (ok bool, err error) {
	v, err := q.TryReceive()
	if err != nil {
		return false, unless(unless(err, shiplap.ErrEmpty), shiplap.ErrBusy)
	}
	c, _, err := parse(v.Body)
	if err != nil {
		return false, err
	}
	if change(b.ledger.cell(c), acked, 0)&acked != 0 {
		b.violationf("doubled", "message %d was acknowledged, and is still in %v", c, q)
	}
	return true, v.Ack()
}
