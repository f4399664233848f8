package racetest

import (
	"context"
	"errors"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

const (
	deadObject = object + ".dead"
	deadLimit  = 2
)

func init() {
	opt := &queue.Options{Capacity: 8192, Ack: true, MaxDeliveries: deadLimit, DeadLetters: deadObject}
	addStorm("queue dead letters", storm[*letters]{
		create: func(b *bout) error { return made(queue.CreateRaw(b.d, object, opt)) },
		open: func(_ *worker, d *shiplap.Domain) (*letters, error) {
			q, err := queue.OpenRaw(d, object, nil)
			if err != nil {
				return nil, err
			}
			return &letters{d: d, q: q}, nil
		},
		turn: (*hand).lettersTurn, judge: judgeLetters,
	})
}

// letters are a queue with a limit; the queue of its dead letters is opened when it is looked at.
type letters struct {
	d *shiplap.Domain
	q *queue.Raw
}

func (l *letters) Close() error { return l.q.Close() }

// lettersTurn puts, or receives and acknowledges or gives back, or puts dead letters back.
func (h *hand) lettersTurn(l *letters) bool {
	if h.sends() {
		return h.queueTurn(l.q)
	}
	if h.temper == pausing {
		h.pause()
	}
	if h.rng.IntN(4) == 0 {
		return h.requeue(l)
	}
	v, err := h.receives(l.q)
	if err != nil {
		return h.goesOn("Receive", err, shiplap.ErrEmpty, shiplap.ErrBusy)
	}
	if v.Count > deadLimit {
		h.complain("too-often", "%v receives a message for the %dth time, the limit is %d", h.me(), v.Count, deadLimit)
	}
	c, ok := h.takes(v.Body)
	if !ok {
		return false
	}
	if h.temper == pausing {
		h.linger()
	}
	if h.rng.IntN(2) == 0 {
		err = h.call(opAck, 0, v.Nack)
	} else {
		cell := h.cell(c)
		change(cell, acking, 0)
		if err = h.call(opAck, 0, v.Ack); err == nil {
			if change(cell, acked, 0)&acked != 0 {
				h.complain("doubled", "message %d was acknowledged twice, the second time by %v", c, h.me())
			}
		} else {
			change(cell, 0, acking)
		}
	}
	if err != nil && !h.over(err) {
		h.unexpected("Ack or Nack", err)
	}
	return err == nil
}

func (h *hand) receives(q *queue.Raw) (v *queue.RawDelivery, err error) {
	err = h.maybe(opReceive, func(ctx context.Context) (err error) { v, err = q.Receive(ctx); return err },
		func() (err error) { v, err = q.TryReceive(); return err })
	return v, err
}

// requeue puts a dead letter back into its queue.
func (h *hand) requeue(l *letters) bool {
	dead, err := queue.OpenRaw(l.d, deadObject, nil)
	if errors.Is(err, shiplap.ErrNotExist) {
		return true
	}
	if err != nil {
		return h.goesOn("opening the dead letters", err)
	}
	defer dead.Close()
	var v *queue.RawDelivery
	if err := h.call(opReceive, 0, func() (err error) { v, err = dead.TryReceive(); return err }); err != nil {
		return h.goesOn("TryReceive of a dead letter", err, shiplap.ErrEmpty, shiplap.ErrBusy)
	}
	ctx, _, cancel := h.context()
	defer cancel()
	err = h.wait(opPut, func() error { return v.MoveTo(ctx, l.q) })
	return err == nil || h.goesOn("MoveTo", err, shiplap.ErrFull, shiplap.ErrBusy, shiplap.ErrConflict)
}

// judgeLetters: what was put and not acknowledged is in one of the two queues, once.
func judgeLetters(b *bout) error { return b.judgeAcked(object, deadObject) }
