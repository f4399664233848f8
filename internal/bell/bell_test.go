package bell

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

// town is a domain as one of its processes sees it.
type town struct {
	self   uint32
	dead   uint32
	census atomic.Uint64
}

func (w *town) Self() uint32           { return w.self }
func (w *town) Dead(token uint32) bool { return token == w.dead }
func (w *town) Census() uint64         { return w.census.Load() }

// pair is two bells of one domain, as two processes have them.
func pair(t *testing.T) (a, b *Bell) {
	t.Helper()
	base := t.TempDir()
	open := func(token uint32) *Bell {
		d, err := segment.OpenDir(base, "t", true)
		if err != nil {
			t.Fatal(err)
		}
		bl := New(&town{self: token, dead: 1<<10 | 9}, d)
		t.Cleanup(func() {
			if err := bl.Close(); err != nil {
				t.Error(err)
			}
		})
		return bl
	}
	return open(1<<10 | 1), open(1<<10 | 2)
}

func memory() *mem.Span { return mem.NewHeap(mem.Part{Len: 4096}).Span(0) }

type level struct{ atomic.Bool }

func (l *level) Ready() bool { return l.Load() }

func eventually(t *testing.T, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

func (b *Bell) sleeping() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.parked)
}

// A ring of another process ends as many sleeps as it is for, in the order in which they began.
func TestRingWakesAsMany(t *testing.T) {
	a, b := pair(t)
	s := memory()
	const n = 6
	order := make(chan int, n)
	var wg sync.WaitGroup
	for i := range n {
		armed := make(chan struct{})
		wg.Go(func() {
			sl := NewSleeper()
			if !sl.Arm(LineAt(s, 0, a)) {
				t.Error("there is no place")
			}
			close(armed)
			sl.Park(0, &level{})
			order <- i
		})
		<-armed
	}
	eventually(t, func() bool { return a.sleeping() == n })
	ringer := LineAt(s, 0, b)
	for i, k := range []int{1, 2, 3, 1} {
		if got, want := ringer.Wake(k), []int{1, 2, 3, 0}[i]; got != want {
			t.Errorf("%d woken, want %d", got, want)
		}
		for range []int{1, 2, 3, 0}[i] {
			<-order
		}
		if k != 1 || i == 0 {
			eventually(t, func() bool { return a.sleeping() == n-[]int{1, 3, 6, 6}[i] })
		}
	}
	wg.Wait()
	if len(a.places) != 0 || len(a.tickets) != 0 || a.armed != 0 || s.U64(EntriesAt).Load() != 0 {
		t.Errorf("left are %d places, %d armed, entry %#x", len(a.places), a.armed, s.U64(EntriesAt).Load())
	}
}

// One that leaves after a waker has counted on it passes that on, and the ring that comes wakes
// nobody else.
func TestLeaveAfterTheWaker(t *testing.T) {
	a, b := pair(t)
	s := memory()
	l := LineAt(s, 0, a)
	first, second := NewSleeper(), NewSleeper()
	if !first.Arm(l) || !second.Arm(l) {
		t.Fatal("there is no place")
	}
	if n := LineAt(s, 0, b).Wake(2); n != 2 {
		t.Fatal(n)
	}
	if !first.Leave() {
		t.Error("it does not know that a waker has counted on it")
	}
	if !first.Arm(l) { // is not what the ring under way is for
		t.Fatal("there is no place")
	}
	done := make(chan struct{})
	go func() {
		second.Park(0, &level{})
		close(done)
	}()
	<-done
	if first.Leave() || l.has(a.home.Self(), 1) || s.U64(EntriesAt).Load() != 0 {
		t.Error("the third registration was rung, or is still there")
	}
}

// Entries of the dead are taken over; where all belong to living processes there is no room.
func TestEntriesAreFull(t *testing.T) {
	a, _ := pair(t)
	s := memory()
	for i := range Entries {
		s.U64(EntriesAt + 8*i).Store(uint64(2<<10|i) | 7<<ticketShift | oneSleeper)
	}
	sl := NewSleeper()
	if sl.Arm(LineAt(s, 0, a)) {
		t.Fatal("there was room")
	}
	s.U64(EntriesAt + 8*5).Store(1<<10 | 9 | 7<<ticketShift | 3*oneSleeper)
	if !sl.Arm(LineAt(s, 0, a)) {
		t.Fatal("the entry of the dead was not taken over")
	}
	if sl.Leave() {
		t.Error("nobody has rung")
	}
}

