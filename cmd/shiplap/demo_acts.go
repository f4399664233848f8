package main

import (
	"encoding/binary"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/shiplap-ipc/shiplap/queue"
)

func (s *demo) actQueue() error {
	const each = 100_000
	s.act("A queue between processes")
	q, err := queue.CreateRaw(s.d, "numbers", nil)
	if err != nil {
		return err
	}
	defer q.Close()
	start := time.Now()
	got := make(chan uint64, 1024)
	var consumers sync.WaitGroup
	for range 2 {
		k, err := s.start("consume", "numbers")
		if err != nil {
			return err
		}
		consumers.Go(func() { k.numbers(got) })
	}
	var producers []*kid
	for i := range 2 {
		k, err := s.start("produce", "numbers", i*each, each)
		if err != nil {
			return err
		}
		producers = append(producers, k)
	}
	s.tell("2 producers put %s numbers, 2 consumers take them.", grouped(2*each))
	t := newTally(2 * each)
	counted := make(chan struct{})
	go func() {
		for n := range got {
			t.add(n)
		}
		close(counted)
	}()
	for _, k := range producers {
		if err := s.wait(k); err != nil {
			return err
		}
	}
	if err := q.CloseQueue(); err != nil { // like a Go channel: consumers drain it, then end
		return err
	}
	consumers.Wait()
	close(got)
	<-counted
	missing, doubled, other := t.result()
	s.check(missing+doubled+other == 0, "each arrived exactly once (%d missing, %d twice) in %v, process starts included",
		missing, doubled, time.Since(start).Round(time.Millisecond))
	return nil
}

func (s *demo) actPipe() error {
	const size, piece = 256 << 20, 64 << 10
	s.act("A pipe between two processes")
	s.tell("One sends %s in pieces of %s; both compute a checksum.", formatSize(size), formatSize(piece))
	from, err := s.start("send", "stream", size, piece)
	if err != nil {
		return err
	}
	to, err := s.start("recv", "stream", size, piece)
	if err != nil {
		return err
	}
	var said [3]string
	for i, k := range []*kid{to, to, from} {
		if said[i], err = s.line(k); err != nil {
			return err
		}
	}
	ns, _ := strconv.ParseInt(said[1], 10, 64)
	s.check(said[0] == said[2], "the checksums are equal: %s and %s", said[2], said[0])
	s.rates = append(s.rates, [2]string{"pipe, 64 KiB writes, with checksums", rate(size, time.Duration(ns))})
	return nil
}

func (s *demo) actHolder() error {
	s.act("kill -9 while holding a lock")
	q, err := queue.CreateRaw(s.d, "held", nil)
	if err != nil {
		return err
	}
	defer q.Close()
	holder, err := s.start("hold", "held", 1)
	if err != nil {
		return err
	}
	if _, err := s.line(holder); err != nil {
		return err
	}
	next, err := s.start("next", "held", 2)
	if err != nil {
		return err
	}
	if err := s.waitsFor(next.pid(), "held"); err != nil {
		return err
	}
	s.tell("pid %d has the producing side and is in the middle of a message; pid %d waits for the side.", holder.pid(), next.pid())
	first, err := q.Get(s.ctx, nil)
	if err != nil {
		return err
	}
	holder.signal(syscall.SIGSTOP)
	const stopped = 300 * time.Millisecond
	select {
	case <-time.After(stopped):
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
	_, err = q.TryGet(nil)
	s.check(err != nil, "stopped for %d ms (SIGSTOP), the holder is not robbed: only death passes a lock on", stopped.Milliseconds())
	late := watchLateness()
	killed := holder.kill()
	second, err := q.Get(s.ctx, nil)
	took, was := time.Since(killed), late.end()
	if err != nil {
		return err
	}
	s.checkSoon(took, was, "the one who waited had the side and put its message")
	if err := s.wait(next); err != nil {
		return err
	}
	_, err = q.TryGet(nil)
	ok := err != nil && value(first) == 1 && value(second) == 2
	s.check(ok, "what was put before the kill is there, the half-written message never was")
	return nil
}

func value(msg []byte) uint64 {
	if len(msg) != 8 {
		return 1<<64 - 1
	}
	return binary.LittleEndian.Uint64(msg)
}

// waitsFor returns once the process is seen waiting for a lock of the object.
func (s *demo) waitsFor(pid int, name string) error {
	for {
		locks, err := s.d.Locks(name)
		if err != nil {
			return err
		}
		for _, l := range locks {
			for _, w := range l.Waiters {
				if w.Pid == pid {
					return nil
				}
			}
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func (s *demo) actProducer() error {
	const kills = 5
	s.act("kill -9 a producer that is putting as fast as it can")
	q, err := queue.CreateRaw(s.d, "reported", &queue.Options{Capacity: 16 << 20})
	if err != nil {
		return err
	}
	defer q.Close()
	reported, arrived, lost, torn := 0, 0, 0, 0
	for range kills {
		k, err := s.start("report", "reported")
		if err != nil {
			return err
		}
		var said []byte
		for deadline := time.Now().Add(50 * time.Millisecond); len(said) < 8 || time.Now().Before(deadline); {
			var b [8 << 10]byte
			n, err := k.out.Read(b[:])
			if err != nil {
				return err
			}
			said = append(said, b[:n]...)
		}
		k.kill()
		said = append(said, rest(k)...)
		n := len(said) / 8 // reported, from 0 on
		got := 0
		for ; ; got++ {
			msg, err := q.TryGet(nil)
			if err != nil {
				break
			}
			if value(msg) != uint64(got) {
				torn++
			}
		}
		reported, arrived, lost = reported+n, arrived+got, lost+max(0, n-got)
		if got > n+1 { // at most one was put and not reported yet
			torn++
		}
	}
	s.tell("A producer reports each message once it is put. %d of them were killed, %s messages were reported.", kills, grouped(reported))
	s.check(lost == 0 && torn == 0, "%s arrived: all that were reported, in order, whole (%d lost, %d torn)", grouped(arrived), lost, torn)
	return nil
}

// rest is what a killed child had written.
func rest(k *kid) (b []byte) {
	buf := make([]byte, 64<<10)
	for {
		n, err := k.out.Read(buf)
		b = append(b, buf[:n]...)
		if err != nil {
			return b
		}
	}
}

func (s *demo) actRates() error {
	s.act("Rates, between two processes on this machine now")
	for _, r := range []struct {
		what     string
		n, batch int
	}{
		{"queue, 64 B messages, exclusive handles", 4_000_000, 0},
		{"queue, 64 B messages, shared handles, 16 at once", 2_000_000, 16},
	} {
		name := "rate-" + strconv.Itoa(r.batch)
		q, err := queue.CreateRaw(s.d, name, nil)
		if err != nil {
			return err
		}
		to, err := s.start("absorb", name, r.n, r.batch)
		if err == nil {
			_, err = s.start("blast", name, r.n, r.batch)
		}
		if err != nil {
			return err
		}
		text, err := s.line(to)
		if err != nil {
			return err
		}
		ns, _ := strconv.ParseInt(text, 10, 64)
		s.rates = append(s.rates, [2]string{r.what, strconv.FormatFloat(float64(r.n)/float64(max(ns, 1))*1e3, 'f', 1, 64) + " M/s"})
		if err := q.Close(); err != nil {
			return err
		}
	}
	t := newTable(s.w)
	for _, r := range s.rates {
		t.row("   "+r[0], r[1])
	}
	return t.Flush()
}
