//go:build linux && (amd64 || arm64)

package killtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Explore performs the trials of a scenario and returns what they covered and found. Run reports that to a test;
// Explore is for tests that expect violations. The error is about the scenario itself: it cannot be performed.
func Explore(s Scenario, opt Options) (Result, error) {
	if err := s.validate(opt.Interrupt); err != nil {
		return Result{}, err
	}
	im, err := loadImage()
	if err != nil {
		return Result{}, fmt.Errorf("killtest: %w", err)
	}
	opt = opt.withDefaults(&s)
	base, err := os.MkdirTemp(opt.Dir, "shiplap-killtest-")
	if err != nil {
		return Result{}, fmt.Errorf("killtest: %w", err)
	}
	defer os.RemoveAll(base)
	e := &explorer{s: &s, opt: opt, im: im, base: base, stall: make(chan string, 1)}
	e.res = Result{Scenario: s.Name, Covers: s.Covers, Stride: 1, EffectStride: 1, Workers: opt.Workers}
	start := time.Now()
	if opt.Interrupt {
		e.res.Interrupted = &Interrupted{}
		err = e.interruptAnywhere()
	} else {
		err = e.run()
	}
	e.res.Elapsed = time.Since(start)
	if n := e.res.Trials(); n > 0 {
		e.res.PerTrial = e.busy / time.Duration(n)
	}
	if err != nil {
		err = fmt.Errorf("killtest: %s: %w", s.Name, err)
	}
	return e.res, err
}

type explorer struct {
	s     *Scenario
	opt   Options
	im    *image
	base  string
	stall chan string

	mu   sync.Mutex
	res  Result
	busy time.Duration // of all workers, in trials
	lost int           // points in a row that no attempt got to
}

func (o Options) withDefaults(s *Scenario) Options {
	if o.Interrupt {
		o.Kill, o.Pause, o.Recover = false, false, false
	} else if !o.Kill && !o.Pause && !o.Recover {
		o.Kill, o.Pause, o.Recover = true, true, true
	}
	o.Pause = o.Pause && s.While != nil
	o.Recover = o.Recover && s.Recover != nil
	if o.Budget == 0 {
		o.Budget = 20 * time.Second
	}
	if o.Workers <= 0 {
		o.Workers = runtime.NumCPU()
	}
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	if o.sample = 16; o.quick && coveragePath() == "" {
		o.sample = 6 // somebody waits, and nothing is kept
	}
	if o.Dir == "" {
		o.Dir = os.TempDir()
		if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
			o.Dir = "/dev/shm"
		}
	}
	return o
}

func (e *explorer) run() error {
	first, err := e.recordFirst()
	if err != nil {
		return err
	}
	e.res.Instructions, e.res.Syscalls, e.res.Effects = first.steps(), first.syscalls, len(first.effects)

	left := 0 // modes
	for _, on := range []bool{e.opt.Kill, e.opt.Pause, e.opt.Recover} {
		if on {
			left++
		}
	}
	budget, points, others := e.opt.Budget, []point(nil), []point(nil)
	for _, m := range []Mode{Kill, Pause, Recover} {
		switch {
		case m == Kill && !e.opt.Kill || m == Pause && !e.opt.Pause || m == Recover && !e.opt.Recover:
			continue
		case m == Recover:
			points, others, err = e.recoverPoints(first)
			if err != nil {
				return err
			}
		default:
			some, rest := essential(first.steps(), first.effects)
			points, others = at(point{mode: m, first: first}, some), at(point{mode: m, first: first}, rest)
		}
		start := time.Now()
		if err := e.cover(points, others, budget/time.Duration(left)); err != nil {
			return err
		}
		budget = max(0, budget-time.Since(start))
		left--
	}
	return nil
}

// at makes points of steps: of the recoverer in Recover trials, else of the victim.
func at(p point, steps []int) (points []point) {
	for _, k := range steps {
		if p.mode == Recover {
			p.k2 = k
		} else {
			p.k = k
		}
		points = append(points, p)
	}
	return points
}

