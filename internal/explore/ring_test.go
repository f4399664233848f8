//go:build explore

package explore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/row"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// aRing is an experiment with one ring in the smallest area.
type aRing struct {
	ctl, area *mem.Span
	ack       bool
	put       []int // messages whose put was reported done, by their lengths
	begun     []int
	got       []int // messages that were handed over
	settled   []int
	took      map[int][]int // by consumer
	over      bool          // a consumer was told that it is closed
	sys       *System
}

func newRing(ack bool, start int) *aRing {
	r := mem.NewHeap(mem.Part{Len: 64 + row.ControlSize}, mem.Part{Len: row.MinArea})
	a := &aRing{ctl: r.Span(0), area: r.Span(1), ack: ack, took: map[int][]int{}}
	a.sys = &System{Memory: []*mem.Span{a.ctl, a.area}, Idle: a.idle, Final: a.final}
	a.sys.Clock = append(lockClock(64+row.ProducerLock), lockClock(64+row.ConsumerLock)...)
	a.sys.Bounded = []int{lineOf(64 + row.ProducerLock), lineOf(64 + row.ConsumerLock)}
	// Move on to where the area ends soon, so that records wrap.
	v := a.open(nobody{})
	for start > 0 {
		n := min(start, 1024)
		must(v.Put(context.Background(), make([]byte, n-8)))
		_, err := v.Get(context.Background(), nil)
		if ack {
			panic("rings with acknowledgement start at 0")
		}
		must(err)
		start -= n
	}
	return a
}

// fixed is a process whose part was over before the schedule began.
type fixed uint32

func (f fixed) Self() uint32                { return uint32(f) }
func (f fixed) Dead(uint32) bool            { return false }
func (f fixed) Watch(uint32, func()) func() { return func() {} }

// fill puts messages before the schedule begins.
func (a *aRing) fill(lens ...int) {
	for _, n := range lens {
		must(a.open(nobody{}).Put(context.Background(), message(n)))
		a.begun, a.put = append(a.begun, n), append(a.put, n)
	}
}

// leased hands messages out to process proc before the schedule begins.
func (a *aRing) leased(proc, n int) (all []row.Lease) {
	r := a.open(fixed(proc + 1))
	for range n {
		ls, err := r.TryLease()
		must(err)
		all = append(all, ls)
		a.got = append(a.got, ls.Len())
	}
	return all
}

// settler ends leases in that order.
func (a *aRing) settler(done bool, leases ...row.Lease) {
	a.sys.Procs = append(a.sys.Procs, func(p *Proc) {
		r := a.open(p.Owners())
		for _, ls := range leases {
			if err := r.Settle(ls, done); err != nil {
				p.Failf("settle: %v", err)
			}
			if done {
				a.settled = append(a.settled, ls.Len())
			}
		}
	})
}

// keeper leases messages, and keeps them for as long as it lives.
func (a *aRing) keeper(most int) {
	a.sys.Procs = append(a.sys.Procs, func(p *Proc) {
		r := a.open(p.Owners())
		for range most {
			ls, err := r.Lease(context.Background())
			if err != nil {
				p.Failf("lease: %v", err)
				return
			}
			a.hand(p, r.Body(ls))
		}
	})
}

// ender waits for a message in a queue that is closed before one comes.
func (a *aRing) ender() {
	a.sys.Procs = append(a.sys.Procs, func(p *Proc) {
		if _, err := a.open(p.Owners()).Lease(context.Background()); !errors.Is(err, errs.ErrClosed) {
			p.Failf("lease: %v", err)
		}
	})
}

// taker takes a message if there is one that it can have.
func (a *aRing) taker() {
	a.sys.Procs = append(a.sys.Procs, func(p *Proc) {
		r := a.open(p.Owners())
		ls, err := r.TryLease()
		if errors.Is(err, errs.ErrEmpty) || errors.Is(err, errs.ErrBusy) || errors.Is(err, errs.ErrClosed) {
			return
		}
		if err != nil {
			p.Failf("lease: %v", err)
			return
		}
		if n := a.hand(p, r.Body(ls)); slices.Contains(a.settled, n) {
			p.Failf("the message of %d bytes came again after it was acknowledged", n)
		}
	})
}

// idler does nothing but live.
func (a *aRing) idler() {
	a.sys.Procs = append(a.sys.Procs, func(p *Proc) { p.point() })
}

