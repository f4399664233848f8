//go:build linux && (amd64 || arm64)

package killtest

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	soon    = 5 * time.Second       // an operation that was interrupted has ended; or Options.Timeout, if that is less
	briefly = 3 * time.Millisecond  // what an interruption takes if the thread that stands still does not hold it up
	deafFor = 10 * time.Millisecond // how long an operation that nothing ends is left waiting
)

// recordInterrupted runs the operation once, in a victim as those of Interrupt trials: at full speed to learn the hot pages, or step by step.
func (w *worker) recordInterrupted(hot map[pageKey]bool, fast bool) (tr *trace, err error) {
	t := &Trial{Dir: w.dir, Mode: Interrupt}
	state, err := w.setup(t)
	if err != nil {
		return nil, err
	}
	defer w.teardown(state)
	h, err := newHelm()
	if err != nil {
		return nil, err
	}
	defer h.close()
	v, err := w.start(roleFirst, t, h.ordersIn, h.answersOut)
	h.started()
	if err != nil {
		return nil, err
	}
	defer v.kill()
	if fast {
		err = learn(v, hot)
	} else {
		v.waits = w.s.Interrupt.Waits
		if tr, err = record(v, w.s.maxSteps(), hot); err == nil && tr.waits {
			return tr, nil
		}
		if err == nil && v.waits {
			err = errors.New("the operation should wait for ever, and it does not")
		}
		if err == nil {
			err = v.complete()
		}
	}
	if err == nil {
		err = v.passMarker()
	}
	if err == nil {
		err = unix.PtraceDetach(v.pid)
	}
	var a answer
	if err == nil {
		a, err = h.ask(orderResult, w.opt.Timeout)
	}
	if err = errors.Join(err, a.err()); err != nil {
		return nil, fmt.Errorf("recording: %w", w.explain(err))
	}
	return tr, nil
}

// disturbed is a trial of mode Interrupt under way.
type disturbed struct {
	w     *worker
	t     *Trial
	state any
	v     *tracee
	h     *helm
	m     manner
	letGo func() error
	owed  bool // an answer to the interruption
	lost  bool // the interruption made no sense
}

// interrupt performs a trial of mode Interrupt.
func (w *worker) interrupt(p point) (o outcome, err error) {
	t := &Trial{Dir: w.dir, Mode: Interrupt}
	state, err := w.setup(t)
	if err != nil {
		return o, err
	}
	defer w.teardown(state)
	h, err := newHelm()
	if err != nil {
		return o, err
	}
	defer h.close()
	v, same, err := w.stopAt(roleFirst, t, p.first, p.k, h.ordersIn, h.answersOut)
	h.started()
	if err != nil {
		return o, err
	}
	defer v.kill()
	t.Step = v.steps
	d := &disturbed{w: w, t: t, state: state, v: v, h: h, m: p.manner}
	var stack []uintptr
	if !v.asleep {
		stack = v.stack()
	}
	err = d.run(&stack)
	o.drifted, o.moot = !same, d.lost
	if err != nil {
		o.violation = &Violation{
			Mode: Interrupt, How: p.manner.String(), Step: t.Step, Done: t.Done, Where: describe(stack), Err: w.explain(err),
		}
	}
	return o, nil
}

func (d *disturbed) soon() time.Duration { return min(soon, d.w.opt.Timeout) }

// run does one thing after the other. What it returns is a violation.
func (d *disturbed) run(stack *[]uintptr) error {
	if d.m.kind == execs || d.m.kind == orphans {
		return d.endVictim()
	}
	ended, err := d.disturb(stack)
	if err != nil {
		return errors.Join(err, d.release())
	}
	if err := d.end(ended); err != nil {
		return errors.Join(err, d.release())
	}
	if err := d.release(); err != nil {
		return fmt.Errorf("letting go: %w", err)
	}
	if d.owed {
		a, err := d.ends(d.m.kind, d.h.answer)
		if err == nil {
			err = a.err()
		}
		if err != nil {
			return fmt.Errorf("%s, after the operation has ended: %w", d.m.kind, err)
		}
	}
	return d.aftermath()
}

// ends waits for an answer.
func (d *disturbed) ends(what string, f func(limit time.Duration) (answer, error)) (answer, error) {
	a, err := f(d.soon())
	if errors.Is(err, errNoAnswer) {
		err = fmt.Errorf("%s is not over after %v", what, d.soon())
	}
	return a, d.fate(err)
}

// fate finds out what the victim died of.
func (d *disturbed) fate(err error) error {
	if err == nil || d.v.gone {
		return err
	}
	if at, e := d.v.look(100*time.Millisecond, false); e != nil && at == busyStill {
		return errors.Join(e, err)
	}
	return err
}

