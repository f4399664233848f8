//go:build explore

package explore

import (
	"context"
	"errors"
	"fmt"
	"testing"

	table "github.com/shiplap-ipc/shiplap/internal/holders"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// barrier is the algorithm of lock.Barrier, over the same parts, for one round.
type barrier struct {
	parties uint32
	round   *mem.U64
	opened  wait.Event
	table   *table.Table
	sess    wait.Session
	wrong   barrierMistake
}

type barrierMistake int

const (
	barrierCorrect barrierMistake = iota
	silent                        // the last one wakes nobody
	givesUp                       // who has to go does not break it
)

const (
	barrierBroken  = 1 << 31
	barrierRound   = 1 << 32
	barrierOpened  = 64
	barrierBitmap  = 128
	barrierArrived = 256 // u32 each process
)

var errBroken = errors.New("broken")

func newBarrier(p *Proc, r *mem.Region, parties int, wrong barrierMistake) *barrier {
	s := r.Span(0)
	return &barrier{
		parties: uint32(parties), round: s.U64(0), opened: wait.NewEvent(s.U32(barrierOpened)), wrong: wrong,
		table: table.New(s, barrierBitmap, r.Span(1), 8, p.Owners(), p.ID),
	}
}

func (b *barrier) dead(v uint64) bool {
	return b.table.AnyDead(
		func(n uint32) bool { return uint16(n) == uint16(v>>32) && n>>16 != 0 },
		func(n uint32) bool { return int16(uint16(n)-uint16(v>>32)) < 0 })
}

func (b *barrier) enter(v uint64) {
	b.table.Update(func(n uint32) uint32 {
		switch ahead := int16(uint16(n) - uint16(v>>32)); {
		case ahead > 0 && n>>16 != 0:
			return n
		case ahead != 0:
			n = uint32(uint16(v >> 32))
		}
		return n + 1<<16
	})
}

func (b *barrier) leave(v uint64) {
	b.table.Update(func(n uint32) uint32 {
		if uint16(n) != uint16(v>>32) || n>>16 == 0 {
			return n
		}
		return n - 1<<16
	})
}

func (b *barrier) breakRound(v uint64) {
	for now := b.round.Load(); now>>32 == v>>32 && now&barrierBroken == 0; now = b.round.Load() {
		if b.round.CAS(now, now|barrierBroken) {
			b.opened.WakeAll()
		}
	}
}

func (b *barrier) arrive() (uint64, error) {
	for {
		v := b.round.Load()
		n := uint32(v) &^ barrierBroken
		if v&barrierBroken != 0 {
			b.opened.WakeAll()
			return 0, errBroken
		}
		b.enter(v)
		next := v + 1
		if n+1 == b.parties {
			if b.dead(v) {
				b.breakRound(v)
				b.leave(v)
				return 0, errBroken
			}
			next = v>>32<<32 + barrierRound
		}
		if b.round.CAS(v, next) {
			if (n == 0 || n+1 == b.parties) && b.wrong != silent {
				b.opened.WakeAll()
			}
			return v, nil
		}
		b.leave(v)
	}
}

func (b *barrier) wait(ctx context.Context) error {
	v, err := b.arrive()
	if err != nil {
		return err
	}
	defer b.leave(v)
	err = b.table.Wait(ctx, &b.sess, b.opened, func() (bool, error) {
		now := b.round.Load()
		if now>>32 != v>>32 || now&barrierBroken != 0 {
			return true, nil
		}
		if b.dead(now) {
			b.breakRound(now)
		}
		return false, nil
	})
	if err != nil && b.wrong != givesUp {
		b.breakRound(v)
	}
	if now := b.round.Load(); now>>32 != v>>32 {
		return nil
	} else if err == nil {
		err = errBroken
	}
	return err
}

// meeting lets n processes meet once, the first of them with a context that is done if impatient. All who live go
// on, or none; who goes on knows that all came, and that nobody died who had not been let go.
func meeting(wrong barrierMistake, n int, impatient bool) func() *System {
	return func() *System {
		r := mem.NewHeap(mem.Part{Len: 512}, mem.Part{Len: table.Slots * 8})
		s := r.Span(0)
		sys := &System{Memory: []*mem.Span{s, r.Span(1)}}
		results := make([]error, n)
		ended := make([]bool, n)
		for i := range n {
			sys.Procs = append(sys.Procs, func(p *Proc) {
				ctx := context.Background()
				if impatient && i == 0 {
					c, cancel := context.WithCancel(ctx)
					cancel()
					ctx = c
				}
				b := newBarrier(p, r, n, wrong)
				s.U32(barrierArrived + 4*i).Store(1)
				results[i] = b.wait(ctx)
				ended[i] = true
				if results[i] != nil {
					return
				}
				for j := range n {
					if s.U32(barrierArrived+4*j).Load() == 0 {
						p.Failf("went on before %d came", j)
					}
				}
			})
		}
		sys.Idle = func([]int) error { // who died before he came is waited for
			there := uint32(0)
			for i := range n {
				if r.Span(1).U64(8*i).Load()>>48 != 0 {
					there++
				}
			}
			if v := s.U64(0).Load(); v>>32 != 0 || v&barrierBroken != 0 || uint32(v) != there || int(there) == n {
				return fmt.Errorf("the word is %#x, and %d are there", v, there)
			}
			for _, p := range lastProcs {
				if p.state == dead && r.Span(1).U64(8*p.ID).Load()>>48 != 0 {
					return fmt.Errorf("%d died there", p.ID)
				}
			}
			return nil
		}
		sys.Final = func() error {
			met := s.U64(0).Load()>>32 != 0
			for i, err := range results {
				if ended[i] && (err == nil) != met {
					return fmt.Errorf("process %d got %v; they met: %v", i, err, met)
				}
			}
			return nil
		}
		return sys
	}
}

func TestBarrier(t *testing.T) {
	for _, c := range []struct {
		n, deaths, switches int
		impatient           bool
	}{{2, 0, 3, false}, {2, 0, 2, true}, {2, 1, 2, false}, {3, 0, 1, false}, {3, 0, 1, true}} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			explored(t, Options{Deaths: c.deaths, Timeouts: 6 * c.deaths, Switches: c.switches}, meeting(barrierCorrect, c.n, c.impatient))
		})
	}
}

func TestBarrierMutations(t *testing.T) {
	mustFail(t, Options{Switches: 3}, meeting(silent, 2, false), "asleep for ever")
	mustFail(t, Options{Switches: 3}, meeting(givesUp, 2, true), "they met: true")
}