// exclusive puts messages through an exclusive handle, one at a time.
func (a *aRing) exclusive(closes bool, lens ...int) {
	a.sys.Procs = append(a.sys.Procs, func(p *Proc) {
		r := a.open(p.Owners())
		if _, err := r.ProducerLock.Lock(context.Background()); err != nil {
			p.Failf("%v", err)
			return
		}
		var pr row.Producer
		if err := pr.Resume(&r.Row); err != nil {
			p.Failf("resume: %v", err)
			return
		}
		for k, n := range lens {
			p.State(k)
			a.begun = append(a.begun, n)
			if err := pr.Put(context.Background(), message(n)); errors.Is(err, errs.ErrClosed) {
				break
			} else if err != nil {
				p.Failf("put: %v", err)
			}
			a.put = append(a.put, n)
		}
		r.ProducerLock.Unlock()
		if closes {
			r.Close()
		}
	})
}

// exclusively gets messages through an exclusive handle, until the ring is closed if most is 0. It closes the ring
// itself before, if closes.
func (a *aRing) exclusively(most int, closes bool) {
	a.sys.Procs = append(a.sys.Procs, func(p *Proc) {
		r := a.open(p.Owners())
		if _, err := r.ConsumerLock.Lock(context.Background()); err != nil {
			p.Failf("%v", err)
			return
		}
		if closes {
			r.Close()
		}
		var c row.Consumer
		if err := c.Resume(r); err != nil {
			p.Failf("resume: %v", err)
			return
		}
		known := 0
		for k := 0; most == 0 || k < most; k++ {
			p.State(known)
			b, err := c.Get(context.Background(), nil)
			if errors.Is(err, errs.ErrClosed) && most == 0 {
				a.over = true
				break
			}
			if err != nil {
				p.Failf("get: %v", err)
				break
			}
			known = known*4096 + a.hand(p, b)
		}
		r.ConsumerLock.Unlock()
	})
}

// reader is the reading end of a pipe: it gets messages until the process at the other end is dead.
func (a *aRing) reader(peer int) {
	a.sys.Procs = append(a.sys.Procs, func(p *Proc) {
		o := p.Owners()
		r := a.open(o)
		r.ProducersGone = func(c *wait.Call) error {
			c.Depend(o, uint32(peer)+1)
			if o.Dead(uint32(peer) + 1) {
				return errs.ErrPeerGone
			}
			return nil
		}
		for {
			b, err := r.Get(context.Background(), nil)
			if errors.Is(err, errs.ErrPeerGone) {
				a.over = true
				return
			}
			if err != nil {
				p.Failf("get: %v", err)
				return
			}
			a.hand(p, b)
		}
	})
}

// pauses is for those who only wait for somebody who lives: that is no failure.
func (a *aRing) pauses(asleep []int) error {
	if a.sys.AnyDead() {
		return errors.New("although one died that it waits for")
	}
	return nil
}

type nobody struct{}

func (nobody) Self() uint32                { return 99 }
func (nobody) Dead(t uint32) bool          { return t != 99 }
func (nobody) Watch(uint32, func()) func() { return func() {} }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (a *aRing) open(o wait.Owners) *row.Queue {
	return row.OpenQueue(row.Config{Ctl: a.ctl, Base: 64, Area: a.area, State: a.ctl.U32(0), Object: a.ctl.U32(8),
		Owners: o, Sess: &wait.Session{}, Mode: wait.Sleep}, a.ack)
}

// message is n bytes, all of which depend on n.
func message(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(n + 7*i)
	}
	return b
}

func (a *aRing) producer(closes bool, lens ...int) {
	a.sys.Procs = append(a.sys.Procs, func(p *Proc) {
		r := a.open(p.Owners())
		for k, n := range lens {
			p.State(k)
			a.begun = append(a.begun, n)
			if err := r.Put(context.Background(), message(n)); err != nil {
				p.Failf("put: %v", err)
			}
			a.put = append(a.put, n)
		}
		p.State(len(lens))
		if closes {
			r.Close()
		}
	})
}

