//go:build explore

package explore

import (
	"context"
	"fmt"
	"testing"

	table "github.com/shiplap-ipc/shiplap/internal/holders"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// rw is the handshake of lock.RWMutex, over the same parts.
type rw struct {
	writer           *wordlock.Lock
	writing, damaged *mem.U32
	drained          wait.Event
	table            *table.Table
	sess             wait.Session
	wrong            rwMistake
}

// rwMistake leaves a step of the handshake out.
type rwMistake int

const (
	correct    rwMistake = iota
	looksFirst           // a reader looks for a writer before it notes itself
	noWake               // a reader that withdraws does not wake the writer
	noRecover            // who takes over does not note the damage
)

const (
	rwWriting = 128
	rwDrained = 192
	rwBitmap  = 256
	rwInside  = 384 // u32 each process: 1 reads, 2 writes
	rwSize    = 512
)

func newRW(p *Proc, r *mem.Region, wrong rwMistake) *rw {
	s := r.Span(0)
	m := &rw{writing: s.U32(rwWriting), drained: wait.NewEvent(s.U32(rwDrained)), wrong: wrong}
	m.writer = wordlock.New(s, 0, p.Owners(), &m.sess)
	m.damaged = m.writer.Damaged()
	m.table = table.New(s, rwBitmap, r.Span(1), 8, p.Owners(), p.ID)
	return m
}

func (m *rw) recover() {
	if m.writing.Load() != 0 && m.wrong != noRecover {
		m.damaged.StoreRelease(1)
		m.writing.StoreRelease(0)
	}
}

func (m *rw) rlock() error {
	if m.wrong == looksFirst {
		if !m.writer.Held() {
			m.table.Add(1)
			return nil
		}
	} else {
		m.table.Add(1)
		if !m.writer.Held() {
			return nil
		}
		m.runlock()
	}
	recovered, err := m.writer.Lock(context.Background())
	if err != nil {
		return err
	}
	if recovered {
		m.recover()
	}
	m.table.Add(1)
	m.writer.Unlock()
	return nil
}

func (m *rw) runlock() {
	m.table.Add(-1)
	if m.writer.Held() && m.wrong != noWake {
		m.drained.WakeAll()
	}
}

func (m *rw) lock() error {
	recovered, err := m.writer.Lock(context.Background())
	if err != nil {
		return err
	}
	if recovered {
		m.recover()
	}
	err = m.table.Wait(context.Background(), &m.sess, m.drained, func() (bool, error) { return !m.table.Living(), nil })
	if err == nil {
		m.writing.StoreRelease(1)
	}
	return err
}

func (m *rw) unlock() {
	m.writing.StoreRelease(0)
	m.writer.Unlock()
}

// readersAndWriters lets each process read or write once. No two may be inside of whom one writes; who comes
// after a writer that died inside finds the damage noted; whoever lives gets his turn.
func readersAndWriters(wrong rwMistake, writes ...bool) func() *System {
	return func() *System {
		r := mem.NewHeap(mem.Part{Len: rwSize}, mem.Part{Len: table.Slots * 8})
		s := r.Span(0)
		inside := func(i int) *mem.U32 { return s.U32(rwInside + 4*i) }
		sys := &System{Memory: []*mem.Span{s, r.Span(1)}, Clock: lockClock(0)}
		for i, write := range writes {
			sys.Procs = append(sys.Procs, func(p *Proc) {
				m := newRW(p, r, wrong)
				enter, me := m.rlock, uint32(1)
				if write {
					enter, me = m.lock, 2
				}
				if err := enter(); err != nil {
					p.Failf("%v", err)
					return
				}
				inside(i).Store(me)
				for j := range writes {
					if j == i {
						continue
					}
					other := inside(j).Load()
					if other == 0 || me+other < 3 {
						continue
					}
					dead := p.Owners().Dead(uint32(j) + 1)
					switch {
					case !dead && inside(j).Load() == other:
						p.Failf("inside (%d) with %d (%d)", me, j, other)
					case dead && other == 2 && m.damaged.Load() == 0:
						p.Failf("not told that %d died writing", j)
					}
				}
				inside(i).Store(0)
				if write {
					m.unlock()
				} else {
					m.runlock()
				}
			})
		}
		sys.Idle = func(asleep []int) error { return fmt.Errorf("%+v", wordlock.Inspect(s, 0)) }
		return sys
	}
}

func TestRWLock(t *testing.T) {
	const r, w = false, true
	for _, c := range []struct {
		deaths, switches int
		procs            []bool
	}{
		{0, 4, []bool{r, w}}, {0, 4, []bool{w, w}}, {1, 3, []bool{r, w}}, {1, 3, []bool{w, w}},
		{0, 2, []bool{r, r, w}}, {0, 2, []bool{r, w, w}}, {1, 1, []bool{r, r, w}}, {1, 1, []bool{r, w, w}},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			explored(t, Options{Deaths: c.deaths, Timeouts: 2 * c.deaths, Switches: c.switches}, readersAndWriters(correct, c.procs...))
		})
	}
}

func TestRWLockMutations(t *testing.T) {
	const r, w = false, true
	mustFail(t, Options{Switches: 3}, readersAndWriters(looksFirst, r, w), "inside (")
	mustFail(t, Options{Switches: 3}, readersAndWriters(noWake, r, w), "asleep for ever")
	mustFail(t, Options{Switches: 3, Deaths: 1, Timeouts: 2}, readersAndWriters(noRecover, w, w), "not told")
}
