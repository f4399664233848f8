//go:build explore

package explore

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/mutex"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// ours are the owners as process 0 sees them, from whichever of its goroutines.
type ours struct{}

func (ours) Self() uint32           { return 1 }
func (ours) Dead(token uint32) bool { p := current(); return p != nil && p.Owners().Dead(token) }
func (ours) Watch(t uint32, f func()) func() {
	if p := current(); p != nil {
		return p.Owners().Watch(t, f)
	}
	return func() {}
}

const (
	mutexAt     = 256
	mutexInside = mutexAt + wordlock.Size // u32: 1 + the goroutine that is inside
)

// alone goes in and out, and fails if somebody else is there.
func alone(p *Proc, inside *mem.U32) {
	if was := inside.Load(); was != 0 {
		p.Failf("%d is inside", was-1)
	}
	inside.Store(uint32(p.ID) + 1)
	if is := inside.Load(); is != uint32(p.ID)+1 {
		p.Failf("%d came inside as well", int(is)-1)
	}
	inside.Store(0)
}

// closing has goroutines of process 0 lock through one handle, which another one closes, as lock.Mutex.Close does. With
// rival another process locks as well.
func closing(size int64, goroutines int, rival bool) func() *System {
	return func() *System {
		r := mem.NewHeap(mem.Part{Len: 512})
		s := r.Span(0)
		inside := s.U32(mutexInside)
		left := false
		o := object.OnHeap(&object.Header{Kind: object.Mutex, Size: size}, r, func() {
			left = true
			if p := current(); p != nil {
				p.Leave(size > 64<<10)
			}
		})
		check := o.Sess.Check
		o.Sess.Check = func() error { // asked when the session was not interrupted yet
			if p := current(); p != nil {
				p.Read(1)
			}
			return check()
		}
		m, err := mutex.NewAmong(o, mutexAt, ours{})
		must(err)
		var timers []func()
		mutex.Later = func(_ time.Duration, f func()) { timers = append(timers, f) }
		sys := &System{Memory: []*mem.Span{s}, Private: []any{&o.Gate, m}, Clock: lockClock(mutexAt), Bounded: []int{lineOf(mutexAt)}}
		for range goroutines {
			sys.Process = append(sys.Process, 0)
			sys.Procs = append(sys.Procs, func(p *Proc) {
				err := m.Lock(context.Background())
				if errors.Is(err, errs.ErrClosed) {
					return
				}
				if err != nil {
					p.Failf("lock: %v", err)
					return
				}
				alone(p, inside)
				if err := m.Unlock(); err != nil {
					p.Failf("unlock: %v", err)
				}
			})
		}
		sys.Process = append(sys.Process, 0)
		sys.Procs = append(sys.Procs, func(*Proc) {
			o.Sess.Interrupt(errs.ErrClosed)
			o.Gate.Close()
			m.Close()
		})
		if rival {
			sys.Process = append(sys.Process, 1)
			sys.Procs = append(sys.Procs, func(p *Proc) {
				l := wordlock.New(s, mutexAt, p.Owners(), &wait.Session{})
				if _, err := l.Lock(context.Background()); err != nil {
					p.Failf("lock: %v", err)
				}
				alone(p, inside)
				l.Unlock()
			})
		}
		sys.Final = func() error {
			for n := 0; len(timers) > 0; n++ { // those come last
				f := timers[0]
				if timers = timers[1:]; n > 10 {
					return errors.New("the handle's share of the gate is never given back")
				}
				f()
			}
			if !left {
				return errors.New("closed, and the gate was not left by all")
			}
			return nil
		}
		return sys
	}
}

// A handle is closed while goroutines lock and unlock through it: with memory that lingers, where holds are light ones,
// and with memory that goes.
func TestMutexClose(t *testing.T) {
	for _, c := range []struct {
		size          int64
		goroutines    int
		rival         bool
		switches      int
		buffers, weak bool
	}{
		{4096, 1, true, 3, false, false},
		{4096, 1, false, 2, true, true},
		{4096, 2, false, 2, false, false},
		{4096, 2, true, 2, false, false},
		{1 << 20, 1, true, 2, false, false},
		{1 << 20, 2, false, 2, false, false},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			explored(t, Options{Switches: c.switches, Buffers: c.buffers, Weak: c.weak, AtOnce: true}, closing(c.size, c.goroutines, c.rival))
		})
	}
}
