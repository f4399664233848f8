//go:build linux && (amd64 || arm64)

package killtest

import (
	"fmt"
	"slices"
)

// trace is what a recording pass learned of an operation.
type trace struct {
	at       []place // the instruction that step k executes; 0 outside of the binary
	effects  []int   // the steps that others can see, ascending
	syscalls int
	calls    []call // those that may fail
	waits    bool   // the last step never ended

	occurrence []int32 // how often at[k] was executed before
	anchor     []int32 // where to set the breakpoint to get to step k; -1: step all the way
}

func (tr *trace) steps() int { return len(tr.at) }

// record steps the victim through its operation. The hot pages learned by one pass make the next one exact.
func record(t *tracee, maxSteps int, hot map[pageKey]bool) (*trace, error) {
	tr := &trace{}
	var visible []bool
	mark := func(last int) {
		for i := len(visible) - last; i < len(visible); i++ {
			visible[i] = true
		}
	}
	w := &watch{pid: t.pid, hotKeys: hot}
	if err := w.remap(); err != nil {
		return nil, err
	}
	for !t.done {
		if t.steps >= maxSteps {
			return nil, fmt.Errorf("the operation takes more than %d steps", maxSteps)
		}
		syscalls := t.syscalls
		tr.at = append(tr.at, t.here())
		visible = append(visible, false)
		if t.entersKernel() {
			if errnos := t.failures(); len(errnos) > 0 {
				tr.calls = append(tr.calls, call{t.steps, errnos})
			}
		}
		if err := t.step(); err == errAsleep {
			visible[t.steps] = true
			break
		} else if err != nil {
			return nil, err
		}
		if t.syscalls == syscalls {
			mark(w.changed())
			continue
		}
		// Anything may have changed, mappings too. What changed before must be noted first.
		mark(max(1, w.compareAll()))
		if err := w.remap(); err != nil {
			return nil, err
		}
	}
	tr.waits = !t.done
	mark(min(w.compareAll(), len(visible))) // since the last look
	for k, v := range visible {
		if v {
			tr.effects = append(tr.effects, k)
		}
	}
	tr.syscalls = t.syscalls
	tr.chooseAnchors()
	return tr, nil
}

// learn runs the operation at full speed and notes which pages it has changed, for a recording to watch. That is a
// fraction of a recording's time, but what changes and changes back stays unseen.
func learn(t *tracee, hot map[pageKey]bool) error {
	w := &watch{pid: t.pid, hotKeys: hot}
	if err := w.remap(); err != nil {
		return err
	}
	before := slices.Clone(w.areas)
	if err := t.complete(); err != nil {
		return err
	}
	known := map[pageKey]bool{}
	for i := range before {
		known[before[i].key] = true
		w.compare(&before[i])
	}
	if err := w.remap(); err != nil {
		return err
	}
	for i := range w.areas {
		if a := &w.areas[i]; !known[a.key] { // it is new, and was empty
			w.heatUsed(a)
		}
	}
	return nil
}

// chooseAnchors finds the cheapest way to each step: one single step from the one before, or a breakpoint on its
// instruction, which stops once for each earlier execution.
func (tr *trace) chooseAnchors() {
	const stop, set = 1, 2 // of a breakpoint, in single steps
	var (
		n     = len(tr.at)
		count = map[place]int32{}
		bad   = map[place]bool{0: true}
		cost  = make([]int, n+1)
	)
	tr.occurrence = make([]int32, n)
	tr.anchor = make([]int32, n+1)
	for k, p := range tr.at {
		tr.occurrence[k] = count[p]
		count[p]++
		if k == 0 || p == tr.at[k-1] { // an instruction with a REP prefix is many steps, but one breakpoint
			bad[p] = true
		}
	}
	tr.anchor[0] = -1
	for k := 1; k <= n; k++ {
		cost[k], tr.anchor[k] = cost[k-1]+1, tr.anchor[k-1]
		if k < n && !bad[tr.at[k]] {
			if c := set + stop*int(tr.occurrence[k]); c < cost[k] {
				cost[k], tr.anchor[k] = c, int32(k)
			}
		}
	}
}

// position brings a fresh victim to step k. It reports whether that is where the recording was at step k.
func (tr *trace) position(t *tracee, k int, breakpoints bool) (same bool, err error) {
	if a := tr.anchor[min(k, tr.steps())]; breakpoints && a > 0 {
		if err := t.runTo(t.im.pc(tr.at[a], t.slide), int(tr.occurrence[a])+1); err != nil {
			return false, err
		}
		t.steps = int(a)
	}
	if err := t.stepTo(k); err != nil {
		return false, err
	}
	if k >= tr.steps() {
		return t.done, nil
	}
	return !t.done && t.here() == tr.at[k], nil
}
