package queue_test

import (
	"bytes"
	"fmt"
	"maps"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/envelope"
	"github.com/shiplap-ipc/shiplap/queue"
)

// traced is the envelope of what is there at first, and of what the victim puts. It takes 48 bytes: the third
// such message of 200 bytes behind 17 plain ones goes over the end of the ring within its envelope.
var traced = shiplap.Envelope{"trace": []byte("00-0af7651916cd43dd8448eb2")}

var envelopeScenes = []*scene{
	{name: "queue/PutWith", covers: []string{"queue.Raw.PutWith"}, env: true, fill: 2, puts: 1, op: putWith,
		recover: recovererPuts, rputs: 1},
	{name: "queue/PutWith over the end of the ring", env: true, shift: 17, fill: 2, puts: 1, op: putWith},
	{name: "queue/TryPutWith", covers: []string{"queue.Raw.TryPutWith"}, env: true, fill: 2, puts: 1,
		op: now(func(v *victim) error { return v.q.TryPutWith(v.one(), traced) })},
	{name: "queue/GetWith", covers: []string{"queue.Raw.GetWith"}, env: true, fill: 4, gets: 1,
		op: now(func(v *victim) error { return v.noteTraced(v.q.GetWith(bg, nil)) }), recover: recovererGets, rgets: 1},
	{name: "queue/TryGetWith", covers: []string{"queue.Raw.TryGetWith"}, env: true, fill: 4, gets: 1,
		op: now(func(v *victim) error { return v.noteTraced(v.q.TryGetWith(nil)) })},
	{name: "producer/PutWith", covers: []string{"queue.RawProducer.PutWith"},
		env: true, fill: 2, puts: 1, holds: putting,
		op:      produce(func(v *victim, p *queue.RawProducer) error { return p.PutWith(bg, v.one(), traced) }),
		recover: recovererPuts, rputs: 1},
	{name: "producer/TryPutWith", covers: []string{"queue.RawProducer.TryPutWith"},
		env: true, fill: 2, puts: 1,
		holds: putting,
		op:    produce(func(v *victim, p *queue.RawProducer) error { return p.TryPutWith(v.one(), traced) })},
	{name: "consumer/TryGetWith", covers: []string{"queue.RawConsumer.TryGetWith"},
		env: true, fill: 3, gets: 1,
		holds: taking,
		op:    consume(func(v *victim, c *queue.RawConsumer) error { return v.noteTraced(c.TryGetWith(nil)) })},
	{name: "consumer/GetWith over the end of the ring", covers: []string{"queue.RawConsumer.GetWith"},
		env: true, shift: 19,
		fill: 3, gets: 1, holds: taking,
		op: consume(func(v *victim, c *queue.RawConsumer) error { return v.noteTraced(c.GetWith(bg, nil)) })},
}

func putWith(v *victim) (func() error, error) {
	m := v.one()
	return func() error { return v.q.PutWith(bg, m, traced) }, nil
}

// noteTraced is noteAndReport for a message that was there at first.
func (v *victim) noteTraced(b []byte, env shiplap.Envelope, err error) error {
	if err == nil && !maps.EqualFunc(env, traced, bytes.Equal) {
		err = fmt.Errorf("an envelope %v", env)
	}
	return v.noteAndReport(b, err)
}

// block is the length of an envelope of the scene.
func (s *scene) block() int {
	if !s.env {
		return 0
	}
	return envelope.Size(traced)
}

// envelopes checks who has one of the messages that are there.
func (w *world) envelopes() error {
	seen, err := w.q.Browse(bg, 100)
	if err != nil {
		return err
	}
	for _, m := range seen {
		i, err := number(m.Body)
		if err != nil {
			return err
		}
		env, err := m.Envelope()
		if err != nil {
			return err
		}
		var want shiplap.Envelope
		if by := author(i); w.s.env && (by == 0 || by == byVictim) {
			want = traced
		}
		if !maps.EqualFunc(env, want, bytes.Equal) {
			return fmt.Errorf("message %d: an envelope %v; %v is wanted", i, env, want)
		}
	}
	return nil
}
