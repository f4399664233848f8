package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/queue"
)

// ackScene is one operation on a queue with acknowledgement. Its victim takes messages from the first on.
type ackScene struct {
	name   string
	covers []string
	shift  int  // messages that went through before
	fill   int  // messages in it
	puts   int  // messages that the operation puts
	acks   int  // messages that it takes for good
	leaves bool // it has a message in its hands at the end, or gives it back
	gives  bool // it gives a message back: others may have it already while the victim lives
	tight  bool
	op     operation

	recover operation // receives and acknowledges one message
}

var ackScenes = []*ackScene{
	{name: "ack/Put", fill: 2, puts: 1, op: func(v *victim) (func() error, error) {
		m := message(byVictim, 200)
		return func() error { return v.q.Put(bg, m) }, nil
	}},
	{name: "ack/Put over the end of the ring", shift: 16, fill: 2, puts: 1, op: func(v *victim) (func() error, error) {
		m := message(byVictim, 200)
		return func() error { return v.q.Put(bg, m) }, nil
	}},
	{name: "ack/Receive", covers: []string{"queue.Raw.Receive"}, shift: 16, fill: 4, leaves: true, op: now(func(v *victim) error {
		d, err := v.q.Receive(bg)
		if err != nil {
			return err
		}
		return v.noteAndReport(d.Body, nil)
	}), recover: receiveAndAck},
	{name: "ack/TryReceive", covers: []string{"queue.Raw.TryReceive"}, fill: 4, leaves: true, op: now(func(v *victim) error {
		d, err := v.q.TryReceive()
		if err != nil {
			return err
		}
		return v.noteAndReport(d.Body, nil)
	})},
	{name: "ack/Ack", covers: []string{"queue.RawDelivery.Ack"}, fill: 4, acks: 1, op: delivered(func(v *victim, d *queue.RawDelivery) error {
		return v.report(d.Ack())
	}), recover: receiveAndAck},
	{name: "ack/Ack, ring full", shift: 3, fill: 18, acks: 1, tight: true, op: delivered(func(v *victim, d *queue.RawDelivery) error {
		return v.report(d.Ack())
	})},
	{name: "ack/Nack", covers: []string{"queue.RawDelivery.Nack"}, fill: 4, leaves: true, gives: true, op: delivered(func(v *victim, d *queue.RawDelivery) error {
		return v.report(d.Nack())
	}), recover: receiveAndAck},
	{name: "ack/Close with a message in hands", fill: 4, leaves: true, gives: true, op: delivered(func(v *victim, d *queue.RawDelivery) error {
		return v.report(v.q.Close())
	})},
	{name: "ack/Get", fill: 4, acks: 1, op: get, recover: receiveAndAck},
	{name: "ack/GetMany", shift: 16, fill: 6, acks: 3, op: getMany},
	{name: "ack/Browse", covers: []string{"queue.Raw.Browse"}, fill: 4, op: now(func(v *victim) error {
		_, err := v.q.Browse(bg, 10)
		return v.report(err)
	}), recover: receiveAndAck},
}

// delivered is an operation of one who has received a message.
func delivered(op func(v *victim, d *queue.RawDelivery) error) operation {
	return func(v *victim) (func() error, error) {
		d, err := v.q.Receive(bg)
		if err == nil {
			err = v.note(d.Body)
		}
		return func() error { return op(v, d) }, err
	}
}

func receiveAndAck(v *victim) (func() error, error) {
	return func() error {
		d, err := v.q.TryReceive()
		if err != nil {
			return err
		}
		return d.Ack()
	}, nil
}

func (s *ackScene) scenario() killtest.Scenario {
	like := &scene{} // what a victim looks at
	k := killtest.Scenario{Name: s.name, Covers: s.covers, Setup: s.setup, Prepare: like.prepare(s.op), Check: s.check, While: s.while}
	if s.recover != nil {
		k.Recover = &killtest.Recovery{Prepare: like.prepare(s.recover), Steps: deaths}
	}
	k.Interrupt = described{s.name, s.op, s.fill, noSide, like.prepare, s.check}.interrupt()
	return k
}

// ackWorld is what survivors have, and how often what they took was handed out.
type ackWorld struct {
	world
	counts map[int]int
}

