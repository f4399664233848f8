//go:build linux && (amd64 || arm64)

package killtest

import (
	"fmt"
	"slices"
	"time"
)

// interruptAnywhere is the run of mode Interrupt: instead of the others, for its victims go another way.
func (e *explorer) interruptAnywhere() error {
	first, err := e.recordInterrupted()
	if err != nil {
		return err
	}
	e.res.Instructions, e.res.Syscalls, e.res.Effects = first.steps(), first.syscalls, len(first.effects)
	points := e.interruptions(first)
	e.res.Interrupted.Points = len(points)
	ends := slices.DeleteFunc(slices.Clone(points), func(p point) bool { return p.kind != execs })
	points = slices.DeleteFunc(points, func(p point) bool { return p.kind == execs })
	if err := e.some(points); err != nil {
		return err
	}
	limit.Store(int64(PromptExec))
	defer limit.Store(int64(Prompt))
	return e.some(ends)
}

// some tries as many points as the budget is for, or all.
func (e *explorer) some(points []point) error {
	if e.opt.full || e.opt.Stride == 1 {
		return e.try(points)
	}
	// Some of everything, other ones in each phase.
	points = shuffled(points, e.opt.Phase)
	n := max(4, 2*e.opt.Workers)
	for start := time.Now(); len(points) > 0; {
		some := points[:min(n, len(points))]
		if points = points[len(some):]; e.try(some) != nil || time.Since(start) > e.opt.Budget {
			break
		}
	}
	return nil
}

// recordInterrupted records the operation once. If the recording is an unusual one, trials stop at other steps than those beside
// an effect.
func (e *explorer) recordInterrupted() (tr *trace, err error) {
	hot := map[pageKey]bool{}
	err2 := e.each(1, 1, func(w *worker, _ int) {
		_, err = w.recordInterrupted(hot, !e.s.Interrupt.Waits)
		if err == nil {
			tr, err = w.recordInterrupted(hot, false)
		}
	})
	if err == nil {
		err = err2
	}
	return tr, err
}

// interruptions are all points at which the operation can be interrupted, with all that makes sense there.
func (e *explorer) interruptions(first *trace) (points []point) {
	in := e.s.Interrupt
	add := func(k int, m manner) {
		if !slices.Contains(in.Skip, m.kind) {
			points = append(points, point{mode: Interrupt, manner: m, k: k, first: first})
		}
	}
	steps, _ := essential(first.steps(), first.effects)
	steps = steps[:len(steps)-1] // not beyond the end
	if first.waits {
		steps = steps[:len(steps)-1] // nor at it, which is never reached
	}
	for _, k := range steps {
		add(k, manner{kind: cancels})
		add(k, manner{kind: closes})
	}
	for _, c := range first.calls {
		if first.waits {
			break // what follows is the wait, whatever fails
		}
		for _, errno := range c.errnos {
			add(c.step, manner{kind: fails, errno: errno})
		}
	}
	if !first.waits {
		for _, k := range deathsOf(first.effects) {
			add(k, manner{kind: execs})
			if in.Await != nil {
				add(k, manner{kind: orphans})
			}
		}
	}
	for i := range in.Grabs {
		for _, k := range deathsOf(first.effects) {
			add(k, manner{kind: cancels, grab: &in.Grabs[i]})
			add(k, manner{kind: closes, grab: &in.Grabs[i]})
		}
	}
	return points
}

// shuffled is in an order that the phase determines, in which the kinds of interruptions take turns.
func shuffled(points []point, phase int) (mixed []point) {
	points = slices.Clone(points)
	x := uint64(phase)*2 + 1
	for i := len(points) - 1; i > 0; i-- {
		x = x*6364136223846793005 + 1442695040888963407
		j := int(x>>33) % (i + 1)
		points[i], points[j] = points[j], points[i]
	}
	type kind struct {
		kind string
		grab *Grab
	}
	var kinds []kind
	by := map[kind][]point{}
	for _, p := range points {
		k := kind{p.kind, p.grab}
		if by[k] == nil {
			kinds = append(kinds, k)
		}
		by[k] = append(by[k], p)
	}
	for turn := 0; len(mixed) < len(points); turn++ {
		for _, k := range kinds {
			if turn < len(by[k]) {
				mixed = append(mixed, by[k][turn])
			}
		}
	}
	return mixed
}

// manner is how a trial interrupts.
type manner struct {
	kind  string
	errno int   // that the system call at the step returns
	grab  *Grab // at the step; the interruption comes in the wait for it
}

func (m manner) String() string {
	s := m.kind
	if m.kind == fails {
		s += fmt.Sprintf(" with %v", errnoName(m.errno))
	}
	if m.grab != nil {
		s += " in the next wait, " + m.grab.Of + " taken"
	}
	return s
}
