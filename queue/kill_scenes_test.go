package queue_test

import (
	"errors"
	"fmt"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/queue"
)

// scenarios of this package: see queueScenes, envelopeScenes, ackScenes, deadScenes and lives.
func scenarios() (all []killtest.Scenario) {
	for _, s := range queueScenes {
		all = append(all, s.scenario())
	}
	for _, s := range envelopeScenes {
		all = append(all, s.scenario())
	}
	for _, s := range ackScenes {
		all = append(all, s.scenario())
	}
	for _, s := range deadScenes {
		all = append(all, s.scenario())
	}
	return append(all, lives()...)
}

type operation = func(v *victim) (func() error, error)

// now is an operation that needs no preparation.
func now(op func(v *victim) error) operation {
	return func(v *victim) (func() error, error) {
		return func() error { return op(v) }, nil
	}
}

// produce is an operation of one who holds the producing side.
func produce(op func(v *victim, p *queue.RawProducer) error) operation {
	return func(v *victim) (func() error, error) {
		p, err := v.q.Producer(bg)
		v.p = p
		return func() error { return op(v, p) }, err
	}
}

func consume(op func(v *victim, c *queue.RawConsumer) error) operation {
	return func(v *victim) (func() error, error) {
		c, err := v.q.Consumer(bg)
		v.c = c
		return func() error { return op(v, c) }, err
	}
}

// reserved is an operation of one who has reserved and filled a message.
func reserved(op func(v *victim, p *queue.RawProducer) error) operation {
	return func(v *victim) (func() error, error) {
		p, err := v.q.Producer(bg)
		if err != nil {
			return nil, err
		}
		v.p = p
		b, err := p.Reserve(bg, 240)
		copy(b, message(byVictim, v.s.lastLength()))
		return func() error { return op(v, p) }, err
	}
}

// peeked is an operation of one who has looked at the next message.
func peeked(op func(v *victim, c *queue.RawConsumer) error) operation {
	return func(v *victim) (func() error, error) {
		c, err := v.q.Consumer(bg)
		if err != nil {
			return nil, err
		}
		v.c = c
		b, err := c.Peek(bg)
		if err == nil && v.s.gets > 0 {
			err = v.note(b)
		}
		return func() error { return op(v, c) }, err
	}
}

func recovererPuts(v *victim) (func() error, error) {
	m := message(byRecoverer, v.s.length())
	return func() error { return v.q.TryPut(m) }, nil
}

func recovererGets(v *victim) (func() error, error) {
	return func() error { return v.noteAndReport(v.q.TryGet(nil)) }, nil
}

func put(v *victim) (func() error, error) {
	m := v.one()
	return func() error { return v.q.Put(bg, m) }, nil
}

func tryPut(v *victim) (func() error, error) {
	m := v.one()
	return func() error { return v.q.TryPut(m) }, nil
}

func putMany(v *victim) (func() error, error) {
	m := v.batch()
	return func() error { return many(v.q.PutMany(bg, m)) }, nil
}

// many is for the results of PutMany and GetMany: it is three, or an error.
func many(n int, err error) error {
	if err == nil && n != 3 {
		return fmt.Errorf("%d of 3", n)
	}
	return err
}

var (
	get     = now(func(v *victim) error { return v.noteAndReport(v.q.Get(bg, nil)) })
	tryGet  = now(func(v *victim) error { return v.noteAndReport(v.q.TryGet(nil)) })
	getMany = now(func(v *victim) error { return v.report(many(v.q.GetMany(bg, 3, v.note))) })
)

