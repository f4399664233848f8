package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
)

// interruption is how the operation of a scene is disturbed.
type interruption struct {
	op     operation // nil: the scene's
	undo   func(v *victim) error
	always func(v *victim) error // gives back what the victim may have in its hands, whatever the operation returned
	grabs  []killtest.Grab
	deaf   bool
	waits  bool
	parts  bool // an error may come after some of the messages
}

var (
	putWaits  = interruption{grabs: []killtest.Grab{ofSide(putting), ofRoom}}
	getWaits  = interruption{grabs: []killtest.Grab{ofSide(taking), ofMessages}}
	manyPuts  = interruption{grabs: putWaits.grabs, parts: true}
	manyGets  = interruption{grabs: getWaits.grabs, parts: true}
	ownPut    = interruption{grabs: []killtest.Grab{ofRoom}}
	ownGet    = interruption{}
	completed = interruption{deaf: true}
	reserving = interruption{always: func(v *victim) error { return v.p.Abort() }}
	peeking   = interruption{always: func(v *victim) error { return v.c.Unpeek() }}
)

var interruptions = map[string]interruption{
	"queue/Put":                                 putWaits,
	"queue/Put over the end of the ring":        putWaits,
	"queue/Put into the last room":              {grabs: []killtest.Grab{ofSide(putting)}},
	"queue/TryPut":                              {},
	"queue/PutMany over the end of the ring":    manyPuts,
	"queue/Get":                                 getWaits,
	"queue/Get, ring full":                      getWaits,
	"queue/TryGet":                              {},
	"queue/GetMany over the end of the ring":    manyGets,
	"queue/Producer":                            {grabs: []killtest.Grab{ofSide(putting)}},
	"producer/Put":                              ownPut,
	"producer/TryPut":                           {},
	"producer/PutMany over the end of the ring": {grabs: ownPut.grabs, parts: true},
	"producer/Reserve":                          reserving,
	"producer/Commit":                           reserving,
	"producer/Abort":                            reserving,
	"producer/Close":                            completed,
	"producer/Close with a message reserved":    reserving,
	"queue/Consumer":                            {grabs: []killtest.Grab{ofSide(taking)}},
	"consumer/Get":                              ownGet,
	"consumer/TryGet":                           {},
	"consumer/GetMany over the end of the ring": {parts: true},
	"consumer/Peek":                             peeking,
	"consumer/Release":                          peeking,
	"consumer/Unpeek":                           peeking,
	"consumer/Close":                            completed,
	"consumer/Close while peeking":              peeking,
	"queue/CloseQueue":                          completed,
	"queue/Close":                               completed,
	"queue/Close with both sides taken":         completed,

	"queue/PutWith":                             putWaits,
	"queue/PutWith over the end of the ring":    putWaits,
	"queue/TryPutWith":                          {},
	"queue/GetWith":                             getWaits,
	"queue/TryGetWith":                          {},
	"producer/PutWith":                          ownPut,
	"producer/TryPutWith":                       {},
	"consumer/GetWith over the end of the ring": ownGet,
	"consumer/TryGetWith":                       {},

	"ack/Put":                           putWaits,
	"ack/Put over the end of the ring":  putWaits,
	"ack/Receive":                       {grabs: getWaits.grabs},
	"ack/TryReceive":                    {},
	"ack/Ack":                           {deaf: true, grabs: []killtest.Grab{ofSide(taking)}},
	"ack/Ack, ring full":                {deaf: true, grabs: []killtest.Grab{ofSide(taking)}},
	"ack/Nack":                          {deaf: true, grabs: []killtest.Grab{ofSide(taking)}},
	"ack/Close with a message in hands": {deaf: true, grabs: []killtest.Grab{ofSide(taking)}},
	"ack/Get":                           getWaits,
	"ack/GetMany":                       manyGets,
	"ack/Browse":                        {grabs: []killtest.Grab{ofSide(taking)}},

	"dead/Receive, a message is worn": {grabs: []killtest.Grab{ofDeadLetters}, parts: true},
	"dead/Nack, the last delivery":    {deaf: true, grabs: []killtest.Grab{ofDeadLetters}, parts: true},
	"dead/MoveTo":                     {grabs: []killtest.Grab{ofDeadLetters}, parts: true},
	"dead/Reject":                     {grabs: []killtest.Grab{ofDeadLetters}, parts: true},
	"dead/MoveTo, no limit":           {grabs: []killtest.Grab{ofDeadLetters}, parts: true},
}

// worldOf is what survivors have, of any kind of queue.
func worldOf(state any) *world {
	switch w := state.(type) {
	case *ackWorld:
		return &w.world
	case *deadWorld:
		return &w.world
	}
	return state.(*world)
}

// ofSide takes the lock of a side.
func ofSide(s side) killtest.Grab {
	what := map[side]string{putting: "the producers' side", taking: "the consumers' side"}[s]
	return killtest.Grab{Of: what, Take: func(_ *killtest.Trial, state any) (letGo func() error, err error) {
		w := worldOf(state)
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // it takes what is free, and does not wait
		if s == putting {
			p, err := w.q.Producer(ctx)
			if err != nil {
				return nil, unlessEnded(err)
			}
			return p.Close, nil
		}
		c, err := w.q.Consumer(ctx)
		if err != nil {
			return nil, unlessEnded(err)
		}
		return c.Close, nil
	}}
}

