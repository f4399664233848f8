//go:build linux && (amd64 || arm64)

package killtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// worker performs trials, one after the other, on an OS thread of its own: a tracee knows only the thread that
// started it.
type worker struct {
	s       *Scenario
	opt     Options
	im      *image
	n       int
	dir     string
	env     []string
	stdin   *os.File
	output  *os.File // of the victims
	home    unix.CPUSet
	pin     unix.CPUSet
	missed  int                // breakpoints
	stalled func(trial string) // a callback does not return
}

// point is where a trial ends.
type point struct {
	mode   Mode
	manner // in Interrupt trials
	k      int
	first  *trace // of the victim
	k2     int
	second *trace // of the recoverer, in Recover trials
}

// outcome of a trial.
type outcome struct {
	drifted   bool
	moot      bool // of an interruption: the operation never came to where it should have been interrupted
	violation *Violation
}

// newWorker also binds the calling thread, which must be locked, to one CPU.
func newWorker(s *Scenario, opt Options, im *image, base string, n int) (*worker, error) {
	w := &worker{n: n, s: s, opt: opt, im: im, dir: filepath.Join(base, fmt.Sprint("trial-", n))}
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return nil, err
	}
	if err := unix.SchedGetaffinity(0, &w.home); err != nil {
		return nil, err
	}
	for cpu, nth := 0, n%w.home.Count(); ; cpu++ {
		if w.home.IsSet(cpu) {
			if nth--; nth < 0 {
				w.pin.Set(cpu)
				break
			}
		}
	}
	if err := unix.SchedSetaffinity(0, &w.pin); err != nil {
		return nil, err
	}
	var err error
	if w.stdin, err = os.Open(os.DevNull); err != nil {
		return nil, err
	}
	w.output, err = os.OpenFile(w.dir+".output", os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, errors.Join(err, w.stdin.Close())
	}
	w.env = append(environ("GODEBUG", "GOGC", "GOMAXPROCS", "GOTRACEBACK"),
		"GODEBUG="+os.Getenv("GODEBUG")+",asyncpreemptoff=1",
		"GOGC=off", "GOTRACEBACK=single", envVictim+"="+s.Name, envDir+"="+w.dir)
	if opt.Interrupt {
		// One goroutine stands still in the middle, and another closes the handle.
		w.env = append(w.env, "GOMAXPROCS=2", envInterrupt+"=1")
	} else {
		w.env = append(w.env, "GOMAXPROCS=1")
	}
	return w, nil
}

// environ is ours without some variables: of a variable that is set twice, Go takes the first.
func environ(without ...string) []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool {
		key, _, _ := strings.Cut(kv, "=")
		return slices.Contains(without, key)
	})
}

func (w *worker) close() {
	w.stdin.Close()
	w.output.Close()
}

// start runs a victim up to the start of its operation.
func (w *worker) start(r role, t *Trial, more ...*os.File) (*tracee, error) {
	if err := w.output.Truncate(0); err != nil {
		return nil, err
	}
	attr := &os.ProcAttr{
		Env:   append(slices.Clip(w.env), envRole+"="+string(r), envArg+"="+t.Arg),
		Files: append([]*os.File{w.stdin, w.output, w.output}, more...),
	}
	v, err := start(w.im, attr, &w.home, &w.pin, w.opt.Timeout)
	var exit *exitError
	if errors.As(err, &exit) && exit.status.Exited() && exit.status.ExitStatus() == 0 {
		err = fmt.Errorf("%w: does TestMain call killtest.RunVictim?", err)
	}
	return v, w.explain(err)
}

// explain adds what the victim wrote.
func (w *worker) explain(err error) error {
	var exit *exitError
	if !errors.As(err, &exit) {
		return err
	}
	if words := lastWords(w.output); words != "" {
		return fmt.Errorf("%w; it wrote:\n%s", err, words)
	}
	return err
}

// record runs the operation once from start to end. The hot pages are learned in a pass and used by the next.
func (w *worker) record(r role, k1 int, first *trace, hot map[pageKey]bool) (*trace, error) {
	t := &Trial{Dir: w.dir, Mode: Kill, Step: k1}
	if r == roleSecond {
		t.Mode = Recover
	}
	state, err := w.setup(t)
	if err != nil {
		return nil, err
	}
	defer w.teardown(state)
	if r == roleSecond {
		v, _, err := w.stopAt(roleFirst, t, first, k1)
		if err != nil {
			return nil, err
		}
		v.kill()
	}
	v, err := w.start(r, t)
	if err != nil {
		return nil, err
	}
	defer v.kill()
	tr, err := record(v, w.s.maxSteps(), hot)
	if err == nil {
		err = v.finish()
	}
	if err != nil {
		return nil, fmt.Errorf("recording the %s: %w", r, w.explain(err))
	}
	return tr, nil
}