// batch puts all in one commit, through an exclusive handle.
func (a *aRing) batch(closes bool, lens ...int) {
	a.sys.Procs = append(a.sys.Procs, func(p *Proc) {
		r := a.open(p.Owners())
		if _, err := r.ProducerLock.Lock(context.Background()); err != nil {
			p.Failf("%v", err)
		}
		var pr row.Producer
		if err := pr.Resume(&r.Row); err != nil {
			p.Failf("resume: %v", err)
		}
		var msgs [][]byte
		for _, n := range lens {
			msgs = append(msgs, message(n))
		}
		a.begun = append(a.begun, lens...)
		if _, err := pr.PutAll(context.Background(), msgs); err != nil {
			p.Failf("put: %v", err)
		}
		a.put = append(a.put, lens...)
		r.ProducerLock.Unlock()
		if closes {
			r.Close()
		}
	})
}

func (a *aRing) hand(p *Proc, b []byte) int {
	n := len(b)
	if !slices.Equal(b, message(n)) {
		p.Failf("the message of %d bytes is torn", n)
	}
	if !slices.Contains(a.begun, n) {
		p.Failf("a message of %d bytes that nobody put", n)
	}
	a.got = append(a.got, n)
	a.took[p.ID] = append(a.took[p.ID], n)
	return n
}

// consumer gets most messages, or all until the ring is closed if most is 0.
func (a *aRing) consumer(most int) {
	a.sys.Procs = append(a.sys.Procs, func(p *Proc) {
		r := a.open(p.Owners())
		known := 0
		for k := 0; most == 0 || k < most; k++ {
			p.State(known)
			b, err := r.Get(context.Background(), nil)
			if errors.Is(err, errs.ErrClosed) && most == 0 {
				a.over = true
				return
			}
			if err != nil {
				p.Failf("get: %v", err)
				return
			}
			if slices.Contains(a.got, len(b)) {
				p.Failf("the message of %d bytes came twice", len(b))
			}
			known = known*4096 + a.hand(p, b)
		}
	})
}

// acker leases and acknowledges; refuses the first delivery of each message if nacks.
func (a *aRing) acker(most int, nacks bool) {
	a.sys.Procs = append(a.sys.Procs, func(p *Proc) {
		r := a.open(p.Owners())
		known := 0
		for k := 0; most == 0 || k < most; k++ {
			p.State(known)
			ls, err := r.Lease(context.Background())
			if errors.Is(err, errs.ErrClosed) && most == 0 {
				a.over = true
				return
			}
			if err != nil {
				p.Failf("lease: %v", err)
				return
			}
			n := a.hand(p, r.Body(ls))
			known = known*4096 + n
			if slices.Contains(a.settled, n) {
				p.Failf("the message of %d bytes came again after it was acknowledged", n)
			}
			if ls.Count == 1 && count(a.got, n) > 1 {
				p.Failf("the message of %d bytes says it comes for the first time, after %v", n, a.got)
			}
			if nacks && ls.Count == 1 {
				known++
				if err := r.Settle(ls, false); err != nil {
					p.Failf("nack: %v", err)
				}
				continue
			}
			if err := r.Settle(ls, true); err != nil {
				p.Failf("ack: %v", err)
			}
			a.settled = append(a.settled, n)
		}
	})
}

func count(all []int, n int) (c int) {
	for _, m := range all {
		if m == n {
			c++
		}
	}
	return c
}

// rest is what a survivor finds in the ring.
func (a *aRing) rest() ([]int, error) {
	r := a.open(nobody{})
	var rest []int
	for {
		var n int
		if a.ack {
			ls, err := r.TryLease()
			if errors.Is(err, errs.ErrEmpty) || errors.Is(err, errs.ErrClosed) {
				return rest, nil
			}
			if err != nil {
				return rest, err
			}
			if !slices.Equal(r.Body(ls), message(ls.Len())) {
				return rest, fmt.Errorf("the message of %d bytes is torn", ls.Len())
			}
			n = ls.Len()
			if err := r.Settle(ls, true); err != nil {
				return rest, err
			}
		} else {
			b, err := r.TryGet(nil)
			if n = len(b); err == nil && !slices.Equal(b, message(n)) {
				err = fmt.Errorf("the message of %d bytes is torn", n)
			}
			if errors.Is(err, errs.ErrEmpty) || errors.Is(err, errs.ErrClosed) {
				return rest, nil
			}
			if err != nil {
				return rest, fmt.Errorf("after %d messages: %w", len(rest), err)
			}
		}
		rest = append(rest, n)
	}
}

