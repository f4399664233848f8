package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
)

// lockStats is what stat says of the kinds of package lock; one of them is set.
type lockStats struct {
	Mutex     *lock.MutexStats     `json:"mutex,omitempty"`
	RWMutex   *lock.RWMutexStats   `json:"rwmutex,omitempty"`
	Semaphore *lock.SemaphoreStats `json:"semaphore,omitempty"`
	Event     *lock.EventStats     `json:"event,omitempty"`
	Cond      *lock.CondStats      `json:"cond,omitempty"`
	Barrier   *lock.BarrierStats   `json:"barrier,omitempty"`
	alive     living
	holder    *shiplap.Process // of the mutex or the writers' lock
}

// holderOf is who holds one of the named locks of an object. The statistics do not tell one that is dead and swept
// from none.
func holderOf(d *shiplap.Domain, name string, names ...string) *shiplap.Process {
	locks, _ := d.Locks(name)
	for _, l := range locks {
		if slices.Contains(names, l.Lock) {
			return l.Holder
		}
	}
	return nil
}

// living tells which members of the domain are alive.
type living map[int]bool

func livingOf(d *shiplap.Domain) living {
	alive := living{}
	all, _ := d.Members()
	for _, m := range all {
		alive[m.Pid] = alive[m.Pid] || m.Alive
	}
	return alive
}

func (l living) pid(p int) string {
	switch {
	case p == 0: // its slot was swept, or belongs to another by now
		return "dead"
	case !l[p]:
		return fmt.Sprintf("pid %d (dead)", p)
	}
	return fmt.Sprintf("pid %d", p)
}

// orNobody is a process, or nobody.
func orNobody(p *shiplap.Process) string {
	if p == nil {
		return "nobody"
	}
	return describe(p)
}

// holders is as in "pid 7, 3 by pid 9 (dead)".
func (l living) holders(all []lock.Holder) string {
	s := make([]string, len(all))
	for i, h := range all {
		if s[i] = l.pid(h.Pid); h.Number != 1 {
			s[i] = grouped(uint64(h.Number)) + " by " + s[i]
		}
	}
	return cmp.Or(strings.Join(s, ", "), "nobody")
}

func (s *lockStats) fill(d *shiplap.Domain, kind, name string) (err error) {
	s.alive, s.holder = livingOf(d), holderOf(d, name, "mutex", "writer")
	switch kind {
	case "mutex":
		s.Mutex, err = statsOf(d, name, lock.OpenMutex)
	case "rwmutex":
		s.RWMutex, err = statsOf(d, name, lock.OpenRWMutex)
	case "semaphore":
		s.Semaphore, err = statsOf(d, name, lock.OpenSemaphore)
	case "event":
		s.Event, err = statsOf(d, name, lock.OpenEvent)
	case "cond":
		s.Cond, err = statsOf(d, name, lock.OpenCond)
	case "barrier":
		s.Barrier, err = statsOf(d, name, lock.OpenBarrier)
	}
	return err
}

// statsOf opens an object for its statistics.
func statsOf[S any, T interface {
	Stats() (S, error)
	Close() error
}](d *shiplap.Domain, name string, open func(*shiplap.Domain, string) (T, error)) (*S, error) {
	o, err := open(d, name)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	s, err := o.Stats()
	return &s, err
}

func (s *lockStats) print(t table) {
	if m := s.Mutex; m != nil {
		t.row("held by", orNobody(s.holder))
		printMutex(t, m)
	}
	if m := s.RWMutex; m != nil {
		printRWMutex(t, m, s.holder, s.alive)
	}
	if m := s.Semaphore; m != nil {
		s.alive.printSemaphore(t, m)
	}
	if e := s.Event; e != nil {
		state := "not set"
		if e.Set {
			state = "set"
		}
		t.row("state", fmt.Sprintf("%s; set %s times so far", state, grouped(uint64(e.Times))))
	}
	if c := s.Cond; c != nil {
		t.row("signals", grouped(uint64(c.Signals)))
		t.row("waits", grouped(uint64(c.Waits)))
	}
	if b := s.Barrier; b != nil {
		s.alive.printBarrier(t, b)
	}
}

func printMutex(t table, m *lock.MutexStats) {
	t.row("waiting", users(m.Waiters))
	if m.Damaged {
		t.row("damaged", "its owner died: what it protects may be half changed")
	}
	t.row("sleeps", grouped(m.Sleeps))
	t.row("taken over", fmt.Sprintf("%d times from the dead", m.Recoveries))
}

// printRWMutex tells the writer from a process that has the writers' lock while it waits for readers to leave, or
// to become one of them.
func printRWMutex(t table, m *lock.RWMutexStats, holder *shiplap.Process, alive living) {
	writer, next := holder, (*shiplap.Process)(nil)
	if !m.Writing {
		writer, next = nil, holder
	}
	t.row("written by", orNobody(writer))
	t.row("read by", alive.holders(m.Readers))
	if next != nil {
		t.row("next", describe(next))
	}
	printMutex(t, &m.MutexStats)
}

func (l living) printSemaphore(t table, s *lock.SemaphoreStats) {
	t.row("permits", fmt.Sprintf("%s of %s available", grouped(s.Available), grouped(s.Permits)))
	if s.Unowned {
		t.row("unowned", "permits do not come back by themselves")
	} else {
		t.row("held by", l.holders(s.Holders))
	}
	waiting := s.Queue.Waiters
	if s.Queue.Holder != 0 { // it stands at the head
		waiting = append([]int{s.Queue.Holder}, waiting...)
	}
	t.row("waiting", users(waiting))
}

func (l living) printBarrier(t table, b *lock.BarrierStats) {
	state := "whole"
	if b.Broken {
		state = "broken, until somebody resets it"
	}
	t.row("state", state)
	t.row("round", grouped(uint64(b.Round)))
	t.row("waiting", fmt.Sprintf("%s of %s: %s", grouped(b.Waiting), grouped(b.Parties), l.holders(b.Holders)))
}
