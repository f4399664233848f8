package bell

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

// Bell is one process's bell in one domain, and its way to those of the others. Its methods may be
// called concurrently.
type Bell struct {
	home  Home
	dir   *segment.Dir
	peers peers

	mu         sync.Mutex
	places     map[*mem.U32]*place
	tickets    map[uint32]*place
	retired    map[uint32]int
	owing      map[*place]struct{}
	ticket     uint32     // the last one given
	armed      int        // sleepers in the lists of places
	parked     []*Sleeper // in no order
	leader     leader
	dispatches bool // the leader wakes those whose rings it has read
	own        fifo
	replacing  bool // the FIFO had no name any more
	closed     bool

	lookout lookout
	round   uint32 // of the lookout
}

// New makes the bell of a domain. The directory is the bell's own from here on; nil if there is none.
func New(home Home, dir *segment.Dir) *Bell {
	b := &Bell{
		home: home, dir: dir,
		places: map[*mem.U32]*place{}, tickets: map[uint32]*place{}, retired: map[uint32]int{}, owing: map[*place]struct{}{},
	}
	b.ticket = firstTicket()
	return b
}

// Close takes the FIFO away. Nobody may sleep any more.
func (b *Bell) Close() error {
	b.mu.Lock()
	b.closed = true
	b.lookout.stop()
	file := b.own.detach()
	b.mu.Unlock()
	if file != nil { // without the mutex: it waits for a dispatcher that is just reading, and needs it
		file.Close() // a dispatcher that still waits ends
		b.dir.Unlink(FileName(int(b.home.Self() & slotMask)))
	}
	b.peers.close()
	if b.dir == nil {
		return nil
	}
	return b.dir.Close()
}

// Silence takes away the FIFO that the dead owner of a slot left. The caller has the claim lock of
// the slot, so that nobody makes a new one meanwhile.
func (b *Bell) Silence(slot int) {
	_ = b.dir.Unlink(FileName(slot)) // the next owner replaces it
}

// Sleeper is a goroutine's place to sleep. It is used by one goroutine at a time, except for Poke.
type Sleeper struct {
	bell  *Bell // where it is armed, or was
	line  *Line
	place *place
	// The rest down to wake is guarded by bell.mu.
	next, prev *Sleeper // in place
	listed     bool     // in place
	rung       bool     // a ring for it has arrived, which it has not used
	at         int      // in bell.parked
	parked     bool
	leads      bool // it waits at the poller, not on ch
	wake       bool // it is to go on
	rounds     uint32

	poked atomic.Bool
	in    atomic.Pointer[Bell] // set while it parks: Poke looks there; it is cleared under that bell's mu
	ch    chan struct{}
	ready struct {
		sync.Mutex
		Ready
	}
	atPoller func(fd uintptr) bool // the method, made once
	first    bool                  // it has not looked at the FIFO since it leads
	timer    *time.Timer
}

// NewSleeper returns one that is not poked.
func NewSleeper() *Sleeper {
	s := &Sleeper{ch: make(chan struct{}, 1)}
	s.atPoller = s.lookAtFIFO
	return s
}

// Poke ends the current or the next Park, and all after it until ClearPoke.
func (s *Sleeper) Poke() {
	s.poked.Swap(true)
	if b := s.in.Load(); b != nil {
		b.again(s)
	}
}

// ClearPoke makes ready for another sleep. What the caller looks at afterwards is not older than a
// Poke that this undoes.
func (s *Sleeper) ClearPoke() { s.poked.Swap(false) }

// Armed reports that s is registered on the line and has not been rung.
func (s *Sleeper) Armed(l *Line) bool {
	b := s.bell
	if b == nil || b != l.bell || s.line.word != l.word {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return s.listed
}

// Arm registers s on a line, whose event's bit the caller then sets. It is not ok if that cannot be
// had: the caller sleeps otherwise. s must not be registered.
func (s *Sleeper) Arm(l *Line) (ok bool) {
	b := l.bell
	b.mu.Lock()
	if b.closed || !b.own.open(b) {
		b.mu.Unlock()
		return false
	}
	s.bell, s.line = b, l
	hookArm(s)
	p := b.placeOf(l)
	s.place = p
	b.mu.Unlock()
	defer func() { // also if the memory is not there any more
		b.mu.Lock()
		defer b.mu.Unlock()
		p.unsure--
		if ok {
			p.push(s)
		} else {
			b.armed--
		}
		b.settle(p)
	}()
	return l.add(b.home.Self(), p.ticket)
}

// Leave ends the registration, if there is one. passOn reports that a waker has counted on s, which
// has not slept since: the wake-up may be for another one.
func (s *Sleeper) Leave() (passOn bool) {
	b := s.bell
	if b == nil {
		return false
	}
	b.mu.Lock()
	if !s.listed {
		passOn, s.rung = s.rung, false
		b.mu.Unlock()
		return passOn
	}
	p := s.place
	p.remove(s)
	s.rung = false // without a ring, if at all: see replace
	p.unsure++
	b.mu.Unlock()
	passOn = true
	defer func() { // also if the memory is not there any more
		if v := recover(); v != nil && !mem.IsFault(v) {
			panic(v)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		p.unsure--
		b.armed--
		if passOn {
			p.balance++
		}
		b.settle(p)
	}()
	passOn = !s.line.drop(b.home.Self(), p.ticket)
	return passOn
}

// Forget lets go of what s refers to. It must not be registered.
func (s *Sleeper) Forget() { s.bell, s.line, s.place = nil, nil, nil }

// again lets s look again if it is parked here. It may come late, when s is in other hands or in another bell: so
// nothing of s is looked at before it is known that s cannot leave.
func (b *Bell) again(s *Sleeper) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.in.Load() == b {
		b.resume(s)
	}
}

// resume ends the sleep of s, if it sleeps. b.mu is held.
func (b *Bell) resume(s *Sleeper) {
	if !s.parked || s.wake {
		return
	}
	s.wake = true
	switch {
	case hooked:
		hookResume(s)
	case s.leads && b.dispatches: // it is s that does
	case s.leads:
		b.own.nudge()
	default:
		s.ch <- struct{}{} // has room: once a sleep
	}
}

// ring tells the owner of an entry that k of its sleepers are to look. It reports whether that can
// arrive.
func (b *Bell) ring(token, ticket uint32, k int) bool {
	if hooked {
		if arrives, ok := hookRing(token, ticket, k); ok {
			return arrives
		}
	}
	if token == b.home.Self() {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.rings(ticket, k)
	}
	return b.peers.ring(b, token, message(ticket, k))
}

// A message is what is written into a FIFO: ticket, and how many. The ticket 0 only lets the reader
// look.
func message(ticket uint32, k int) uint64 { return uint64(ticket) | uint64(k)<<32 }

// Dispatch wakes those for whom messages are. It reports whether some were for nobody, or may be
// missing: then everybody has to look.
func (b *Bell) Dispatch(messages []uint64) (lost bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dispatches = true
	defer func() { b.dispatches = false }()
	for _, m := range messages {
		ticket, k := uint32(m), int(uint32(m>>32))
		if ticket != 0 && (k > countMost || !b.rings(ticket, k)) {
			lost = true
		}
	}
	return lost
}
