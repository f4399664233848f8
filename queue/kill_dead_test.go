package queue_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/queue"
)

// deadScene is one operation that moves a message from the queue "q", of three, whose limit is one delivery, to the queue
// "dead".
type deadScene struct {
	name   string
	covers []string
	free   bool // there is no limit
	worn   bool // the first message has been handed out, and waits for the dead letters
	op     operation
}

var deadScenes = []*deadScene{
	{name: "dead/Receive, a message is worn", worn: true, op: now(func(v *victim) error {
		d, err := v.q.Receive(bg)
		if err != nil {
			return err
		}
		return v.noteAndReport(d.Body, nil)
	})},
	{name: "dead/Nack, the last delivery", op: delivered(func(v *victim, d *queue.RawDelivery) error {
		return v.report(d.Nack())
	})},
	{name: "dead/MoveTo", covers: []string{"queue.RawDelivery.MoveTo"}, op: moveTo},
	{name: "dead/MoveTo, no limit", free: true, op: moveTo},
	{name: "dead/Reject", covers: []string{"queue.RawDelivery.Reject"}, op: delivered(func(v *victim, d *queue.RawDelivery) error {
		return v.report(d.Reject(bg))
	})},
}

func moveTo(v *victim) (func() error, error) {
	d, err := v.q.Receive(bg)
	if err != nil {
		return nil, err
	}
	v.to, err = queue.OpenRaw(v.d, "dead", nil)
	return func() error { return v.report(d.MoveTo(bg, v.to)) }, err
}

func (s *deadScene) scenario() killtest.Scenario {
	like := &scene{}
	return killtest.Scenario{
		Name: s.name, Covers: s.covers, Setup: s.setup, Prepare: like.prepare(s.op), Check: s.check, While: s.while,
		Recover:   &killtest.Recovery{Prepare: like.prepare(receiveAndAck), Steps: deaths},
		Interrupt: described{s.name, s.op, 3, noSide, like.prepare, s.check}.interrupt(),
	}
}

// ofDeadLetters takes the producing side of the dead letters.
var ofDeadLetters = killtest.Grab{Of: "the dead letters", Take: func(_ *killtest.Trial, state any) (func() error, error) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // it takes what is free, and does not wait
	p, err := state.(*deadWorld).dead.Producer(ctx)
	if err != nil {
		return nil, unlessEnded(err)
	}
	return p.Close, nil
}}

// deadWorld is what survivors have: "q" and the queue of its dead letters, and what they took from the two.
type deadWorld struct {
	world
	dead      *queue.Raw
	put, took map[int]int
}

func (w *deadWorld) Close() error {
	return errors.Join(w.dead.Close(), w.world.Close())
}

func (s *deadScene) setup(t *killtest.Trial) (any, error) {
	d, err := shiplap.Join("", &shiplap.Options{Dir: t.Dir})
	if err != nil {
		return nil, err
	}
	w := &deadWorld{world: world{s: &scene{}, d: d}, put: map[int]int{}, took: map[int]int{}}
	w.dead, err = queue.CreateRaw(d, "dead", &queue.Options{Capacity: 4096, Ack: true})
	if err != nil {
		return nil, err
	}
	opt := &queue.Options{Capacity: 4096, Ack: true}
	if !s.free {
		opt.MaxDeliveries, opt.DeadLetters = 1, "dead"
	}
	if w.q, err = queue.CreateRaw(d, "q", opt); err != nil {
		return nil, err
	}
	for i := range deadFirst {
		err = errors.Join(err, w.q.TryPutWith(message(1+i, 200), traced))
		w.put[1+i]++
	}
	if s.worn {
		err = errors.Join(err, w.wear())
	}
	return w, err
}

// deadFirst is how many messages are there at first. They have envelopes, which move along.
const deadFirst = 3

// wear has the first message handed out as often as it may be, while the dead letters cannot be had.
func (w *deadWorld) wear() error {
	p, err := w.dead.Producer(bg)
	if err != nil {
		return err
	}
	m, err := w.q.TryReceive()
	if err == nil {
		err = m.Nack()
	}
	return errors.Join(err, p.Close())
}

// take takes a message from a queue for good.
func (w *deadWorld) take(q *queue.Raw) error {
	d, err := q.TryReceive()
	if err != nil {
		return err
	}
	i, err := number(d.Body)
	w.took[i]++
	env, wrong := d.Envelope()
	if i <= deadFirst && !maps.EqualFunc(env, traced, bytes.Equal) || i > deadFirst && env != nil {
		wrong = errors.Join(wrong, fmt.Errorf("message %d has the envelope %v", i, env))
	}
	return errors.Join(err, wrong, d.Ack())
}

func (w *deadWorld) tryPut(q *queue.Raw, i int) error {
	err := q.TryPut(message(i, 200))
	if err == nil {
		w.put[i]++
	}
	return err
}

func (s *deadScene) while(t *killtest.Trial, state any) error {
	w := state.(*deadWorld)
	for _, q := range []*queue.Raw{w.dead, w.q} {
		_, errStats := q.Stats()
		for _, err := range []error{errStats, w.tryPut(q, bySurvivor+len(w.put)), w.take(q)} {
			if err != nil && err != shiplap.ErrBusy && err != shiplap.ErrEmpty {
				return err
			}
		}
	}
	_, err := w.d.Sweep(bg, false)
	return err
}

func (s *deadScene) check(t *killtest.Trial, state any) error {
	w := state.(*deadWorld)
	err := killtest.Promptly("put and drain", func(context.Context) error {
		for _, q := range []*queue.Raw{w.dead, w.q, w.dead} { // what waits in q comes to the dead letters
			if err := w.tryPut(q, bySurvivor+len(w.put)); err != nil {
				return err
			}
			for err := error(nil); err != shiplap.ErrEmpty; {
				if err = w.take(q); err != nil && err != shiplap.ErrEmpty {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var missing []int
	for i, n := range w.put {
		if w.took[i] != n {
			missing = append(missing, i)
		}
	}
	slices.Sort(missing)
	acked := 0
	if t.Mode == killtest.Recover { // the recoverer may have taken one for good, and may not have come to tell
		acked = 1
	}
	if len(missing) > acked || len(missing) == 1 && (missing[0] > deadFirst || w.took[missing[0]] > 0) || len(w.took)+len(missing) != len(w.put) {
		return fmt.Errorf("put %v, came %v", w.put, w.took)
	}
	return errors.Join(w.noMove("q"), w.noMove("dead"), tidy(w.d, "q", "dead"))
}

// noMove checks that no move is left.
func (w *deadWorld) noMove(name string) error {
	const moving, table, entry = 4096 + 696, 4096 + 2048, 32
	b, err := os.ReadFile(filepath.Join(w.d.Dir(), name))
	if err != nil {
		return err
	}
	if n := binary.LittleEndian.Uint64(b[moving:]); n != 0 {
		return fmt.Errorf("queue %s: a move of the record at %#x is left", name, n-1)
	}
	for i := range 32 {
		if n := binary.LittleEndian.Uint64(b[table+i*entry+24:]); n != 0 {
			return fmt.Errorf("queue %s: move %d is in state %d", name, i, n)
		}
	}
	return nil
}