// recordFirst records until two passes in a row went the same way (in a quick run once), and again if others that are
// not stepped seem to go another one: no trial finds its step by the recording of an unusual one.
func (e *explorer) recordFirst() (tr *trace, err error) {
	hot, most := map[pageKey]bool{}, -1
	err2 := e.each(1, 1, func(w *worker, _ int) {
		for range recordings {
			var next *trace
			if e.opt.quick {
				next, err = w.recordOnce(hot)
			} else {
				next, err = w.recordTwice(hot)
			}
			if err != nil {
				return
			}
			usual, full := w.probe(next)
			if usual > most {
				tr, most = next, usual
			}
			if full {
				return
			}
		}
	})
	return tr, errors.Join(err2, err)
}

const (
	recordings = 3
	passes     = 5 // the first of which learns the pages that matter
	probes     = 10
)

func (w *worker) recordTwice(hot map[pageKey]bool) (tr *trace, err error) {
	for pass, last := 1, (*trace)(nil); pass <= passes; pass++ {
		if tr, err = w.record(roleFirst, 0, nil, hot); err != nil || pass > 2 && slices.Equal(tr.at, last.at) {
			break
		}
		last = tr
	}
	return tr, err
}

func (w *worker) recordOnce(hot map[pageKey]bool) (*trace, error) {
	if err := w.learn(hot); err != nil {
		return nil, err
	}
	return w.record(roleFirst, 0, nil, hot)
}

// probe lets victims run to some steps, and reports how many were there where the recording was, and whether all were.
func (w *worker) probe(tr *trace) (usual int, all bool) {
	if !hasBreakpoints || w.opt.NoBreakpoints {
		return 0, true // all will be stepped, as that one was
	}
	for i := range probes {
		t := &Trial{Dir: w.dir, Mode: Kill}
		state, err := w.setup(t)
		if err != nil {
			return usual, true // trials will tell
		}
		v, same, err := w.stopAt(roleFirst, t, tr, tr.steps()*(i+1)/probes)
		if err == nil {
			v.kill()
		}
		w.teardown(state)
		if err != nil && !errors.Is(err, errMissed) {
			return usual, true
		}
		if err == nil && same {
			usual++
		}
	}
	return usual, usual == probes
}

// recoverPoints kills the first victim wherever the scenario wants that, and records what the recoverer does then.
func (e *explorer) recoverPoints(first *trace) (points, others []point, err error) {
	var deaths []int
	if e.s.Recover.Steps != nil && !e.opt.full {
		deaths = e.s.Recover.Steps(first.steps())
	} else if deaths = deathsOf(first.effects); !e.opt.full {
		deaths = spread(deaths, 64)
	}
	e.res.States = len(deathsOf(first.effects))
	traces, errs := make([]*trace, len(deaths)), make([]error, len(deaths))
	hot := make([]map[pageKey]bool, e.opt.Workers)
	for i := range hot {
		hot[i] = map[pageKey]bool{}
	}
	err = e.each(e.opt.Workers, len(deaths), func(w *worker, i int) {
		traces[i], errs[i] = w.record(roleSecond, deaths[i], first, hot[w.n])
		if errors.Is(errs[i], errMissed) {
			traces[i], errs[i] = w.stepping().record(roleSecond, deaths[i], first, hot[w.n])
		}
	})
	if err != nil {
		return nil, nil, err
	}
	for i, tr := range traces {
		if errs[i] != nil {
			// That a survivor cannot recover is a finding about the object, not about the scenario.
			e.res.violate(Violation{Mode: Recover, Step: deaths[i], Err: errs[i]})
			continue
		}
		e.res.Deaths++
		some, rest := essential(tr.steps(), tr.effects)
		p := point{mode: Recover, k: deaths[i], first: first, second: tr}
		points, others = append(points, at(p, some)...), append(others, at(p, rest)...)
	}
	return points, others, nil
}