// disturb brings about the interruption. The main thread runs afterwards.
func (d *disturbed) disturb(stack *[]uintptr) (ended bool, err error) {
	if d.m.grab != nil {
		err := d.w.call("Grab", d.t, func() (err error) {
			d.letGo, err = d.m.grab.Take(d.t, d.state)
			return err
		})
		if err != nil {
			return false, fmt.Errorf("Grab: %w", err)
		}
		if d.letGo == nil {
			d.lost = true
		}
		if err := d.v.goOn(); err != nil {
			return false, err
		}
		at, err := d.v.look(d.soon(), true)
		if err != nil {
			return false, err
		}
		switch at {
		case atEnd: // it needed nothing of that
			d.lost = true
			return true, nil
		case busyStill:
			return false, fmt.Errorf("neither over nor asleep after %v", d.soon())
		}
		if f := d.w.s.Interrupt.Meanwhile; f != nil && d.letGo != nil {
			if err := d.w.call("Meanwhile", d.t, func() error { return f(d.t, d.state) }); err != nil {
				return false, fmt.Errorf("the scene's Meanwhile: %w", err)
			}
		}
		d.owed = true
		return false, d.h.order(d.m.kind)
	}
	if d.m.kind == fails {
		if d.v.asleep || !d.v.entersKernel() { // it went another way this time
			d.lost = true
		} else if err := d.v.failCall(d.m.errno); err != nil {
			return false, err
		}
		return false, d.v.goOn()
	}
	d.v.thaw()
	if err := d.h.order(d.m.kind); err != nil {
		return false, err
	}
	// What stands still may be what the interruption has to wait for.
	switch a, err := d.h.answer(briefly); {
	case errors.Is(err, errNoAnswer):
		d.owed = true
	case err != nil:
		return false, d.fate(err)
	case a.Err != "":
		return false, fmt.Errorf("%s: %w", d.m.kind, a.err())
	}
	return false, d.v.goOn()
}

// end sees the operation to its end.
func (d *disturbed) end(ended bool) error {
	if !ended && d.letGo != nil && d.w.s.Interrupt.Deaf {
		at, err := d.v.look(deafFor, false)
		if err == nil {
			err = d.release()
		}
		if err != nil {
			return err
		}
		ended = at == atEnd
	}
	if !ended {
		at, err := d.v.look(d.soon(), false)
		if err != nil {
			return fmt.Errorf("going on: %w", err)
		}
		if at != atEnd {
			return fmt.Errorf("the operation has not ended %v after the interruption", d.soon())
		}
	}
	return unix.PtraceDetach(d.v.pid)
}

func (d *disturbed) release() error {
	letGo := d.letGo
	if d.letGo = nil; letGo == nil {
		return nil
	}
	return d.w.call("letting go", d.t, letGo)
}

// aftermath looks at what is left.
func (d *disturbed) aftermath() error {
	ask := func(order string) (answer, error) {
		return d.ends(order, func(limit time.Duration) (answer, error) { return d.h.ask(order, limit) })
	}
	a, err := ask(orderResult)
	if err != nil {
		return err
	}
	d.t.Done, d.t.Err = a.Err == "", a.err()
	if !d.t.Done && d.m.grab == nil && (d.m.kind == cancels && !a.Canceled || d.m.kind == closes && !a.Closed) {
		return fmt.Errorf("the operation returned %w", a.err())
	}
	if d.t.Done {
		if a, err = ask(orderUndo); err == nil {
			err = a.err()
		}
		if err != nil {
			return fmt.Errorf("undoing it: %w", err)
		}
	}
	in := d.w.s.Interrupt
	told := func(err error) error {
		if err != nil && d.t.Err != nil {
			err = fmt.Errorf("%w; the operation had returned %q", err, d.t.Err)
		}
		return err
	}
	if in.Idle != nil {
		if err := d.w.call("Idle", d.t, func() error { return in.Idle(d.t, d.state) }); err != nil {
			return fmt.Errorf("the scene's Idle: %w", told(err))
		}
	}
	if a, err = ask(orderLeave); err == nil {
		err = a.err()
	}
	if err != nil {
		return fmt.Errorf("leaving: %w", told(err))
	}
	check := in.Check
	if check == nil {
		check = d.w.s.Check
	}
	if err := d.w.call("Check", d.t, func() error { return check(d.t, d.state) }); err != nil {
		return fmt.Errorf("the scene's Check: %w", told(err))
	}
	return nil
}
