package main

import (
	"sync"
	"time"

	"github.com/shiplap-ipc/shiplap/queue"
)

func (s *demo) actWorkers() error {
	const jobs, grabbed, workers, kills = 20_000, 10, 3, 5
	s.act("kill -9 consumers of a queue with acknowledgement")
	q, err := queue.CreateRaw(s.d, "jobs", &queue.Options{Ack: true, Capacity: 2 << 20})
	if err != nil {
		return err
	}
	defer q.Close()
	for n := range jobs {
		if err := q.Put(s.ctx, number(n)); err != nil {
			return err
		}
	}
	victim, err := s.start("grab", "jobs", grabbed)
	if err != nil {
		return err
	}
	if _, err := s.line(victim); err != nil {
		return err
	}

	done := make(chan uint64)
	var readers sync.WaitGroup
	staff := make([]*kid, workers)
	hire := func(i int) (err error) {
		if staff[i], err = s.start("work", "jobs"); err == nil {
			k := staff[i]
			readers.Go(func() { k.numbers(done) })
		}
		return err
	}
	for i := range staff {
		if err := hire(i); err != nil {
			return err
		}
	}
	s.tell("%s jobs for %d workers; %d of them are killed on the way and replaced.", grouped(jobs), workers, kills)
	t := newTally(jobs)
	different := 0
	count := func(n uint64) {
		if t.add(n); n < jobs && t.seen[n] == 1 {
			different++
		}
	}
	for killed, step := 0, jobs/(kills+1); different < jobs-grabbed; {
		select {
		case n := <-done:
			count(n)
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
		if killed < kills && different >= (killed+1)*step {
			i := killed % workers
			staff[i].kill()
			if err := hire(i); err != nil {
				return err
			}
			killed++
		}
	}
	s.tell("Now only the %d jobs are left that pid %d took and does not finish. It is killed, too.", grabbed, victim.pid())
	late := watchLateness()
	at := victim.kill()
	var first time.Duration
	for different < jobs {
		select {
		case n := <-done:
			if first == 0 {
				first = time.Since(at)
			}
			count(n)
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
	s.checkSoon(first, late.end(), "another worker got the first of them")
	if err := q.CloseQueue(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		readers.Wait()
		close(ended)
	}()
	for open := true; open; {
		select {
		case n := <-done:
			count(n)
		case <-ended:
			open = false
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
	missing, doubled, other := t.result()
	s.check(missing == 0 && other == 0 && doubled <= kills, "every job was done (%d missing), %d twice: at most one a kill", missing, doubled)
	return nil
}