// The 20th message of 200 bytes goes over the end of the ring; the 32nd of 120 ends with it, and the word behind it,
// where the next header will stand, is the first of the ring.
var queueScenes = []*scene{
	{name: "queue/Put", covers: []string{"queue.Raw.Put"}, fill: 2, puts: 1, op: put, recover: recovererPuts, rputs: 1},
	{name: "queue/Put, ring empty", fill: 0, puts: 1, op: put},
	{name: "queue/Put over the end of the ring", shift: 17, fill: 2, puts: 1, op: put, recover: recovererPuts, rputs: 1},
	{name: "queue/Put up to the end of the ring", size: 120, shift: 30, fill: 1, puts: 1, op: put},
	{name: "queue/Put into the last room", size: 120, shift: 3, fill: 30, last: 240, puts: 1, tight: true, op: put},
	{name: "queue/TryPut", covers: []string{"queue.Raw.TryPut"}, fill: 2, puts: 1, op: tryPut},
	{name: "queue/TryPut, ring full", fill: 19, tight: true, still: true, op: now(func(v *victim) error {
		if err := v.q.TryPut(v.one()); err != shiplap.ErrFull && err != nil {
			return err
		}
		return nil
	})},
	{name: "queue/PutMany over the end of the ring", covers: []string{"queue.Raw.PutMany"}, shift: 16, fill: 2, puts: 3, op: putMany,
		recover: recovererPuts, rputs: 1},
	{name: "queue/Get", covers: []string{"queue.Raw.Get"}, fill: 4, gets: 1, op: get, recover: recovererGets, rgets: 1},
	{name: "queue/Get, ring full", fill: 19, gets: 1, tight: true, op: get},
	{name: "queue/Get the last", fill: 1, gets: 1, op: get},
	{name: "queue/Get over the end of the ring", shift: 19, fill: 4, gets: 1, op: get},
	{name: "queue/TryGet", covers: []string{"queue.Raw.TryGet"}, fill: 4, gets: 1, op: tryGet},
	{name: "queue/GetMany over the end of the ring", covers: []string{"queue.Raw.GetMany"}, shift: 18, fill: 6, gets: 3, op: getMany,
		recover: recovererGets, rgets: 1},

	{name: "queue/Producer", covers: []string{"queue.Raw.Producer"}, fill: 2, op: now(func(v *victim) error {
		_, err := v.q.Producer(bg)
		return err
	}), recover: now(func(v *victim) error {
		p, err := v.q.Producer(bg)
		if err != nil {
			return err
		}
		return p.Close()
	})},
	{name: "producer/Put", covers: []string{"queue.RawProducer.Put"}, fill: 2, puts: 1, holds: putting,
		op:      produce(func(v *victim, p *queue.RawProducer) error { return p.Put(bg, v.one()) }),
		recover: recovererPuts, rputs: 1},
	{name: "producer/Put over the end of the ring", shift: 17, fill: 2, puts: 1, holds: putting,
		op: produce(func(v *victim, p *queue.RawProducer) error { return p.Put(bg, v.one()) })},
	{name: "producer/Put up to the end of the ring", size: 120, shift: 30, fill: 1, puts: 1, holds: putting,
		op: produce(func(v *victim, p *queue.RawProducer) error { return p.Put(bg, v.one()) })},
	{name: "producer/Put into the last room", size: 120, shift: 3, fill: 30, last: 240, puts: 1, holds: putting, tight: true,
		op: produce(func(v *victim, p *queue.RawProducer) error { return p.Put(bg, v.one()) })},
	{name: "producer/TryPut", covers: []string{"queue.RawProducer.TryPut"}, fill: 2, puts: 1, holds: putting,
		op: produce(func(v *victim, p *queue.RawProducer) error { return p.TryPut(v.one()) })},
	{name: "producer/PutMany over the end of the ring", covers: []string{"queue.RawProducer.PutMany"}, shift: 16, fill: 2, puts: 3, holds: putting,
		op: produce(func(v *victim, p *queue.RawProducer) error { return many(p.PutMany(bg, v.batch())) })},
	{name: "producer/Reserve", covers: []string{"queue.RawProducer.Reserve"}, shift: 17, fill: 2, holds: putting,
		op: produce(func(v *victim, p *queue.RawProducer) error {
			b, err := p.Reserve(bg, 200)
			for i := range b {
				b[i] = 0xff
			}
			return err
		}), recover: recovererPuts, rputs: 1},
	{name: "producer/Commit", covers: []string{"queue.RawProducer.Commit"}, shift: 17, fill: 2, puts: 1, holds: putting,
		op: reserved(func(v *victim, p *queue.RawProducer) error { return p.Commit(200) })},
	{name: "producer/Abort", covers: []string{"queue.RawProducer.Abort"}, fill: 2, holds: putting,
		op: reserved(func(v *victim, p *queue.RawProducer) error { return p.Abort() })},
	{name: "producer/Close", covers: []string{"queue.RawProducer.Close"}, fill: 2,
		op: produce(func(v *victim, p *queue.RawProducer) error { return p.Close() })},
	{name: "producer/Close with a message reserved", fill: 2, holds: putting,
		op: reserved(func(v *victim, p *queue.RawProducer) error { return p.Close() })},

	{name: "queue/Consumer", covers: []string{"queue.Raw.Consumer"}, fill: 2, op: now(func(v *victim) error {
		_, err := v.q.Consumer(bg)
		return err
	}), recover: now(func(v *victim) error {
		c, err := v.q.Consumer(bg)
		if err != nil {
			return err
		}
		return c.Close()
	})},
	{name: "consumer/Get", covers: []string{"queue.RawConsumer.Get"}, fill: 3, gets: 1, holds: taking,
		op:      consume(func(v *victim, c *queue.RawConsumer) error { return v.noteAndReport(c.Get(bg, nil)) }),
		recover: recovererGets, rgets: 1},
	{name: "consumer/Get over the end of the ring", shift: 19, fill: 3, gets: 1, holds: taking,
		op: consume(func(v *victim, c *queue.RawConsumer) error { return v.noteAndReport(c.Get(bg, nil)) })},
	{name: "consumer/TryGet", covers: []string{"queue.RawConsumer.TryGet"}, fill: 3, gets: 1, holds: taking,
		op: consume(func(v *victim, c *queue.RawConsumer) error { return v.noteAndReport(c.TryGet(nil)) })},
	{name: "consumer/GetMany over the end of the ring", covers: []string{"queue.RawConsumer.GetMany"}, shift: 18, fill: 5, gets: 3, holds: taking,
		op: consume(func(v *victim, c *queue.RawConsumer) error { return v.report(many(c.GetMany(bg, 3, v.note))) })},
	{name: "consumer/Peek", covers: []string{"queue.RawConsumer.Peek"}, shift: 19, fill: 3, holds: taking,
		op: consume(func(v *victim, c *queue.RawConsumer) error { return check(c.Peek(bg)) })},
	{name: "consumer/Release", covers: []string{"queue.RawConsumer.Release"}, fill: 3, gets: 1, holds: taking,
		op: peeked(func(v *victim, c *queue.RawConsumer) error { return v.report(c.Release()) })},
	{name: "consumer/Unpeek", covers: []string{"queue.RawConsumer.Unpeek"}, fill: 3, holds: taking,
		op: peeked(func(v *victim, c *queue.RawConsumer) error { return c.Unpeek() })},
	{name: "consumer/Close", covers: []string{"queue.RawConsumer.Close"}, fill: 2,
		op: consume(func(v *victim, c *queue.RawConsumer) error { return c.Close() })},
	{name: "consumer/Close while peeking", fill: 2, holds: taking,
		op: peeked(func(v *victim, c *queue.RawConsumer) error { return c.Close() })},

	{name: "queue/CloseQueue", covers: []string{"queue.Raw.CloseQueue"}, fill: 2, closes: true,
		op: now(func(v *victim) error { return v.q.CloseQueue() })},
	{name: "queue/Close", covers: []string{"queue.Raw.Close"}, fill: 2,
		op: now(func(v *victim) error { return v.q.Close() })},
	{name: "queue/Close with both sides taken", fill: 2, op: func(v *victim) (func() error, error) {
		_, err1 := v.q.Producer(bg)
		_, err2 := v.q.Consumer(bg)
		return v.q.Close, errors.Join(err1, err2)
	}},
}

func check(b []byte, err error) error {
	if err == nil {
		_, err = number(b)
	}
	return err
}