// idle: who sleeps for ever must have nothing to do.
func (a *aRing) idle(asleep []int) error {
	if !a.sys.AnyDead() {
		return errors.New("and nobody died")
	}
	r := a.open(nobody{})
	if !r.Empty() && !a.ack {
		return errors.New("although the ring holds a message")
	}
	if a.ack {
		if _, err := r.TryLease(); err == nil {
			return errors.New("although the ring holds a message to be leased")
		}
	}
	return nil
}

// final: nothing reported as put is lost, nothing came twice.
func (a *aRing) final() error {
	if err := a.open(nobody{}).Audit(a.sys.AnyDead()); err != nil {
		return fmt.Errorf("the hints: %w", err)
	}
	rest, err := a.rest()
	if err != nil {
		return fmt.Errorf("a survivor: %w", err)
	}
	deadConsumers := 0
	for _, p := range lastProcs {
		if p.state == dead {
			deadConsumers++ // at most one message went with each
		}
	}
	missing := 0
	for _, n := range a.put {
		switch c := count(a.got, n) + count(rest, n); {
		case c == 0 && a.ack:
			return fmt.Errorf("the message of %d bytes is lost (got %v, rest %v)", n, a.got, rest)
		case c == 0:
			missing++
		case c > 1 && !a.ack:
			return fmt.Errorf("the message of %d bytes is there %d times", n, c)
		}
		if a.ack && count(a.settled, n)+count(rest, n) > 1 {
			return fmt.Errorf("the message of %d bytes came again after it was acknowledged", n)
		}
	}
	if missing > deadConsumers {
		return fmt.Errorf("%d messages are lost: put %v, got %v, rest %v", missing, a.put, a.got, rest)
	}
	if a.over && len(rest) > 0 && !a.ack {
		return fmt.Errorf("a consumer was told that all is over, but there are %v", rest)
	}
	// And the ring goes on working.
	if s, err := a.open(nobody{}).Stats(); err != nil || s.Depth != 0 {
		return fmt.Errorf("depth %d of the emptied ring: %v", s.Depth, err)
	}
	return nil
}

func TestRing(t *testing.T) {
	for _, c := range []struct {
		name string
		opt  Options
		make func() *aRing
	}{
		{"1 producer, 1 consumer", Options{}, func() *aRing {
			a := newRing(false, 4096-24)
			a.producer(false, 9, 10)
			a.consumer(2)
			return a
		}},
		{"full", Options{Switches: 3}, func() *aRing {
			a := newRing(false, 2048)
			a.producer(false, 2001, 2002, 2003)
			a.consumer(3)
			return a
		}},
		{"batch", Options{Switches: 4}, func() *aRing {
			a := newRing(false, 4096-24)
			a.batch(true, 9, 2010, 2011)
			a.consumer(0)
			return a
		}},
		{"close", Options{Switches: 2}, func() *aRing {
			a := newRing(false, 0)
			a.producer(true, 9)
			a.consumer(0)
			a.consumer(0)
			return a
		}},
		{"producer dies", Options{Deaths: 1, Mortal: 1, Watch: true, Switches: 2}, func() *aRing {
			a := newRing(false, 4096-24)
			a.producer(false, 9)
			a.producer(false, 10)
			a.consumer(2)
			return a
		}},
		{"batch dies", Options{Deaths: 1, Mortal: 1, Timeouts: 2}, func() *aRing {
			a := newRing(false, 4096-24)
			a.batch(false, 9, 10)
			a.consumer(2)
			return a
		}},
		{"consumer dies", Options{Deaths: 1, Mortal: 2, Timeouts: 1, Switches: 1}, func() *aRing {
			a := newRing(false, 0)
			a.producer(true, 9, 10)
			a.consumer(0)
			a.consumer(0)
			return a
		}},
		{"full, consumer dies", Options{Deaths: 1, Mortal: 2, Watch: true, Edge: true, Switches: 1}, func() *aRing {
			a := newRing(false, 0)
			a.producer(true, 2001, 2002)
			a.consumer(0)
			a.consumer(0)
			return a
		}},
		{"two producers", Options{Switches: 3}, func() *aRing {
			a := newRing(false, 4096-24)
			a.producer(false, 9)
			a.producer(false, 10)
			a.consumer(2)
			return a
		}},
		{"store buffers", Options{Buffers: true, Switches: 4}, func() *aRing {
			a := newRing(false, 4096-24)
			a.producer(true, 9)
			a.consumer(0)
			return a
		}},
		{"store buffers, death", Options{Buffers: true, Deaths: 1, Mortal: 1, Timeouts: 1, Switches: 3}, func() *aRing {
			a := newRing(false, 4096-24)
			a.producer(false, 9)
			a.consumer(1)
			return a
		}},
		{"weak stores", Options{Buffers: true, Weak: true, AtOnce: true, Switches: 3}, func() *aRing {
			a := newRing(false, 4096-24)
			a.producer(true, 9)
			a.consumer(0)
			return a
		}},
		{"room, weak stores", Options{Buffers: true, Weak: true, AtOnce: true, Switches: 2}, func() *aRing {
			a := newRing(false, 0)
			a.fill(2001, 2002)
			a.producer(false, 2003)
			a.consumer(1)
			return a
		}},
		{"ack", Options{Switches: 4}, func() *aRing {
			a := newRing(true, 0)
			a.producer(true, 9)
			a.acker(0, true)
			return a
		}},
		{"ack, full", Options{Switches: 4}, func() *aRing {
			a := newRing(true, 0)
			a.producer(false, 2001, 2002)
			a.acker(2, false)
			return a
		}},
		{"ack, two consumers", Options{Switches: 2}, func() *aRing {
			a := newRing(true, 0)
			a.producer(true, 9, 10)
			a.acker(0, false)
			a.acker(0, false)
			return a
		}},
		{"ack, consumer dies", Options{Deaths: 1, Mortal: 2, Watch: true, Edge: true, Switches: 1}, func() *aRing {
			a := newRing(true, 0)
			a.fill(9, 10)
			a.producer(true)
			a.acker(0, false)
			a.acker(0, false)
			return a
		}},
		{"ack, producer dies", Options{Deaths: 1, Mortal: 1, Timeouts: 1, Switches: 4}, func() *aRing {
			a := newRing(true, 0)
			a.producer(true, 9)
			a.acker(0, false)
			return a
		}},
		{"ack, store buffers", Options{Buffers: true, Switches: 3}, func() *aRing {
			a := newRing(true, 0)
			a.producer(true, 9)
			a.acker(0, true)
			return a
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			explored(t, c.opt, func() *System { return c.make().sys })
		})
	}
}

