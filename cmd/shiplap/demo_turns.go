package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
	"github.com/shiplap-ipc/shiplap/shared"
)

// turns is a mutex, and two numbers that are equal whenever nobody holds it.
type turns struct {
	m *lock.Mutex
	a *shared.Array[int64]
}

func openTurns(d *shiplap.Domain, name string) (t turns, err error) {
	if t.m, err = lock.OpenOrCreateMutex(d, name, nil); err != nil {
		return t, err
	}
	t.a, err = shared.OpenOrCreateArray[int64](d, name+".numbers", []int{2}, nil)
	return t, err
}

func (t turns) close() error { return errors.Join(t.a.Close(), t.m.Close()) }

// take adds 1 to both numbers, one after the other. It reports whether it had to repair them first.
func (t turns) take(c *child, between time.Duration) (repaired bool, err error) {
	err = t.m.Lock(c.ctx)
	v, e := t.a.Pin()
	if e != nil {
		return false, e
	}
	defer v.Release()
	n, _ := v.Contiguous()
	if errors.Is(err, shiplap.ErrOwnerDied) {
		repaired = true
		n[1] = n[0]
		err = t.m.Repaired()
	}
	if err != nil {
		return false, err
	}
	n[0]++
	for start := time.Now(); time.Since(start) < between; {
	}
	n[1]++
	return repaired, t.m.Unlock()
}

// count takes a turns, and says how often it repaired.
func (c *child) count() error {
	t, err := openTurns(c.d, c.name)
	if err != nil {
		return err
	}
	repairs := 0
	for range c.a {
		repaired, err := t.take(c, 0)
		if err != nil {
			return err
		}
		if repaired {
			repairs++
		}
	}
	fmt.Println(repairs)
	return t.close()
}

// dawdle takes turns until it is killed, and spends nearly all of its time between the two numbers.
func (c *child) dawdle() error {
	t, err := openTurns(c.d, c.name)
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		if _, err := t.take(c, 2*time.Millisecond); err != nil {
			return err
		}
		if first {
			fmt.Println("counting")
		}
	}
}

func (s *demo) actTurns() error {
	const counters, each, kills = 2, 20_000, 5
	s.act("kill -9 in the middle of a change that a mutex protects")
	t, err := openTurns(s.d, "turns")
	if err != nil {
		return err
	}
	defer t.close()
	s.tell("%d processes add 1 to two numbers, %s times each; %d others do so slowly, and are killed.", counters, grouped(each), kills)
	var staff []*kid
	for range counters {
		k, err := s.start("count", "turns", each)
		if err != nil {
			return err
		}
		staff = append(staff, k)
	}
	for range kills {
		k, err := s.start("dawdle", "turns")
		if err != nil {
			return err
		}
		if _, err := s.line(k); err != nil {
			return err
		}
		if err := s.holds(k.pid(), "turns"); err != nil {
			return err
		}
		k.kill()
	}
	repairs := 0
	for _, k := range staff {
		said, err := s.line(k)
		if err != nil {
			return err
		}
		var n int
		if _, err := fmt.Sscan(said, &n); err != nil {
			return err
		}
		repairs += n
		if err := s.wait(k); err != nil {
			return err
		}
	}
	own := &child{ctx: s.ctx, d: s.d}
	last, err := t.take(own, 0) // the last to be killed may have left something
	if err != nil {
		return err
	}
	if last {
		repairs++
	}
	v, err := t.a.Pin()
	if err != nil {
		return err
	}
	defer v.Release()
	n, _ := v.Contiguous()
	s.check(n[0] == n[1] && n[0] > counters*each, "the numbers are equal (%s and %s); who came after a death was told, and repaired, %d times",
		grouped(int(n[0])), grouped(int(n[1])), repairs)
	return nil
}

// holds returns once the process is seen holding the lock of the object.
func (s *demo) holds(pid int, name string) error {
	for {
		locks, err := s.d.Locks(name)
		if err != nil {
			return err
		}
		if len(locks) > 0 && locks[0].Holder != nil && locks[0].Holder.Pid == pid {
			return nil
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(20 * time.Microsecond):
		}
	}
}
