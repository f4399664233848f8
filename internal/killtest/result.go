package killtest

import "time"

// Result is what a run covered and found.
type Result struct {
	Scenario string
	Covers   []string `json:",omitempty"`

	Instructions int // steps of the operation, in the recorded run
	Syscalls     int // of them, those that enter the kernel
	Effects      int // of them, those that others can see: system calls, and stores that change shared memory

	Kills, Pauses, RecoverKills int          // trials
	Interrupted                 *Interrupted `json:",omitempty"` // in a run of mode Interrupt
	Deaths, States              int          // Recover trials: where the first victim died; the states that it can leave

	// Of the steps that are not next to an effect, every Stride-th was a trial; 1 means every instruction. It is
	// the largest stride of the modes that ran. EffectStride is 1 unless the effects were thinned too.
	Stride, EffectStride int

	Drifted    int // steps at which all trials stopped elsewhere than the recording was
	Repeated   int // trials that were made again because something took too long, and nothing else was wrong
	Violations int
	Found      []Violation `json:"-"` // the first 1000 of them

	Elapsed  time.Duration
	PerTrial time.Duration // of one worker
	Workers  int
}

// Trials is the number of all trials.
func (r Result) Trials() int { return r.Kills + r.Pauses + r.RecoverKills + r.Interrupted.Trials() }

func (r *Result) add(m Mode) {
	switch m {
	case Kill:
		r.Kills++
	case Pause:
		r.Pauses++
	case Recover:
		r.RecoverKills++
	}
}

func (r *Result) violate(v Violation) {
	if r.Violations++; len(r.Found) < 1000 {
		r.Found = append(r.Found, v)
	}
}
