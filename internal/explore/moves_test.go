//go:build explore

package explore

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/row"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// graveyard is a queue whose only message was handed out as often as it may be, and the queue of its dead letters, in
// the smallest areas.
type graveyard struct {
	ctl           *mem.Span
	source, grave *mem.Span
	put           []int // dead letters that others put, whose put was reported done
	sys           *System
}

const (
	sourceAt = 64
	graveAt  = 128 + row.ControlSize
	movesAt  = graveAt + row.ControlSize
	targetAt = movesAt + row.Moves*row.MoveSize
	yardSize = targetAt + row.NameSize
	worn     = 9 // the length of the message
)

func newGraveyard() *graveyard {
	size := (yardSize + 63) &^ 63
	r := mem.NewHeap(mem.Part{Len: size}, mem.Part{Len: row.MinArea}, mem.Part{Len: row.MinArea})
	g := &graveyard{ctl: r.Span(0), source: r.Span(1), grave: r.Span(2)}
	g.sys = &System{Memory: []*mem.Span{g.ctl, g.source, g.grave}, Final: g.final}
	for _, lock := range []int{sourceAt + row.ProducerLock, sourceAt + row.ConsumerLock, graveAt + row.ProducerLock} {
		g.sys.Clock = append(g.sys.Clock, lockClock(lock)...)
		g.sys.Bounded = append(g.sys.Bounded, lineOf(lock))
	}
	g.sys.Quiet = [][2]int{{movesAt + row.MoveSize, targetAt}} // there is one source, so one entry is in use
	q := g.open(nobody{})
	must(q.Put(context.Background(), message(worn)))
	q.Bury = func(func(row.Target) error) error { return errs.ErrBusy } // it stays
	ls, err := q.TryLease()
	must(err)
	must(q.Settle(ls, false))
	return g
}

func (g *graveyard) openGrave(o wait.Owners) *row.Queue {
	return row.OpenQueue(row.Config{Ctl: g.ctl, Base: graveAt, Area: g.grave, State: g.ctl.U32(32), Object: g.ctl.U32(40),
		Owners: o, Sess: &wait.Session{}, Mode: wait.Sleep,
		Moves: g.ctl, MovesAt: movesAt, NameAt: targetAt, ID: 2}, true)
}

// open is the source as a process has it. The table of moves is that of the other queue, the name is its own.
func (g *graveyard) open(o wait.Owners) *row.Queue {
	q := row.OpenQueue(row.Config{Ctl: g.ctl, Base: sourceAt, Area: g.source, State: g.ctl.U32(0), Object: g.ctl.U32(8),
		Owners: o, Sess: &wait.Session{}, Mode: wait.Sleep,
		Moves: g.ctl, MovesAt: movesAt, NameAt: targetAt, ID: 1, MaxDeliveries: 1}, true)
	to := row.Target{Queue: g.openGrave(o), Name: "g"}
	q.Bury = func(move func(row.Target) error) error { return move(to) }
	q.Reach = func(name string, id uint64, look func(row.Target) error) error {
		if name != to.Name || id != to.ID() {
			return fmt.Errorf("a move to %q, %d", name, id)
		}
		return look(to)
	}
	return q
}

// buries is a process that looks for a message.
func (g *graveyard) buries() {
	g.sys.Procs = append(g.sys.Procs, func(p *Proc) {
		if ls, err := g.open(p.Owners()).TryLease(); err == nil {
			p.Failf("a message was handed out for the time %d", ls.Count)
		} else if !errors.Is(err, errs.ErrEmpty) && !errors.Is(err, errs.ErrBusy) {
			p.Failf("lease: %v", err)
		}
	})
}

// puts is a process that puts dead letters of its own.
func (g *graveyard) puts(lens ...int) {
	g.sys.Procs = append(g.sys.Procs, func(p *Proc) {
		q := g.openGrave(p.Owners())
		for k, n := range lens {
			p.State(k)
			if err := q.Put(context.Background(), message(n)); err != nil {
				p.Failf("put: %v", err)
				return
			}
			g.put = append(g.put, n)
		}
	})
}

