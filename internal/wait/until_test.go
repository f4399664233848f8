package wait

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// town is who lives, and who wants to be told.
type town struct {
	mu     sync.Mutex
	dead   map[uint32]bool
	pokes  map[uint32][]func()
	watch  func(token uint32) // runs in each Watch, before it is registered
	active int                // watches that were not stopped
	deaf   bool               // nobody is told anything
}

func (w *town) Self() uint32 { return 1 }

func (w *town) Dead(token uint32) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead[token]
}

func (w *town) Watch(token uint32, poke func()) func() {
	if w.watch != nil {
		w.watch(token)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active++
	if !w.deaf {
		if w.pokes == nil {
			w.pokes = map[uint32][]func(){}
		}
		w.pokes[token] = append(w.pokes[token], poke)
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.active--
	}
}

func (w *town) kill(token uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead == nil {
		w.dead = map[uint32]bool{}
	}
	w.dead[token] = true
	for _, poke := range w.pokes[token] {
		poke()
	}
}

// death waits for one of several processes to die. look, if set, runs at the end of each Look.
type death struct {
	town   *town
	tokens []uint32
	word   *mem.U32
	look   func(n int)
	looks  atomic.Int32
}

func (d *death) Look(c *Call) (over bool, err error) {
	c.On(d.word, 0)
	for _, t := range d.tokens {
		c.Depend(d.town, t)
	}
	for _, t := range d.tokens {
		over = over || d.town.Dead(t)
	}
	if n := int(d.looks.Add(1)); d.look != nil {
		d.look(n)
	}
	return over, nil
}
func (d *death) Stale() bool { return false }
func (d *death) Abandon()    {}

func newDeath(w *town, tokens ...uint32) *death {
	return &death{town: w, tokens: tokens, word: mem.NewHeap(mem.Part{Len: 8}).Span(0).U32(0)}
}

func over(t *testing.T, d *death) {
	t.Helper()
	done := make(chan error, 1)
	var s Session
	go func() { done <- s.Wait(bg, d) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("asleep beside a dead process after %d looks", d.looks.Load())
	}
	d.town.mu.Lock()
	defer d.town.mu.Unlock()
	if d.town.active != 0 {
		t.Errorf("%d watches are left", d.town.active)
	}
}

// A death at any moment ends the wait: before it is watched, while the watch begins, between a look and the sleep, in
// the sleep; also when its notice is lost.
func TestDeathAnywhere(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		for name, prepare := range map[string]func(w *town, d *death){
			"before": func(w *town, _ *death) { w.kill(7) },
			"while the watch begins": func(w *town, _ *death) {
				w.watch = func(token uint32) { w.kill(token) }
			},
			"after the first look":  func(w *town, d *death) { d.look = func(n int) { killAt(w, n, 1) } },
			"after the second look": func(w *town, d *death) { d.look = func(n int) { killAt(w, n, 2) } },
			"after the third look":  func(w *town, d *death) { d.look = func(n int) { killAt(w, n, 3) } },
		} {
			t.Run(name, func(t *testing.T) {
				w := &town{deaf: deaf}
				d := newDeath(w, 7, 8)
				prepare(w, d)
				over(t, d)
			})
		}
	}
}

func killAt(w *town, n, at int) {
	if n == at {
		w.kill(7)
	}
}

// Those whose deaths matter change; those who do not matter any more are not watched.
func TestDependenciesChange(t *testing.T) {
	w := &town{}
	d := newDeath(w, 7)
	most := 0
	d.look = func(n int) {
		w.mu.Lock()
		most = max(most, w.active)
		w.mu.Unlock()
		if n < 60 {
			d.tokens = []uint32{uint32(7 + n), uint32(8 + n)}
			return
		}
		w.kill(d.tokens[0])
	}
	over(t, d)
	if most > 4 {
		t.Errorf("%d watches at a time for two processes", most)
	}
}

// A thousand holders at once are found again by their tokens.
func TestManyDependencies(t *testing.T) {
	w := &town{}
	d := newDeath(w)
	for i := range uint32(1000) {
		d.tokens = append(d.tokens, 10+i)
	}
	watched := 0
	w.watch = func(uint32) { watched++ }
	d.look = func(n int) {
		if n == 4 {
			d.tokens = d.tokens[500:]
		}
		if n == 8 {
			w.kill(1009)
		}
	}
	over(t, d)
	if watched != 1000 {
		t.Errorf("%d watches for 1000 processes", watched)
	}
}

// The steady state is four looks a second, with and without somebody to watch.
func TestQuiet(t *testing.T) {
	w := &town{}
	d := newDeath(w, 7, 8, 9)
	var s Session
	ctx, cancel := context.WithTimeout(bg, 2*time.Second)
	defer cancel()
	if err := s.Wait(ctx, d); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	// Two at the beginning, one at the end: a loaded machine makes it fewer, never more.
	if n := d.looks.Load(); n > 3+8+1 {
		t.Errorf("%d looks in two seconds", n)
	}
}

// A wait that slept and is interrupted passes its wake-up on; one that did not sleep has used up none.
func TestAbandon(t *testing.T) {
	u := &changed{w: mem.NewHeap(mem.Part{Len: 8}).Span(0).U32(0)}
	why := errors.New("why")
	var s Session
	done := make(chan error, 1)
	go func() { done <- s.Wait(bg, u) }()
	eventually(t, sleeping(1))
	s.Interrupt(why)
	if err := <-done; err != why || u.abandoned != 1 {
		t.Errorf("%v, abandoned %d times", err, u.abandoned)
	}
	if err := s.Wait(bg, u); err != why || u.abandoned != 1 {
		t.Errorf("the next: %v, abandoned %d times", err, u.abandoned)
	}
}
