package bell

import "time"

// leader is who waits at the poller. The others wait on channels, and the leader wakes them.
type leader uint8

const (
	nobody     leader = iota
	aSleeper          // a goroutine that sleeps itself: its own wake-up needs no second goroutine
	dispatcher        // a goroutine of the bell
)

// Park sleeps until the ring that s is armed for, a Poke, or a look that finds ready true. A bound
// above 0 ends it as well. A Park may end without a cause.
//
//	nobody leads                         the one that parks leads, and dispatches for the others
//	a leader is woken, others sleep      a dispatcher leads
//	a dispatcher has woken the last one  nobody leads
func (s *Sleeper) Park(bound time.Duration, ready Ready) {
	b := s.bell
	s.ready.Lock()
	s.ready.Ready = ready
	s.ready.Unlock()
	s.in.Store(b)
	b.mu.Lock()
	if s.rung || s.poked.Load() {
		s.rung = false
		s.in.Store(nil)
		b.mu.Unlock()
		s.unready()
		return
	}
	s.parked, s.wake, s.rounds = true, false, 0
	s.at = len(b.parked)
	b.parked = append(b.parked, s)
	b.lookout.start(b)
	if s.leads = b.leader == nobody && !hooked && b.own.works(); s.leads {
		b.leader = aSleeper
	}
	b.mu.Unlock()
	if bound > 0 {
		s.within(bound)
	}
	defer s.parkedUntilNow(bound) // also if the memory faults
	if s.leads {
		s.lead()
		return
	}
	if hooked {
		hookPark(s)
		return
	}
	<-s.ch
}

// within ends the sleep after a time.
func (s *Sleeper) within(bound time.Duration) {
	if s.timer == nil {
		s.timer = time.AfterFunc(bound, func() {
			if b := s.in.Load(); b != nil {
				b.again(s)
			}
		})
		return
	}
	s.timer.Reset(bound)
}

func (s *Sleeper) parkedUntilNow(bound time.Duration) {
	b := s.bell
	if bound > 0 {
		s.timer.Stop()
	}
	b.mu.Lock()
	s.parked, s.rung = false, false // what rang is used: the caller looks
	last := len(b.parked) - 1
	b.parked[s.at] = b.parked[last]
	b.parked[s.at].at = s.at
	b.parked[last] = nil
	b.parked = b.parked[:last]
	if s.leads {
		s.leads, b.leader = false, nobody
		if len(b.parked) > 0 && b.own.works() {
			b.leader = dispatcher
			go b.dispatch()
		}
	}
	s.in.Store(nil)
	b.mu.Unlock()
	s.unready()
}

// unready says that nobody is to ask any more whether s should be resumed.
func (s *Sleeper) unready() {
	s.ready.Lock()
	s.ready.Ready = nil
	s.ready.Unlock()
}

// lead waits at the poller. If that fails, it waits for the lookout like others, and the bell is
// not used again.
func (s *Sleeper) lead() {
	b := s.bell
	s.first = true
	if b.own.await(s.atPoller) == nil {
		return
	}
	b.mu.Lock()
	s.leads, b.leader = false, nobody
	b.own.fail()
	wake := s.wake
	b.mu.Unlock()
	if !wake {
		<-s.ch
	}
}

// lookAtFIFO reads what has come and reports whether s is to go on. The poller has forgotten
// earlier events when it is called for the first time, so what came before has to be looked for: by
// reading, or, where nobody else is armed, in the entry.
func (s *Sleeper) lookAtFIFO(uintptr) (over bool) {
	b := s.bell
	first := s.first
	s.first = false
	if b.mu.Lock(); s.wake {
		b.mu.Unlock()
		return true
	}
	alone := b.armed == 1 && s.listed
	token, p := b.home.Self(), s.place
	b.mu.Unlock()
	if !first || !alone || !s.line.has(token, p.ticket) {
		b.drain()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return s.wake
}

// dispatch is the dispatcher.
func (b *Bell) dispatch() {
	err := b.own.await(func(uintptr) (over bool) {
		b.drain()
		b.mu.Lock()
		defer b.mu.Unlock()
		if over = len(b.parked) == 0; over {
			b.leader = nobody
		}
		return over
	})
	if err == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leader = nobody
	b.own.fail()
}

// drain reads what is in the FIFO and wakes those that it is for.
func (b *Bell) drain() {
	if b.own.read(b.Dispatch) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.lookout.everybody(b)
	}
}