func (s *ackScene) setup(t *killtest.Trial) (any, error) {
	d, err := shiplap.Join("", &shiplap.Options{Dir: t.Dir})
	if err != nil {
		return nil, err
	}
	w := &ackWorld{world: world{s: &scene{}, d: d}, counts: map[int]int{}}
	if w.q, err = queue.CreateRaw(d, "q", &queue.Options{Capacity: 4096, Ack: true}); err != nil {
		w.Close()
		return nil, err
	}
	for range s.shift {
		err = errors.Join(err, w.tryPut(bySurvivor-1), w.tryGet())
	}
	for i := range s.fill {
		err = errors.Join(err, w.tryPut(1+i))
	}
	w.put, w.got, w.filled = nil, nil, s.shift+s.fill
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// receive takes a message and acknowledges it.
func (w *ackWorld) receive() error {
	d, err := w.q.TryReceive()
	if err != nil {
		return err
	}
	i, err := number(d.Body)
	if err != nil {
		return err
	}
	if w.counts[i] != 0 {
		return fmt.Errorf("message %d comes again, after it was acknowledged", i)
	}
	w.got, w.counts[i] = append(w.got, i), d.Count
	return d.Ack()
}

func (s *ackScene) while(t *killtest.Trial, state any) error {
	w := state.(*ackWorld)
	if _, err := w.q.Stats(); err != nil {
		return fmt.Errorf("stats: %w", err)
	}
	if err := w.whilePut(s); err == shiplap.ErrBusy {
		err = stuck(func(ctx context.Context) error { return w.q.Put(ctx, message(9999, 200)) })
		if err = errors.Join(err, w.holder(putting, true)); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if err := w.receive(); err == shiplap.ErrBusy {
		err = stuck(func(ctx context.Context) error { _, err := w.q.Receive(ctx); return err })
		if err = errors.Join(err, w.holder(taking, true)); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	_, err := w.d.Sweep(bg, false)
	return err
}

func (w *ackWorld) whilePut(s *ackScene) error {
	if s.tight {
		return nil
	}
	return w.tryPut(w.next())
}

func (s *ackScene) check(t *killtest.Trial, state any) error {
	w := state.(*ackWorld)
	if _, err := w.q.Stats(); err != nil {
		return fmt.Errorf("stats: %w", err)
	}
	err := killtest.Promptly("put", func(ctx context.Context) error {
		if err := w.tryPut(w.next()); err != shiplap.ErrFull {
			return err
		}
		return nil
	})
	if err == nil {
		err = w.drainAck()
	}
	if err == nil {
		err = s.account(t, w)
	}
	if err == nil {
		err = s.again(w)
	}
	if err == nil {
		err = errors.Join(w.holder(putting, false), w.holder(taking, false), tidy(w.d, "q"))
	}
	if err == nil {
		err = w.q.CloseQueue()
	}
	if err == nil {
		if _, e := w.q.TryReceive(); !errors.Is(e, shiplap.ErrClosed) {
			err = fmt.Errorf("closed, and everything is acknowledged: %w", e)
		}
	}
	return err
}

func (w *ackWorld) drainAck() error {
	return killtest.Promptly("drain", func(context.Context) error {
		for range 100 {
			if err := w.receive(); err == shiplap.ErrEmpty {
				return nil
			} else if err != nil {
				return err
			}
		}
		return errors.New("it has no end")
	})
}

// account: everything comes at least once, but for what was acknowledged; nobody has acknowledged anything twice.
func (s *ackScene) account(t *killtest.Trial, w *ackWorld) error {
	finished := t.Done || t.Mode == killtest.Pause
	victims, missing, twice := 0, []int{}, []int{}
	for i := 1; i <= s.fill; i++ {
		if w.counts[i] == 0 {
			missing = append(missing, i)
		}
	}
	for i, n := range w.counts {
		if i >= byVictim && i < bySurvivor {
			victims++
		}
		if n > 1 {
			twice = append(twice, i)
		}
	}
	if victims != s.puts && (victims != 0 || finished) {
		return fmt.Errorf("%d of the victim's %d messages are there: %v", victims, s.puts, w.counts)
	}
	for _, i := range w.put {
		if w.counts[i] == 0 {
			return fmt.Errorf("survivors put %v, and got %v", w.put, w.got)
		}
	}
	bad := func(what string) error {
		return fmt.Errorf("%s: missing %v, more than once %v, counts %v", what, missing, twice, w.counts)
	}
	switch t.Mode {
	case killtest.Recover:
		least, most := 0, s.acks+1
		if t.Done {
			least += s.acks
		}
		if t.RecoverDone {
			least++
		}
		if n := len(missing); n < least || n > most {
			return bad(fmt.Sprintf("%d to %d missing are possible", least, most))
		}
		return nil
	case killtest.Pause:
		took, err := readTook(t.Dir)
		switch {
		case err != nil:
			return err
		case s.acks > 0 && !slices.Equal(took, missing) || s.acks == 0 && len(missing) > 0 || len(missing) != s.acks:
			return bad(fmt.Sprintf("the victim took %v", took))
		case s.leaves && !slices.Equal(took, twice) || !s.leaves && len(twice) > 0:
			return bad(fmt.Sprintf("the victim had %v", took))
		}
		return nil
	}
	n := len(missing)
	if n > s.acks || n > 0 && missing[n-1] != n || finished && n != s.acks {
		return bad("only what it acknowledged may be missing")
	}
	if len(twice) > 1 || len(twice) == 1 && twice[0] != n+1 || finished && s.leaves && len(twice) != 1 {
		return bad("only what it had in its hands may come again")
	}
	return nil
}

// again goes once around the ring, and then looks at the statistics.
func (s *ackScene) again(w *ackWorld) error {
	from := len(w.put)
	err := killtest.Promptly("fill", func(context.Context) error {
		for range 1000 {
			if err := w.tryPut(w.next()); err == shiplap.ErrFull {
				return nil
			} else if err != nil {
				return err
			}
		}
		return errors.New("never full")
	})
	got := len(w.got)
	if err == nil {
		err = w.drainAck()
	}
	if err != nil {
		return err
	}
	if len(w.put)-from < 4096/216-1 || !slices.Equal(w.got[got:], w.put[from:]) {
		return fmt.Errorf("put %v in a full ring, got %v", w.put[from:], w.got[got:])
	}
	st, err := w.q.Stats()
	others := 0
	for i := range w.counts {
		if i >= byVictim && i < bySurvivor {
			others++
		}
	}
	puts := uint64(w.filled + others + len(w.put))
	if st.Depth != 0 || st.Used != 0 || st.Puts != puts || st.Gets != puts {
		return fmt.Errorf("%d puts were made: %+v (%v)", puts, st, err)
	}
	return err
}
