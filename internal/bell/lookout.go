package bell

import (
	"runtime/debug"
	"time"
)

// The lookout makes good the wake-ups that get lost. A process that died, or was stopped, between
// taking a sleeper off an entry and ringing leaves that sleeper without a ring. One timer a bell,
// which runs while somebody sleeps, has these rules:
//
//	up to few sleepers     each is asked (Ready) in every round, and resumed for a full look after fullRounds
//	more, and the census   all are asked
//	changed
//	more, otherwise        few of them or a sixteenth are asked in turn, and resumed ever more rarely
//
// So a wake-up that a dead process swallowed costs one round, among many sleepers too; one that a
// stopped process holds back costs up to 16 rounds. Asking ten thousand sleepers in each round
// would cost more than all that they wait for.
const (
	round      = 250 * time.Millisecond
	few        = 64
	fullRounds = 16
)

type lookout struct {
	timer  *time.Timer
	runs   bool
	next   int // index into parked of the one to be asked next
	all    bool
	census uint64
	batch  []*Sleeper
}

// start has it run. b.mu is held, as everywhere here.
func (l *lookout) start(b *Bell) {
	if l.runs || hooked {
		return
	}
	l.runs = true
	if l.timer == nil {
		l.timer = time.AfterFunc(round, b.look)
		return
	}
	l.timer.Reset(round)
}

func (l *lookout) stop() {
	if l.timer != nil {
		l.timer.Stop()
	}
}

// everybody has all sleepers asked soon.
func (l *lookout) everybody(b *Bell) {
	if l.all = true; l.runs {
		l.timer.Reset(0)
	}
}

// rescuing is called, if set, when the lookout is the first to see that a sleeper has something to do: tests count.
var rescuing func()

// look is one round.
func (b *Bell) look() {
	b.replace()
	census := b.home.Census()
	b.mu.Lock()
	l := &b.lookout
	l.runs = false
	b.forget()
	if b.closed || len(b.parked) == 0 {
		b.mu.Unlock()
		return
	}
	if l.runs = true; census != l.census {
		l.census, l.all = census, true
	}
	n := len(b.parked)
	if n > few && !l.all {
		n = max(few, n/fullRounds)
	}
	l.all = false
	most := uint32(fullRounds * (1 + len(b.parked)/(4*few)))
	batch := l.batch[:0]
	for range n {
		l.next++
		if l.next >= len(b.parked) {
			l.next = 0
		}
		s := b.parked[l.next]
		if s.rounds += uint32(max(1, len(b.parked)/n)); s.rounds >= most {
			b.resume(s)
			continue
		}
		batch = append(batch, s)
	}
	l.batch = nil
	b.mu.Unlock()
	for _, s := range batch {
		if s.isReady() {
			if rescuing != nil {
				rescuing()
			}
			b.again(s)
		}
	}
	clear(batch)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch l.batch = batch[:0]; {
	case b.closed:
	case l.all: // since this round began: the timer may not have fired yet, and must not be put off
		l.timer.Reset(0)
	default:
		l.timer.Reset(round)
	}
}

// forget gives up rings that have been under way for longer than a round. b.mu is held.
func (b *Bell) forget() {
	if b.round++; b.round%2 == 0 {
		clear(b.retired)
	}
	for p := range b.owing {
		if b.round-p.owingSince >= 2 {
			p.balance = 0
			delete(b.owing, p)
		}
	}
}

// isReady asks. A panic means yes: the sleeper will look for itself and meet what Ready met.
func (s *Sleeper) isReady() (yes bool) {
	s.ready.Lock()
	defer s.ready.Unlock()
	if s.ready.Ready == nil {
		return false
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			yes = true
		}
	}()
	return s.ready.Ready.Ready()
}