// takes is a process that takes a dead letter, if there is one.
func (g *graveyard) takes() {
	g.sys.Procs = append(g.sys.Procs, func(p *Proc) {
		q := g.openGrave(p.Owners())
		ls, err := q.TryLease()
		if errors.Is(err, errs.ErrEmpty) || errors.Is(err, errs.ErrBusy) {
			return
		}
		if err == nil {
			err = q.Settle(ls, true)
		}
		if err != nil {
			p.Failf("take: %v", err)
			return
		}
		g.put = append(g.put, -ls.Len())
	})
}

// final: a survivor finds the message in one of the two queues, and once it has looked, among the dead letters.
func (g *graveyard) final() error {
	died := g.sys.AnyDead()
	q, grave := g.open(nobody{}), g.openGrave(nobody{})
	if _, err := q.TryLease(); !errors.Is(err, errs.ErrEmpty) {
		return fmt.Errorf("a survivor's lease: %w", err)
	}
	want := map[int]int{worn: 1}
	for _, n := range g.put {
		if n < 0 {
			want[-n]--
		} else {
			want[n]++
		}
	}
	for {
		ls, err := grave.TryLease()
		if errors.Is(err, errs.ErrEmpty) {
			break
		}
		if err != nil {
			return fmt.Errorf("a survivor at the dead letters: %w", err)
		}
		if string(grave.Body(ls)) != string(message(ls.Len())) {
			return fmt.Errorf("the dead letter of %d bytes is torn", ls.Len())
		}
		want[ls.Len()]--
		if err := grave.Settle(ls, true); err != nil {
			return err
		}
	}
	for n, c := range want {
		// A put that was not reported may have happened, and a take that was not reported.
		if c > 0 && (!died || n == worn) || c < 0 && (!died || n == worn) {
			return fmt.Errorf("of the dead letter of %d bytes %d are missing", n, c)
		}
	}
	for i := range row.Moves {
		if s := g.ctl.U64(movesAt + i*row.MoveSize + 24).Load(); s != 0 {
			return fmt.Errorf("entry %d of the table of moves is left in state %d", i, s)
		}
	}
	if _, _, moving := q.Moving(); moving {
		return errors.New("the move has not ended")
	}
	if s, err := q.Stats(); err != nil || s.Depth != 0 || s.Buried > 1 || s.Buried < 1 && !died {
		return fmt.Errorf("depth %d, %d buried: %v", s.Depth, s.Buried, err)
	}
	if s, err := grave.Stats(); err != nil || s.Depth != 0 {
		return fmt.Errorf("depth %d of the emptied dead letters: %v", s.Depth, err)
	}
	return errors.Join(q.Audit(died), grave.Audit(died))
}

// A message that was handed out as often as it may be goes from one queue to another as one step.
func TestMoves(t *testing.T) {
	mover := Options{Deaths: 1, Mortal: 1, Switches: 2}
	watched := mover
	watched.Watch = true // one that waits for a dead one's lock
	deep := mover
	deep.Switches = 3
	for _, c := range []struct {
		name string
		Options
		build func(g *graveyard)
	}{
		{"two bury", Options{Switches: 3}, func(g *graveyard) { g.buries(); g.buries() }},
		{"one dies", deep, func(g *graveyard) { g.buries(); g.buries() }},
		{"one dies, others put", watched, func(g *graveyard) { g.buries(); g.puts(10) }},
		{"one that puts dies", Options{Deaths: 1, Mortal: 2, Switches: 2}, func(g *graveyard) { g.buries(); g.puts(10) }},
		{"it is taken", mover, func(g *graveyard) { g.buries(); g.takes() }},
		{"stores are late", Options{Buffers: true, AtOnce: true, Late: 1, Switches: 1}, func(g *graveyard) {
			g.buries()
			g.puts(10)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			explored(t, c.Options, func() *System {
				g := newGraveyard()
				c.build(g)
				return g.sys
			})
		})
	}
}
