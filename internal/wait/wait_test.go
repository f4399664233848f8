package wait

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

var bg = context.Background()

func eventually(t *testing.T, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

func sleeping(n int) func() bool {
	return func() bool { d, m, _ := futex.Sleepers(); return d+m == n }
}

// changed waits for a word to change, which is told by futex wake-ups.
type changed struct {
	w         *mem.U32
	looks     int
	abandoned int
}

func (u *changed) Look(c *Call) (bool, error) {
	u.looks++
	c.On(u.w, 0)
	return u.w.Load() != 0, nil
}
func (u *changed) Stale() bool { return u.w.Load() != 0 }
func (u *changed) Abandon()    { u.abandoned++ }

// sleepLong sleeps until it is told otherwise.
func sleepLong(s *Session, ctx context.Context, w *mem.U32) error {
	return s.Wait(ctx, &changed{w: w})
}

func TestInterrupt(t *testing.T) {
	w := mem.NewHeap(mem.Part{Len: 8}).Span(0).U32(0)
	var s Session
	why := errors.New("why")
	const n = 40
	done := make(chan error, n)
	for range n {
		go func() { done <- sleepLong(&s, bg, w) }()
	}
	eventually(t, sleeping(n))
	s.Interrupt(why)
	s.Interrupt(errors.New("too late"))
	for range n {
		if err := <-done; err != why {
			t.Errorf("%v", err)
		}
	}
	if err := sleepLong(&s, bg, w); err != why {
		t.Errorf("a later one: %v", err)
	}
	if s.first != nil {
		t.Error("a call is still registered")
	}
}

// Check ends a wait at the next look, without anybody telling.
func TestCheck(t *testing.T) {
	w := mem.NewHeap(mem.Part{Len: 8}).Span(0).U32(0)
	why := errors.New("why")
	var gone atomic.Bool
	s := Session{Check: func() error {
		if gone.Load() {
			return why
		}
		return nil
	}}
	done := make(chan error, 1)
	go func() { done <- sleepLong(&s, bg, w) }()
	eventually(t, sleeping(1))
	gone.Store(true)
	if err := <-done; err != why {
		t.Errorf("%v", err)
	}
}

func TestCancel(t *testing.T) {
	w := mem.NewHeap(mem.Part{Len: 8}).Span(0).U32(0)
	var s Session
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(bg)
	done := make(chan error, 2)
	go func() { done <- sleepLong(&s, ctx, w) }()
	go func() { done <- sleepLong(&s, bg, w) }() // of the same session, not cancelled
	eventually(t, sleeping(2))
	cancel(why)
	if err := <-done; err != why {
		t.Errorf("%v", err)
	}
	eventually(t, sleeping(1))
	w.Store(1)
	Wake(w, futex.All)
	if err := <-done; err != nil {
		t.Errorf("%v", err)
	}
}

// A call's waiter goes back to the pool; a late cancellation must not hurt its next user for good.
func TestLateCancellation(t *testing.T) {
	w := mem.NewHeap(mem.Part{Len: 8}).Span(0).U32(0)
	var s Session
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 300 {
				ctx, cancel := context.WithCancel(bg)
				go cancel()
				if err := sleepLong(&s, ctx, w); err != context.Canceled {
					t.Errorf("cancelled: %v", err)
				}
				cancel()
				if err := s.Wait(bg, &brief{w: w}); err != nil {
					t.Errorf("the next call: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// brief is over after one short sleep.
type brief struct {
	w     *mem.U32
	slept bool
}

func (u *brief) Look(c *Call) (bool, error) {
	over := u.slept
	u.slept = true
	c.On(u.w, 0)
	c.Bound(time.Millisecond)
	return over, nil
}
func (u *brief) Stale() bool { return false }
func (u *brief) Abandon()    {}

// Items handed over by Event between goroutines: whoever sleeps is woken.
func TestEvent(t *testing.T) {
	sp := mem.NewHeap(mem.Part{Len: 256}).Span(0)
	word, count := sp.U32(0), sp.U32(128)
	e := NewEvent(word)
	const producers, consumers, each = 2, 3, 1500
	var left atomic.Int32
	left.Store(producers * each)
	var wg sync.WaitGroup
	for range producers {
		wg.Go(func() {
			for i := range each {
				count.Add(1)
				e.Wake(1)
				if i%100 == 0 {
					time.Sleep(time.Microsecond) // so that somebody falls asleep
				}
			}
		})
	}
	for range consumers {
		wg.Go(func() {
			var s Session
			for left.Load() > 0 {
				if c := count.Load(); c > 0 {
					if count.CAS(c, c-1) && left.Add(-1) == 0 {
						e.WakeAll()
					}
					continue
				}
				if err := s.Wait(bg, &item{e, count, &left}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// item is what a consumer of TestEvent waits for.
type item struct {
	e     Event
	count *mem.U32
	left  *atomic.Int32
}

func (u *item) Look(c *Call) (bool, error) {
	c.Arm(u.e)
	return u.Stale(), nil
}
func (u *item) Stale() bool { return u.count.Load() > 0 || u.left.Load() <= 0 }
func (u *item) Abandon()    {}

// The word after each step of the protocol (D17).
func TestEventWord(t *testing.T) {
	word := mem.NewHeap(mem.Part{Len: 8}).Span(0).U32(0)
	e := NewEvent(word)
	e.Wake(1)
	if word.Load() != 0 {
		t.Error("waking nobody changed the word")
	}
	const armed = onFutex | fences | allFence
	if v := e.Arm(); v != armed || word.Load() != armed || e.Arm() != armed {
		t.Errorf("armed: %d, %d", v, word.Load())
	}
	e.Wake(1)
	if word.Load() != generation|fences|allFence {
		t.Errorf("nobody slept: %d", word.Load())
	}
	if e.Arm() != generation|armed {
		t.Error("the next generation")
	}
	word.Store(1<<32 - 1 - onBell)
	e.WakeAll()
	if word.Load() != fences|allFence || e.Arm() != armed {
		t.Error("the generation wraps around")
	}
	e.Wake(1)
	for range QuietMost {
		e.Wake(1)
	}
	if word.Load() != generation || e.Arm() != generation|armed {
		t.Errorf("after a time without sleepers: %d", word.Load())
	}
}

func TestSpinner(t *testing.T) {
	polls := func(s *Spinner) (n int) {
		p := s.start()
		for p.next() {
			n++
		}
		p.stop()
		return n
	}
	var sleepy, spin, s Spinner
	sleepy.SetMode(Sleep)
	spin.SetMode(Spin)
	s.SetMode(Adaptive)
	if n := polls(&sleepy); n != 0 {
		t.Errorf("mode sleep polls %d times", n)
	}
	l := spinLimits()
	if l.most == 0 {
		if n := polls(&s); n != 0 {
			t.Errorf("one CPU, but %d polls", n)
		}
		t.Skip("one CPU: nobody spins")
	}
	first := polls(&s)
	if n := polls(&spin); n <= first || n > int(l.long)+eager {
		t.Errorf("mode spin polls %d times, adaptive %d, want at most %d", n, first, l.long+eager)
	}
	late := spin.start() // as after having been off the processor for long
	for late.end = 1; late.next(); {
	}
	if late.i > clockEvery {
		t.Errorf("mode spin goes on for %d polls after its time", late.i)
	}
	// Failures halve it, down to nothing but rare tries.
	for range 40 {
		polls(&s)
	}
	tries := 0
	for range 4 * trySeldom {
		if polls(&s) > 0 {
			tries++
		}
	}
	if tries == 0 || tries > 20 {
		t.Errorf("%d tries in %d waits that never paid", tries, 4*trySeldom)
	}
	if p := s.period.Load(); p != trySeldom {
		t.Errorf("a try every %d waits, want %d", p, trySeldom)
	}
	// One that pays brings it back, to no more than the most.
	for hit := false; !hit; {
		p := s.start()
		for more := true; more && !hit; more = p.next() {
			if hit = p.i > eager+5; hit {
				p.hit()
			}
		}
		p.stop()
	}
	if b := s.budget.Load(); b < l.least || b > l.most {
		t.Errorf("budget %d after a hit, want %d to %d", b, l.least, l.most)
	}
	if s.period.Load() != tryFirst {
		t.Error("still rarely tried")
	}
	for i := range 100 { // long hits: never above the most
		p := s.start()
		p.i = eager + int32(i)*l.most
		p.hit()
		if b := s.budget.Load(); b > l.most {
			t.Fatalf("budget %d above %d", b, l.most)
		}
	}
}

func TestModes(t *testing.T) {
	for m, want := range map[Mode]string{Adaptive: "adaptive", Spin: "spin", Sleep: "sleep"} {
		if m.String() != want {
			t.Errorf("%d is %q", m, m)
		}
	}
}

// While one polls, others of the process run, and no more than so many poll.
func TestSpinnerAmongOthers(t *testing.T) {
	l := spinLimits()
	if l.most == 0 {
		t.Skip("one CPU: nobody spins")
	}
	var s Spinner
	s.SetMode(Adaptive)
	var all []*poll
	for range pollers() {
		p := s.start()
		for p.i <= eager {
			if !p.next() {
				t.Fatal("it does not poll")
			}
		}
		all = append(all, &p)
	}
	p, n, budget := s.start(), 0, s.budget.Load()
	for p.next() {
		n++
	}
	p.stop()
	if n != eager {
		t.Errorf("one too many polls %d times, want %d", n, eager)
	}
	if s.budget.Load() != budget {
		t.Error("that counts as in vain")
	}
	for _, p := range all {
		p.stop()
	}
	if polling.Load() != 0 {
		t.Errorf("%d are left", polling.Load())
	}

	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var r flag
	go r.Store(true)
	if !s.Poll(&r) {
		t.Error("the one that is waited for did not get its turn")
	}
}

type flag struct{ atomic.Bool }

func (f *flag) Ready() bool { return f.Load() }
