//go:build explore

package explore

import (
	"fmt"
	"slices"

	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// System is one experiment, made anew for each schedule.
type System struct {
	Procs  []func(p *Proc)
	Memory []*mem.Span
	// Process says which process each of Procs belongs to, where several are goroutines of one: they
	// have a token in common and die together. Nil: each is a process.
	Process []int
	// Private points to structs outside of Memory that goroutines of one process share: the words of package mem in
	// them, not those that they point to.
	Private []any
	// Touch makes each access of what futex.Waiter.Sleep and Poke share a step.
	Touch bool
	// Clock lists words of the first span that hold times: they are no part of the state.
	Clock []int
	// Quiet are stretches of the first span, from and to, that nobody writes in this experiment: to read there is no
	// step. A process that writes there fails.
	Quiet [][2]int
	// Bounded lists words of the first span on which sleeps are short by design: they may end by their
	// bounds when nothing else can happen, once each, whatever the options say.
	Bounded []int
	// Idle is asked when nothing can happen any more although processes sleep; nil means that this
	// is a failure. asleep are the sleepers.
	Idle func(asleep []int) error
	// Final is asked when every process has ended or died, and after Idle.
	Final func() error
}

// AnyDead reports that a process of the schedule died. Idle and Final may ask.
func (s *System) AnyDead() bool {
	return slices.ContainsFunc(lastProcs, func(p *Proc) bool { return p.state == dead })
}

func (s *System) process(proc int) int {
	if s.Process == nil {
		return proc
	}
	return s.Process[proc]
}

// Options of Run. The zero value explores everything, without deaths.
type Options struct {
	Deaths   int    // of processes, at most
	Mortal   uint   // bit i: process i may die; 0 means all
	Window   bool   // the locks of a dead process are released later: a child had them between fork and exec
	Watch    bool   // Owners.Watch works: notices of deaths come, each one again until the watch is stopped
	Edge     bool   // notices come once: none to those who watch too late, none again when the locks are released
	Switches int    // switches away from a process that could go on, at most; 0 means any number
	Buffers  bool   // StoreRelease is seen later: amd64
	Weak     bool   // Store is seen later as well, until the next update: weaker than any machine here
	Late     uint   // bit i: stores of Procs[i] may be seen later; 0 means all
	AtOnce   bool   // a store buffer drains as a whole: fewer schedules
	Timeouts int    // how often one sleep may end by its bound after a death
	NoStates bool   // do not recognize states: for systems that keep some outside of words
	MaxSteps int    // of one schedule; default 5000
	Limit    int    // schedules; 0 means all
	Trace    string // the schedule to follow, from a Failure
}

// Result counts what was explored.
type Result struct {
	Schedules, States, Steps int
	Ended                    int // schedules that ran to the end: the others met a known state
	Longest                  int
	Complete                 bool // false when Limit ended it
}

func (r Result) String() string {
	return fmt.Sprintf("%d schedules (%d to the end), %d states, %d steps, the longest %d, complete: %v",
		r.Schedules, r.Ended, r.States, r.Steps, r.Longest, r.Complete)
}

// Failure is a schedule that breaks a promise.
type Failure struct {
	Err   error
	Trace string
}

func (f *Failure) Error() string { return f.Err.Error() + "\nschedule: " + f.Trace }
func (f *Failure) Unwrap() error { return f.Err }