// cover tries all of points, in a quick run at least a sample of them, and of the others as many as fit into the budget.
func (e *explorer) cover(points, others []point, budget time.Duration) error {
	start, done := time.Now(), 0
	try := func(points []point) error {
		done += len(points)
		return e.try(points)
	}
	cost := func() time.Duration { return time.Since(start) / time.Duration(max(1, done)) }

	effectStride := 1
	if e.opt.quick {
		var sample []point
		sample, points = split(points, e.opt.sample)
		if err := try(sample); err != nil {
			return err
		}
		effectStride = strideFor(len(points), cost(), budget-time.Since(start))
	}
	if err := try(every(points, effectStride, e.opt.Phase)); err != nil {
		return err
	}
	stride := e.opt.Stride
	if e.opt.full {
		stride = 1
	}
	if stride == 0 {
		if done < 2*e.opt.sample { // too few to tell what a trial costs
			var sample []point
			sample, others = split(others, 2*e.opt.sample)
			if err := try(sample); err != nil {
				return err
			}
		}
		stride = strideFor(len(others), cost(), budget-time.Since(start))
	}
	e.res.Stride = max(e.res.Stride, stride)
	e.res.EffectStride = max(e.res.EffectStride, effectStride)
	return try(every(others, stride, e.opt.Phase))
}

func (e *explorer) try(points []point) error {
	return e.each(e.opt.Workers, len(points), func(w *worker, i int) {
		for attempt, late := 1, 0; ; attempt++ {
			start := time.Now()
			o := w.try(points[i])
			if o.violation != nil && onlyLate(o.violation.Err) && late < repeats {
				late++
				attempt--
				e.repeat(points[i].mode, time.Since(start))
				continue
			}
			again := o.drifted && o.violation == nil && points[i].mode != Interrupt && attempt < attempts
			if !e.note(points[i], o, time.Since(start), again) {
				return
			}
		}
	})
}

// attempts to get to the step that is wanted; only one when that failed at hopeless steps in a row.
const (
	attempts = 3
	hopeless = 20
)

// repeat counts a trial that is made again.
func (e *explorer) repeat(m Mode, spent time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.busy += spent
	e.res.add(m)
	e.res.Repeated++
}

// note counts a trial. It reports whether to make another one of the same point, if that would help.
func (e *explorer) note(p point, o outcome, spent time.Duration, again bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.busy += spent
	if p.mode == Interrupt {
		e.res.Interrupted.add(p.kind, p.grab != nil, o.moot)
	} else {
		e.res.add(p.mode)
	}
	if o.violation != nil {
		e.res.violate(*o.violation)
	}
	if again = again && e.lost < hopeless; again {
		return true
	}
	e.lost++
	if o.drifted {
		e.res.Drifted++
	} else {
		e.lost = 0
	}
	return false
}

// each calls f for 0 to n-1, by several workers.
func (e *explorer) each(workers, n int, f func(w *worker, i int)) error {
	var (
		mu   sync.Mutex
		next int
		wg   sync.WaitGroup
		errs = make([]error, workers)
	)
	take := func() (i int, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		i = next
		next++
		return i, i < n
	}
	for id := range min(workers, n) {
		wg.Go(func() {
			runtime.LockOSThread() // for ever: the thread is bound to a CPU, and ends with the goroutine
			w, err := newWorker(e.s, e.opt, e.im, e.base, id)
			if err != nil {
				errs[id] = err
				return
			}
			defer w.close()
			w.stalled = func(what string) {
				select {
				case e.stall <- what:
				default:
				}
			}
			for i, ok := take(); ok; i, ok = take() {
				f(w, i)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return errors.Join(errs...)
	case what := <-e.stall:
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return fmt.Errorf("%s has not returned for %v:\n%s", what, e.opt.Timeout, stacks)
	}
}

// permitted finds out whether we may trace a child.
var permitted = sync.OnceValue(func() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(selfExe, "-test.run=^$")
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	cmd.Process.Kill() //nolint:errcheck // it is stopped at exec, and our child
	cmd.Wait()         //nolint:errcheck // killed, as we wanted
	return nil
})
