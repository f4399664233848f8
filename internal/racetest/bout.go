package racetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/shiplap-ipc/shiplap"
)

// bout is one run of one scene: fresh processes, a fresh domain, a fresh ledger.
type bout struct {
	*Run
	ctx     context.Context
	scene   string
	seed    uint64
	rng     *rand.Rand
	weather Weather
	dir     string // everything is below it
	base    string // of the domain
	path    string // of the ledger
	ledger  *ledger
	d       *shiplap.Domain // the supervisor's membership

	said map[string]int // violations, by kind; the run's lock guards it

	mu    sync.Mutex
	hires []*hire

	done chan struct{} // ends the patrol
	wg   sync.WaitGroup
}

func (r *Run) bout(ctx context.Context, s Scene, seed uint64) (err error) {
	b := &bout{Run: r, ctx: ctx, scene: s.Name, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)),
		done: make(chan struct{}),
		said: map[string]int{}}
	b.weather = randomWeather(b.rng, s.Removable)
	if r.Weather != nil {
		wait := b.weather.Wait
		b.weather = *r.Weather
		b.weather.Wait = wait
	}
	b.weather = b.weather.without(r.Without)
	if b.dir, err = os.MkdirTemp(r.Dir, "shiplap-race-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	b.base, b.path = filepath.Join(b.dir, "base"), filepath.Join(b.dir, "ledger")
	if err := os.Mkdir(b.base, 0o700); err != nil {
		return err
	}
	if err := createLedger(b.path); err != nil {
		return err
	}
	if b.ledger, err = openLedger(b.path); err != nil {
		return err
	}
	defer b.ledger.close()
	b.wg.Go(b.patrol)
	defer b.wg.Wait()
	defer close(b.done)
	defer b.endAll()
	r.begin(b)
	return errors.Join(s.run(b), b.leave())
}

// endAll kills what still runs: after a violation, or when the run was cancelled.
func (b *bout) endAll() {
	b.mu.Lock()
	all := b.hires
	b.mu.Unlock()
	for _, h := range all {
		if h.living() {
			h.kill()
		}
		h.wait()
		_ = h.stdin.Close()
	}
}

// join makes the supervisor a member.
func (b *bout) join() (err error) {
	b.d, err = shiplap.Join("race", &shiplap.Options{Dir: b.base})
	return err
}

func (b *bout) leave() error {
	if b.d == nil {
		return nil
	}
	d := b.d
	b.d = nil
	return d.Close()
}

// within makes a call of the supervisor itself, which has to return within the bound.
func (b *bout) within(what string, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(b.ctx, b.Bound)
	defer cancel()
	err := f(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		b.violationf("hang", "the supervisor's %s was not over after %v", what, b.Bound)
	}
	return err
}

// hears waits for what a worker has to say within so many bounds. It is false if the worker has ended, or if
// that is overdue.
func (b *bout) hears(h *hire, bounds int) (line string, ok bool) {
	for begin := time.Now(); ; {
		line, ok = h.says(b.Bound)
		if ok || !h.living() || time.Since(begin) >= time.Duration(bounds)*b.bound() {
			return line, ok
		}
	}
}

// crowd is how many threads for each processor make a machine on which everybody waits for its turn.
const crowd = 4

// bound is what no call may exceed now. Where many threads share a processor, a process may not
// run for seconds.
func (b *bout) bound() time.Duration {
	if runnable() > crowd*runtime.NumCPU() {
		return 6 * b.Bound
	}
	return b.Bound
}

// lateBy says for how long the operation of a slot has been late.
type lateBy struct {
	op    op
	since uint64
	turns uint64
}

// patrol looks for calls that do not return. One that is late is looked at again a second later;
// time in which the patrol itself did not run does not count, as nobody else may have run then.
func (b *bout) patrol() {
	const tick = 100 * time.Millisecond
	type place struct{ hire, exec, hand int }
	late := map[place]lateBy{}
	firstSeen := map[place]time.Time{}
	last := time.Now()
	for {
		select {
		case <-b.done:
			return
		case <-time.After(tick):
		}
		lag := time.Since(last) - tick
		last = time.Now()
		if lag > 500*time.Millisecond {
			clear(firstSeen)
			b.count("patrol lags", 1)
			continue
		}
		b.mu.Lock()
		all := b.hires
		b.mu.Unlock()
		bound := b.bound()
		for _, h := range all {
			h.mu.Lock()
			skip := h.over || h.quit || h.stopped
			h.mu.Unlock()
			exec := int(b.ledger.row(h.n).execs.Load())
			if skip || b.ledger.row(h.n).condemned.Load() != 0 || exec >= maxExecs {
				continue
			}
			for i := range maxHands {
				s := b.ledger.slot(h.n, exec, i)
				l := lateBy{op(s.op.Load()), s.since.Load(), s.turns.Load()}
				p := place{h.n, exec, i}
				if l.op == opNone || l.since == never || l.since+uint64(bound) > now() {
					delete(late, p)
					delete(firstSeen, p)
					continue
				}
				if was, ok := firstSeen[p]; !ok || late[p] != l {
					late[p], firstSeen[p] = l, time.Now()
				} else if time.Since(was) > time.Second {
					text := fmt.Sprintf("process %d.%d goroutine %d: %v has not returned %v after it should",
						h.n, exec, i, l.op,
						time.Duration(now()-l.since).Round(time.Millisecond))
					b.violation("hang", text, h.dump())
					break
				}
			}
		}
	}
}