// The fast ways of exclusive handles.
func TestRingExclusive(t *testing.T) {
	t.Run("both", func(t *testing.T) {
		explored(t, Options{Switches: 4}, func() *System {
			a := newRing(false, 2048)
			a.exclusive(true, 9, 10)
			a.exclusively(0, false)
			return a.sys
		})
	})
	t.Run("closed meanwhile", func(t *testing.T) {
		explored(t, Options{Switches: 4}, func() *System {
			a := newRing(false, 2048)
			a.exclusive(false, 9)
			a.exclusively(0, true)
			return a.sys
		})
	})
	for _, weak := range []bool{false, true} {
		t.Run(fmt.Sprintf("closed meanwhile, stores late, weak=%v", weak), func(t *testing.T) {
			explored(t, Options{Buffers: true, Weak: weak, Switches: 3}, func() *System {
				a := newRing(false, 2048)
				a.exclusive(false, 9)
				a.exclusively(0, true)
				return a.sys
			})
		})
	}
	t.Run("full", func(t *testing.T) {
		explored(t, Options{Switches: 3}, func() *System {
			a := newRing(false, 2048)
			a.exclusive(false, 2001, 2002, 2003)
			a.exclusively(3, false)
			return a.sys
		})
	})
	t.Run("producer dies", func(t *testing.T) {
		explored(t, Options{Deaths: 1, Mortal: 1, Watch: true, Switches: 3}, func() *System {
			a := newRing(false, 2048)
			a.exclusive(false, 9)
			a.exclusively(0, true)
			return a.sys
		})
	})
}

// More than one delivery outstanding.
func TestRingLeases(t *testing.T) {
	for _, c := range []Options{{Switches: 4}, {Buffers: true, Switches: 3}, {Weak: true, AtOnce: true, Switches: 3}} {
		t.Run(fmt.Sprintf("two given back, buffers=%v, weak=%v", c.Buffers, c.Weak), func(t *testing.T) {
			explored(t, c, func() *System {
				a := newRing(true, 0)
				a.fill(9, 10)
				a.settler(false, a.leased(0, 2)...)
				a.keeper(2)
				return a.sys
			})
		})
		t.Run(fmt.Sprintf("room behind one that leases, buffers=%v, weak=%v", c.Buffers, c.Weak), func(t *testing.T) {
			explored(t, Options{Buffers: c.Buffers, Weak: c.Weak, AtOnce: true, Switches: 1}, func() *System {
				a := newRing(true, 0)
				a.fill(2001, 1000)
				a.settler(true, a.leased(0, 1)...)
				a.keeper(1)
				a.producer(false, 1900)
				return a.sys
			})
		})
	}
}

