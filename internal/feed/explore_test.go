//go:build explore

package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/explore"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// aFeed is an experiment with one feed in the smallest area. Messages are told apart by their lengths.
type aFeed struct {
	w         *world
	published []int // whose Publish was reported done
	sys       *explore.System
	tokens    []uint32
}

func ofLength(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(n + 7*i)
	}
	return b
}

// newFeed has messages of 1 and 2 bytes, and so much behind them that the next message takes their place.
func newFeed(overwrite bool) *aFeed {
	a := &aFeed{w: newWorld(MinArea, overwrite, 2)}
	f := a.open(nobody{})
	for _, n := range []int{1, 2, 1960, 1960} {
		if err := f.Publish(context.Background(), ofLength(n)); err != nil {
			panic(err)
		}
	}
	a.sys = &explore.System{Memory: []*mem.Span{a.w.ctl, a.w.area}, Final: a.final}
	a.sys.Clock = []int{base + PublisherLock + 8}
	for i := range 6 {
		a.sys.Clock = append(a.sys.Clock, base+PublisherLock+40+16*i)
	}
	for i := range 2 {
		a.sys.Clock = append(a.sys.Clock, table+i*SlotSize+slotSince, table+i*SlotSize+slotSince+4)
	}
	return a
}

type nobody struct{}

func (nobody) Self() uint32                { return 99 }
func (nobody) Dead(t uint32) bool          { return t != 99 }
func (nobody) Watch(uint32, func()) func() { return func() {} }

type anyOwners interface {
	Self() uint32
	Dead(uint32) bool
	Watch(uint32, func()) func()
}

func (a *aFeed) open(o anyOwners) *Feed {
	return Open(Config{Ctl: a.w.ctl, Base: base, Table: table, Slots: a.w.slots, Area: a.w.area, State: a.w.ctl.U32(0), Overwrite: a.w.overwrite,
		Owners: o, Sess: &wait.Session{}, Mode: wait.Sleep})
}

// publisher publishes messages of these lengths.
func (a *aFeed) publisher(closes bool, lens ...int) {
	a.sys.Procs = append(a.sys.Procs, func(p *explore.Proc) {
		f := a.open(p.Owners())
		for _, n := range lens {
			if err := f.Publish(context.Background(), ofLength(n)); err != nil {
				p.Failf("publish: %v", err)
			}
			a.published = append(a.published, n)
		}
		if closes {
			f.Close()
		}
	})
}

// subscriber joins, reads most messages, and leaves. What it reads follows each other, and is whole.
func (a *aFeed) subscriber(last uint64, most int) {
	a.sys.Procs = append(a.sys.Procs, func(p *explore.Proc) {
		f := a.open(p.Owners())
		s, err := f.Subscribe(last)
		if err != nil {
			p.Failf("subscribe: %v", err)
			return
		}
		next := s.number
		for range most {
			b, err := s.TryGet(nil)
			var lag Lagged
			switch {
			case errors.As(err, &lag) && a.w.overwrite:
				next += lag.N
			case err == errs.ErrEmpty, err == errs.ErrClosed:
			case err != nil:
				p.Failf("receive: %v", err)
				return
			default:
				if s.number != next+1 || !bytes.Equal(b, ofLength(len(b))) {
					p.Failf("message %d of %d bytes, as number %d: %x", s.number-1, len(b), next, b)
					return
				}
				next++
			}
		}
		s.Leave()
	})
}

// waiter joins and reads until the topic is closed, or what it got ends in want.
func (a *aFeed) waiter(closed bool, want ...int) {
	a.sys.Procs = append(a.sys.Procs, func(p *explore.Proc) {
		f := a.open(p.Owners())
		s, err := f.Subscribe(1 << 40)
		if err != nil {
			p.Failf("subscribe: %v", err)
			return
		}
		var got []int
		for {
			b, err := s.Get(context.Background(), nil)
			if err == errs.ErrClosed {
				break
			}
			if err != nil || !bytes.Equal(b, ofLength(len(b))) {
				p.Failf("receive: %d bytes, %v", len(b), err)
				return
			}
			got = append(got, len(b))
			if !closed && len(b) == want[len(want)-1] {
				break
			}
		}
		if k := len(got) - len(want); k > 0 && !slices.Equal(got[k:], want) || k < 0 && !slices.Equal(got, want[-k:]) || k == 0 && !slices.Equal(got, want) {
			p.Failf("got %v, which does not end in %v", got, want)
		}
	})
}

// final: what was reported is there, at the end.
func (a *aFeed) final() error {
	f := a.open(nobody{})
	s, err := f.Subscribe(1 << 40)
	if err != nil {
		return err
	}
	var got []int
	for {
		b, err := s.TryGet(nil)
		if err == errs.ErrEmpty || err == errs.ErrClosed {
			break
		}
		if err != nil || !bytes.Equal(b, ofLength(len(b))) {
			return fmt.Errorf("a survivor: %d bytes, %w", len(b), err)
		}
		got = append(got, len(b))
	}
	for _, n := range a.published {
		if !slices.Contains(got, n) {
			return fmt.Errorf("the message of %d bytes is lost: %v", n, got)
		}
	}
	return nil
}

func exploring(t *testing.T, opt explore.Options, build func() *aFeed) {
	t.Helper()
	res, err := explore.Run(opt, func() *explore.System { return build().sys })
	if err != nil {
		t.Fatal(err)
	}
	t.Log(res)
	if !res.Complete {
		t.Error("not all schedules")
	}
}

// Who joins, and who takes away what is oldest.
func TestSchedulesOfJoining(t *testing.T) {
	for _, overwrite := range []bool{false, true} {
		for _, last := range []uint64{0, 1 << 40} {
			for _, deaths := range []int{0, 1} {
				if overwrite && deaths > 0 && last > 0 {
					continue // some minutes; a death of either is no other than above
				}
				t.Run(fmt.Sprintf("overwrite=%v,last=%d,deaths=%d", overwrite, last, deaths), func(t *testing.T) {
					exploring(t, explore.Options{Deaths: deaths, Timeouts: 1, Switches: 2}, func() *aFeed {
						a := newFeed(overwrite)
						a.publisher(false, 90)
						a.subscriber(last, 2)
						return a
					})
				})
			}
		}
	}
}

// Who joins at the tail, while that is overtaken.
func TestSchedulesOfJoiningLate(t *testing.T) {
	exploring(t, explore.Options{Switches: 3}, func() *aFeed {
		a := newFeed(false)
		a.publisher(false, 1970, 1971, 3)
		a.subscriber(0, 1)
		return a
	})
}

// Who waits for messages, and who waits for room.
func TestSchedulesOfWaiting(t *testing.T) {
	for _, closed := range []bool{false, true} {
		opt := explore.Options{Switches: 2}
		if closed {
			opt = explore.Options{Switches: 2, Deaths: 1, Timeouts: 1, Mortal: 2}
		}
		exploring(t, opt, func() *aFeed {
			a := newFeed(false)
			a.publisher(closed, 90, 2000)
			a.waiter(closed, 1960, 90, 2000)
			return a
		})
	}
}

// Who waits for one who leaves.
func TestSchedulesOfLeaving(t *testing.T) {
	exploring(t, explore.Options{Switches: 3}, func() *aFeed {
		a := newFeed(false)
		a.publisher(false, 90)
		a.subscriber(1<<40, 0)
		return a
	})
}