// learn runs the operation once, to learn the hot pages.
func (w *worker) learn(hot map[pageKey]bool) error {
	t := &Trial{Dir: w.dir, Mode: Kill}
	state, err := w.setup(t)
	if err != nil {
		return err
	}
	defer w.teardown(state)
	v, err := w.start(roleFirst, t)
	if err != nil {
		return err
	}
	defer v.kill()
	if err = learn(v, hot); err == nil {
		err = v.leave()
	}
	if err != nil {
		return fmt.Errorf("the %s: %w", roleFirst, w.explain(err))
	}
	return nil
}

// stopAt starts a victim and stops it at step k.
func (w *worker) stopAt(r role, t *Trial, tr *trace, k int, more ...*os.File) (v *tracee, same bool, err error) {
	v, err = w.start(r, t, more...)
	if err != nil {
		return nil, false, err
	}
	v.waits = tr.waits
	same, err = tr.position(v, k, hasBreakpoints && !w.opt.NoBreakpoints)
	if errors.Is(err, errAsleep) { // it waits earlier than it did when it was recorded
		return v, false, nil
	}
	if err != nil {
		v.kill()
		return nil, false, w.explain(err)
	}
	return v, same, nil
}

// try performs one trial.
func (w *worker) try(p point) outcome {
	o, err := w.trial(p)
	if errors.Is(err, errMissed) {
		o, err = w.stepping().trial(p)
	} else {
		w.missed = 0
	}
	if err != nil {
		o.violation = &Violation{Mode: p.mode, Step: p.k, RecoverStep: p.k2, Err: err}
	}
	return o
}

// stepping is the worker for when a breakpoint was missed: the operation took another way this time. If that
// happens every time, there are no breakpoints on this machine.
func (w *worker) stepping() *worker {
	if w.missed++; w.missed >= 20 {
		w.opt.NoBreakpoints = true
	}
	c := *w
	c.opt.NoBreakpoints = true
	return &c
}

// trial performs one trial. An error means that it did not take place.
func (w *worker) trial(p point) (o outcome, err error) {
	if p.mode == Interrupt {
		return w.interrupt(p)
	}
	t := &Trial{Dir: w.dir, Mode: p.mode}
	state, err := w.setup(t)
	if err != nil {
		return o, err
	}
	defer w.teardown(state)

	v, same, err := w.stopAt(roleFirst, t, p.first, p.k)
	if err != nil {
		return o, err
	}
	o.drifted = !same
	t.Step, t.Done = v.steps, v.done
	stack := v.stack()
	violated := func(what string, err error) {
		if err != nil && o.violation == nil {
			o.violation = &Violation{
				Mode: p.mode, Step: t.Step, Done: t.Done, RecoverStep: t.RecoverStep,
				Where: describe(stack), Err: fmt.Errorf("%s: %w", what, err),
			}
		}
	}
	switch p.mode {
	case Kill:
		v.kill()
	case Pause:
		violated("While", w.call("While", t, func() error { return w.s.While(t, state) }))
		err := w.explain(v.finish())
		v.kill()
		violated("the victim, going on", err)
		if check := w.s.After; check != nil {
			violated("After", w.call("After", t, func() error { return check(t, state) }))
			return o, nil
		}
	case Recover:
		v.kill()
		v, same, err = w.stopAt(roleSecond, t, p.second, p.k2)
		if err != nil {
			return o, err
		}
		o.drifted = o.drifted || !same
		t.RecoverStep, t.RecoverDone = v.steps, v.done
		stack = v.stack()
		v.kill()
	}
	violated("Check", w.call("Check", t, func() error { return w.s.Check(t, state) }))
	return o, nil
}

// setup makes the object, again if that was only late.
func (w *worker) setup(t *Trial) (state any, err error) {
	err = Repeatedly(func() error {
		state, err = w.setupOnce(t)
		return err
	})
	return state, err
}

func (w *worker) setupOnce(t *Trial) (state any, err error) {
	old, err := os.ReadDir(w.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range old {
		if err := os.RemoveAll(filepath.Join(w.dir, e.Name())); err != nil {
			return nil, err
		}
	}
	if w.s.Setup == nil {
		return nil, nil
	}
	err = w.call("Setup", t, func() error {
		state, err = w.s.Setup(t)
		return err
	})
	if err != nil {
		w.teardown(state) // what there is of it
		return nil, fmt.Errorf("set up: %w", err)
	}
	return state, nil
}

func (w *worker) teardown(state any) {
	if c, ok := state.(io.Closer); ok {
		w.call("Close", &Trial{}, c.Close) //nolint:errcheck // after a violation it may fail
	}
}

// call calls back. It is a violation when that panics or takes too long; in the latter case nothing can be done
// with this worker any more.
func (w *worker) call(what string, t *Trial, f func() error) (err error) {
	watchdog := time.AfterFunc(w.opt.Timeout, func() {
		w.stalled(fmt.Sprintf("%s of %s, %s trial at step %d", what, w.s.Name, t.Mode, t.Step))
	})
	defer watchdog.Stop()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return f()
}