// The last message is acknowledged while another process has the consumer lock, which takes its memory back then; and the
// queue is closed. The consumer that waits in case the message is given back hears that nothing will come any more.
func TestRingLeasesEnd(t *testing.T) {
	for _, c := range []Options{{Switches: 1}, {Buffers: true, AtOnce: true, Late: 1 << 1, Switches: 2}} {
		t.Run(fmt.Sprintf("buffers=%v", c.Buffers), func(t *testing.T) {
			explored(t, c, func() *System {
				a := newRing(true, 0)
				a.fill(9)
				a.settler(true, a.leased(0, 1)...)
				settle := a.sys.Procs[0]
				a.sys.Procs[0] = func(p *Proc) {
					settle(p)
					a.open(p.Owners()).Close()
				}
				a.taker()
				a.ender()
				return a.sys
			})
		})
	}
}

// A holder of several deliveries acknowledges some, and dies.
func TestRingAckedThenDead(t *testing.T) {
	for _, c := range []Options{{Switches: 3}, {Weak: true, AtOnce: true, Switches: 2}} {
		c.Deaths, c.Mortal = 1, 1
		t.Run(fmt.Sprintf("weak=%v", c.Weak), func(t *testing.T) {
			explored(t, c, func() *System {
				a := newRing(true, 0)
				a.fill(9, 10, 11)
				ls := a.leased(0, 3)
				a.settler(true, ls[1], ls[0])
				settle := a.sys.Procs[0]
				a.sys.Procs[0] = func(p *Proc) {
					settle(p)
					p.point() // so that it may die after that, too
				}
				a.taker()
				return a.sys
			})
		})
	}
}

// Deaths that somebody sleeps beside, without time-outs.
func TestRingNotices(t *testing.T) {
	for _, c := range []Options{{Edge: true}, {Window: true}} {
		c.Deaths, c.Watch = 1, true
		run := func(name string, mortal uint, switches int, build func() *aRing) {
			t.Run(fmt.Sprintf("%s, window=%v", name, c.Window), func(t *testing.T) {
				opt := c
				opt.Mortal, opt.Switches = mortal, switches
				explored(t, opt, func() *System {
					a := build()
					if a.sys.Idle = a.pauses; name == "room" {
						a.sys.Idle = nil
					}
					return a.sys
				})
			})
		}
		run("the holder of the only message dies", 1, 0, func() *aRing {
			a := newRing(true, 0)
			a.fill(9)
			a.leased(0, 1)
			a.idler()
			a.keeper(1)
			return a
		})
		run("one of two holders dies", 1|2, 2, func() *aRing {
			a := newRing(true, 0)
			a.fill(9, 10)
			a.leased(0, 1)
			a.leased(1, 1)
			a.idler()
			a.idler()
			a.keeper(1)
			return a
		})
		run("the writing end of a pipe dies", 1, 3, func() *aRing {
			a := newRing(false, 0)
			a.producer(false, 9)
			a.reader(0)
			return a
		})
		if c.Edge {
			run("a consumer dies beside two", 1, 2, func() *aRing {
				a := newRing(true, 0)
				a.fill(2001, 1000)
				ls := a.leased(1, 1)
				a.keeper(1)
				a.settler(true, ls...)
				a.producer(false, 1900)
				return a
			})
		}
		run("a consumer dies, a producer waits for room", 1, 3, func() *aRing {
			a := newRing(true, 0)
			a.fill(2001, 1000)
			ls := a.leased(2, 1)[0]
			r := a.open(nobody{})
			r.ConsumerLock.TryLock() // so that the record is done, but not taken back
			must(a.open(fixed(3)).Settle(ls, true))
			r.ConsumerLock.Unlock()
			a.settled = append(a.settled, ls.Len())
			a.keeper(1)
			a.producer(false, 1900)
			return a
		})
	}
}