func unlessEnded(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, shiplap.ErrBusy) || errors.Is(err, shiplap.ErrUnsupported) {
		return nil
	}
	return err
}

// ofRoom fills the ring, and makes room again.
var ofRoom = killtest.Grab{Of: "all room", Take: func(_ *killtest.Trial, state any) (letGo func() error, err error) {
	w := worldOf(state)
	n := 0
	for {
		err := w.tryPut(w.next())
		if errors.Is(err, shiplap.ErrFull) || errors.Is(err, shiplap.ErrBusy) {
			break
		}
		if err != nil {
			return nil, err
		}
		n++
	}
	if n == 0 {
		return nil, nil
	}
	return func() error { return nil }, nil
}}

// ofMessages takes all messages out, and puts as many in again.
var ofMessages = killtest.Grab{Of: "all messages", Take: func(_ *killtest.Trial, state any) (letGo func() error, err error) {
	n := 0
	for {
		var err error
		if w, ok := state.(*ackWorld); ok {
			err = w.receive()
		} else {
			err = worldOf(state).tryGet()
		}
		if errors.Is(err, shiplap.ErrEmpty) || errors.Is(err, shiplap.ErrBusy) {
			break
		}
		if err != nil {
			return nil, err
		}
		n++
	}
	if n == 0 {
		return nil, nil
	}
	return func() error { return nil }, nil
}}

// idle: if the victim was told of an error it holds neither side, unless it did from the start.
func idle(holds side) func(t *killtest.Trial, state any) error {
	return func(t *killtest.Trial, state any) error {
		if !t.Failed() || holds != noSide {
			return nil
		}
		w := worldOf(state)
		return errors.Join(w.holder(putting, false), w.holder(taking, false))
	}
}

// nothingHappened: an operation that returns an error has put nothing and taken nothing.
func (w *world) nothingHappened(fill int) error {
	for _, i := range w.got {
		if by := author(i); by == byVictim {
			return fmt.Errorf("message %d of the victim, which was told of an error, is there: %v", i, w.got)
		}
	}
	for i := 1; i <= fill; i++ {
		if !slices.Contains(w.got, i) {
			return fmt.Errorf("message %d is missing, and nobody was given it: %v", i, w.got)
		}
	}
	return nil
}

// awaits is what survivors do who wait for a victim that dies while it forks: they put a message and take one.
func awaits(_ *killtest.Trial, state any) error {
	w := worldOf(state)
	return killtest.Promptly("wait", func(ctx context.Context) error {
		i := w.next()
		if err := w.q.Put(ctx, message(i, w.s.length())); err != nil {
			return fmt.Errorf("put: %w", err)
		}
		w.put, w.bytes = append(w.put, i), w.bytes+w.s.length()
		a, ack := state.(*ackWorld)
		if !ack {
			b, err := w.q.Get(ctx, nil)
			if err != nil {
				return fmt.Errorf("get: %w", err)
			}
			n, err := number(b)
			w.got = append(w.got, n)
			return err
		}
		d, err := w.q.Receive(ctx)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		n, err := number(d.Body)
		w.got, a.counts[n] = append(w.got, n), d.Count
		return errors.Join(err, d.Ack())
	})
}

// described is what interruptions need to know of a scene.
type described struct {
	name    string
	op      operation
	fill    int
	holds   side
	prepare func(operation) func(*killtest.Victim) (func() error, error)
	check   func(t *killtest.Trial, state any) error
}

func (s described) interrupt() *killtest.Interruption {
	i, ok := interruptions[s.name]
	if !ok {
		return nil
	}
	op := i.op
	if op == nil {
		op = s.op
	}
	wait := awaits
	if strings.HasPrefix(s.name, "dead/") || strings.Contains(s.name, "full") || strings.Contains(s.name, "last room") || strings.Contains(s.name, "CloseQueue") {
		wait = nil // there is no room, or nothing to wait for
	}
	return &killtest.Interruption{
		Await: wait,
		Grabs: i.grabs, Deaf: i.deaf, Waits: i.waits, Idle: idle(s.holds),
		Prepare: func(kv *killtest.Victim) (func() error, error) {
			var v *victim
			run, err := s.prepare(func(w *victim) (func() error, error) { v = w; return op(w) })(kv)
			if err != nil {
				return nil, err
			}
			kv.Close = v.q.Close
			kv.Leave = func() error {
				if i.always != nil {
					_ = i.always(v) // in most trials there is nothing to give back
				}
				if err := v.q.Close(); err != nil && !errors.Is(err, shiplap.ErrClosed) {
					return err
				}
				if v.to != nil {
					_ = v.to.Close()
				}
				return errors.Join(v.d.Close(), syscall.Close(v.took))
			}
			if i.undo != nil {
				kv.Undo = func() error { return i.undo(v) }
			}
			return run, nil
		},
		Check: func(t *killtest.Trial, state any) error {
			err := s.check(t, state)
			if err == nil && t.Failed() && !i.parts {
				err = worldOf(state).nothingHappened(s.fill)
			}
			return err
		},
	}
}

func TestInterruptedAnywhere(t *testing.T) {
	killtest.Known(t, interruptions, scenarios())
	killtest.RunInterrupts(t, scenarios()...)
}
