//go:build explore

package row

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

// aTopic is an experiment with one topic in the smallest area. Messages are told apart by their lengths.
type aTopic struct {
	w         *topicWorld
	published []int // whose Publish was reported done
	sys       *explore.System
	over      bool // a reader was told that all is over,
	ended     int  // after so many messages
	all       bool // then it must have had all that were reported
}

func ofLength(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(n + 7*i)
	}
	return b
}

// newTopic has messages of 1 and 2 bytes, and so much behind them that the next message takes their place.
func newTopic(overwrite bool) *aTopic {
	return newTopicOf(overwrite, func(f *Topic) error { return f.Put(context.Background(), ofLength(1)) })
}

// newTopicOf is newTopic with a first message that first puts.
func newTopicOf(overwrite bool, first func(f *Topic) error) *aTopic {
	a := &aTopic{w: newTopicWorld(MinArea, overwrite, 2)}
	f := a.open(nobody{})
	if err := first(f); err != nil {
		panic(err)
	}
	for _, n := range []int{2, 1960, 1960} {
		if err := f.Put(context.Background(), ofLength(n)); err != nil {
			panic(err)
		}
	}
	a.sys = &explore.System{Memory: []*mem.Span{a.w.ctl, a.w.area}, Final: a.final}
	a.sys.Clock = []int{topicBase + ProducerLock + 8}
	for i := range 6 {
		a.sys.Clock = append(a.sys.Clock, topicBase+ProducerLock+40+16*i)
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

func (a *aTopic) open(o anyOwners) *Topic {
	return OpenTopic(Config{Ctl: a.w.ctl, Base: topicBase, Area: a.w.area, State: a.w.ctl.U32(0), Object: a.w.ctl.U32(0),
		Owners: o, Sess: &wait.Session{}, Mode: wait.Sleep}, Slots{table, a.w.slots}, a.w.overwrite)
}

// publisher publishes messages of these lengths.
func (a *aTopic) publisher(closes bool, lens ...int) {
	a.sys.Procs = append(a.sys.Procs, func(p *explore.Proc) {
		f := a.open(p.Owners())
		for _, n := range lens {
			if err := f.Put(context.Background(), ofLength(n)); err != nil {
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
func (a *aTopic) subscriber(last uint64, most int) {
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
func (a *aTopic) waiter(closed bool, want ...int) {
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
func (a *aTopic) final() error {
	f := a.open(nobody{})
	if err := f.Audit(a.sys.AnyDead()); err != nil {
		return fmt.Errorf("the hints: %w", err)
	}
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
	if a.all && a.over && a.ended != len(a.published) {
		return fmt.Errorf("told that all is over after %d messages of %v", a.ended, a.published)
	}
	for _, n := range a.published {
		if !slices.Contains(got, n) {
			return fmt.Errorf("the message of %d bytes is lost: %v", n, got)
		}
	}
	return nil
}

func exploring(t *testing.T, opt explore.Options, build func() *aTopic) {
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
					exploring(t, explore.Options{Deaths: deaths, Timeouts: 1, Switches: 2}, func() *aTopic {
						a := newTopic(overwrite)
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
	exploring(t, explore.Options{Switches: 3}, func() *aTopic {
		a := newTopic(false)
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
		exploring(t, opt, func() *aTopic {
			a := newTopic(false)
			a.publisher(closed, 90, 2000)
			a.waiter(closed, 1960, 90, 2000)
			return a
		})
	}
}

// Who waits for one who leaves.
func TestSchedulesOfLeaving(t *testing.T) {
	exploring(t, explore.Options{Switches: 3}, func() *aTopic {
		a := newTopic(false)
		a.publisher(false, 90)
		a.subscriber(1<<40, 0)
		return a
	})
}

// exclusive publishes messages of these lengths through an exclusive handle.
func (a *aTopic) exclusive(closes bool, lens ...int) {
	a.sys.Procs = append(a.sys.Procs, func(p *explore.Proc) {
		f := a.open(p.Owners())
		if _, err := f.ProducerLock.Lock(context.Background()); err != nil {
			p.Failf("%v", err)
			return
		}
		var pub Producer
		if err := pub.Resume(&f.Row); err != nil {
			p.Failf("resume: %v", err)
			return
		}
		for _, n := range lens {
			if err := pub.Put(context.Background(), ofLength(n)); errors.Is(err, errs.ErrClosed) {
				break
			} else if err != nil {
				p.Failf("publish: %v", err)
			}
			a.published = append(a.published, n)
		}
		f.ProducerLock.Unlock()
		if closes {
			f.Close()
		}
	})
}

// closer closes the topic.
func (a *aTopic) closer() {
	a.sys.Procs = append(a.sys.Procs, func(p *explore.Proc) { a.open(p.Owners()).Close() })
}

// reader has joined before the schedule begins, and reads until the end.
func (a *aTopic) reader(proc int, closes bool) {
	s, err := a.open(fixed(proc + 1)).Subscribe(0)
	if err != nil {
		panic(err)
	}
	a.sys.Procs = append(a.sys.Procs, func(p *explore.Proc) {
		f := a.open(p.Owners())
		s.t = f
		if closes {
			f.Close()
		}
		for k := 0; ; k++ {
			b, err := s.Get(context.Background(), nil)
			if err == errs.ErrClosed {
				a.ended = k
				a.over = true
				return
			}
			if err != nil || !bytes.Equal(b, ofLength(len(b))) {
				p.Failf("receive: %d bytes, %v", len(b), err)
				return
			}
		}
	})
}

type fixed uint32

func (f fixed) Self() uint32                { return uint32(f) }
func (f fixed) Dead(uint32) bool            { return false }
func (f fixed) Watch(uint32, func()) func() { return func() {} }

// What is published through an exclusive handle that is closed meanwhile arrives, or is refused.
func TestSchedulesOfExclusive(t *testing.T) {
	for _, opt := range []explore.Options{{Switches: 3}, {Switches: 2, Buffers: true}, {Switches: 2, Weak: true}} {
		t.Run(fmt.Sprintf("buffers=%v,weak=%v", opt.Buffers, opt.Weak), func(t *testing.T) {
			exploring(t, opt, func() *aTopic {
				a := newTopic(false)
				a.reader(0, true)
				a.exclusive(false, 9)
				a.all = true
				return a
			})
		})
	}
}

// The pairs of floor and cursor, of busy and closed, and of a message and those who sleep, where stores are late.
func TestSchedulesOfStoreBuffers(t *testing.T) {
	for _, weak := range []bool{false, true} {
		opt := explore.Options{Buffers: true, Weak: weak, AtOnce: true, Switches: 2}
		for late := range 2 {
			t.Run(fmt.Sprintf("joining,weak=%v,late=%d", weak, late), func(t *testing.T) {
				opt := opt
				opt.Late = 1 << late
				exploring(t, opt, func() *aTopic {
					a := newTopic(false)
					a.exclusive(false, 90)
					a.subscriber(1<<40, 1)
					return a
				})
			})
		}
		t.Run(fmt.Sprintf("room,weak=%v", weak), func(t *testing.T) {
			exploring(t, opt, func() *aTopic {
				a := newTopic(false)
				s, err := a.open(fixed(1)).Subscribe(1 << 40)
				if err != nil {
					panic(err)
				}
				a.sys.Procs = append(a.sys.Procs, func(p *explore.Proc) { // takes the oldest message, and leaves
					s.t = a.open(p.Owners())
					if _, err := s.Get(context.Background(), nil); err != nil {
						p.Failf("receive: %v", err)
					}
					s.Leave()
				})
				a.exclusive(false, 90)
				return a
			})
		})
		t.Run(fmt.Sprintf("waiting,weak=%v", weak), func(t *testing.T) {
			exploring(t, opt, func() *aTopic {
				a := newTopic(false)
				a.reader(0, false)
				a.exclusive(true, 90)
				return a
			})
		})
	}
}

// A subscriber that holds up a publisher dies, without time-outs.
func TestSchedulesOfNotices(t *testing.T) {
	for _, opt := range []explore.Options{{Edge: true}, {Window: true}} {
		t.Run(fmt.Sprintf("window=%v", opt.Window), func(t *testing.T) {
			opt.Deaths, opt.Mortal, opt.Watch = 1, 1, true
			exploring(t, opt, func() *aTopic {
				a := newTopic(false)
				if _, err := a.open(fixed(1)).Subscribe(1 << 40); err != nil {
					panic(err)
				}
				a.sys.Procs = append(a.sys.Procs, func(p *explore.Proc) { p.Owners().Dead(2) })
				a.exclusive(false, 90)
				a.sys.Idle = func([]int) error {
					if a.sys.AnyDead() {
						return errors.New("although the subscriber died")
					}
					return nil
				}
				return a
			})
		})
	}
}