// A ring for a dead process does not go to the next owner of its slot, which has a FIFO of that name: the wake-up is for
// another sleeper.
func TestRingForTheFormerOwner(t *testing.T) {
	_, b := pair(t)
	dir, err := b.dir.Dup()
	if err != nil {
		t.Fatal(err)
	}
	next := New(&town{self: 2<<10 | 9}, dir)
	defer next.Close()
	s := memory()
	sl := NewSleeper()
	if !sl.Arm(LineAt(s, 0, next)) {
		t.Fatal("there is no place")
	}
	mine := s.U64(EntriesAt).Load()
	s.U64(EntriesAt).Store(1<<10 | 9 | 7<<ticketShift | oneSleeper)
	if n := LineAt(s, 0, b).Wake(1); n != 0 {
		t.Errorf("%d woken, of which none is there", n)
	}
	s.U64(EntriesAt).Store(mine)
	if n := LineAt(s, 0, b).Wake(1); n != 1 {
		t.Errorf("%d woken", n)
	}
	sl.Park(0, &level{})
	if sl.Leave() {
		t.Error("the ring was used")
	}
}

// What comes by the FIFO of a hostile process causes looks, no more; and a FIFO that was full has
// everybody look.
func TestHostileMessages(t *testing.T) {
	a, b := pair(t)
	s := memory()
	var l level
	sl := NewSleeper()
	if !sl.Arm(LineAt(s, 0, a)) {
		t.Fatal("there is no place")
	}
	done := make(chan struct{})
	go func() {
		sl.Park(0, &l)
		close(done)
	}()
	eventually(t, func() bool { return a.sleeping() == 1 })
	fd, err := b.dir.OpenFIFO(FileName(1))
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(20000) {
		if i == 10000 {
			l.Store(true)
		}
		futex.Tell(fd, i*0x9e3779b97f4a7c15|1<<63)
	}
	<-done
	sl.Leave()
	if s.U64(EntriesAt).Load() != 0 {
		t.Errorf("entry %#x", s.U64(EntriesAt).Load())
	}
	syscall.Close(fd)
}

// A poke between two sleeps is not lost, and ends the sleep of a leader as well as that of others.
func TestPoke(t *testing.T) {
	a, _ := pair(t)
	l := LineAt(memory(), 0, a)
	const n = 3
	var all [n]*Sleeper
	done := make(chan int, n)
	for i := range all {
		all[i] = NewSleeper()
		go func() {
			if !all[i].Arm(l) {
				t.Error("there is no place")
			}
			all[i].Park(0, &level{})
			if all[i].Leave() {
				t.Error("nobody has rung")
			}
			done <- i
		}()
		eventually(t, func() bool { return a.sleeping() == i+1 })
	}
	for i := range all {
		all[i].Poke()
		if got := <-done; got != i {
			t.Errorf("%d was woken, not %d", got, i)
		}
	}
	all[0].Arm(l)
	all[0].Park(0, &level{}) // it is still poked
	all[0].Leave()
	all[0].ClearPoke()
}

// A wake-up whose ring never comes is made good by the lookout.
func TestLookout(t *testing.T) {
	a, _ := pair(t)
	s := memory()
	var l level
	sl := NewSleeper()
	if !sl.Arm(LineAt(s, 0, a)) {
		t.Fatal("there is no place")
	}
	s.U64(EntriesAt).Store(0) // a waker took it, and died
	l.Store(true)
	sl.Park(0, &l)
	if !sl.Leave() {
		t.Error("a waker has counted on it")
	}
}

// A poke that comes late meets the Sleeper where it sleeps next, in another domain or nowhere: it ends that sleep, if any,
// and touches nothing else of it.
func TestLatePoke(t *testing.T) {
	a, b := pair(t)
	lines := []*Line{LineAt(memory(), 0, a), LineAt(memory(), 0, b)}
	sl := NewSleeper()
	var over atomic.Bool
	var pokers sync.WaitGroup
	for range 2 {
		pokers.Go(func() {
			for !over.Load() {
				sl.Poke()
			}
		})
	}
	for i := range 300 {
		if !sl.Arm(lines[i%2]) {
			t.Fatal("there is no place")
		}
		sl.ClearPoke()
		sl.Park(time.Hour, &level{}) // only a poke ends it
		sl.Leave()
		sl.Forget()
	}
	over.Store(true)
	pokers.Wait()
}
