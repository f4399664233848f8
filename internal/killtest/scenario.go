package killtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Scenario is one operation, a victim that performs it, and survivors that judge what is left. Only Name, Prepare
// and Check are required. Setup, While, After and Check run in the test process, several trials side by side, each
// with its own Dir, on threads that are bound to one CPU each. They must return within Options.Timeout and must not
// call testing.T.
type Scenario struct {
	Name   string   // unique in the test binary, "queue.Put"
	Covers []string // the exported operations this covers, as CheckCovered names them: "queue.Raw.Put"

	// Setup makes a fresh object in t.Dir, which is empty. If the state it returns has a Close method, that is
	// called after the trial, and if Setup failed.
	Setup func(t *Trial) (state any, err error)

	// Prepare runs in the victim, on the main goroutine and main thread. It opens what it needs and returns the
	// one operation to die in. An error of the operation, or a panic, fails the trial.
	Prepare func(v *Victim) (op func() error, err error)

	// Check runs after the death: do survivors get on, does every invariant hold?
	Check func(t *Trial, state any) error

	// While runs in Pause trials, with the victim standing still at t.Step. Nil: no Pause trials.
	While func(t *Trial, state any) error

	// After runs in Pause trials, when the victim went on, finished the operation and exited. Nil: Check.
	After func(t *Trial, state any) error

	// Recover describes the process that repairs, to be killed as well. Nil: no Recover trials.
	Recover *Recovery

	// Interrupt describes what happens when the operation is not killed but disturbed. Nil: no Interrupt trials.
	Interrupt *Interruption

	MaxSteps int // an operation with more steps than this is an error; 0: 2,000,000
}

// Recovery is the second victim: it starts after the first has died at some step, and dies at each step of its own
// operation. Then Check runs.
type Recovery struct {
	Prepare func(v *Victim) (op func() error, err error)

	// Steps chooses where the first victim dies, given the length of its operation. Nil: after each of 64 effects, for
	// these are the states it can leave behind; after each effect if SHIPLAP_KILL_FULL is set, whatever Steps is.
	Steps func(total int) []int
}

// Victim is what Prepare gets to know.
type Victim struct {
	Dir string // the directory of the trial
	Arg string // what Setup put into Trial.Arg

	// In Interrupt trials Prepare says what a victim does beside the operation.
	Close func() error // closes the handle while the operation is in progress; nil: it is not closed
	Undo  func() error // gives back what an operation that went well has left in the victim's hands
	Leave func() error // closes everything; nil: what the victim owns

	owned []io.Closer
}

// Own says that the victim has opened something. In an Interrupt trial it closes that at the end, what it opened last first.
func (v *Victim) Own(c io.Closer) { v.owned = append(v.owned, c) }

// leave closes everything.
func (v *Victim) leave() error {
	if v.Leave != nil {
		return v.Leave()
	}
	for _, c := range slices.Backward(v.owned) {
		if err := c.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			return err
		}
	}
	return nil
}

// Trial is one death (or pause), seen from the survivors' side.
type Trial struct {
	Dir  string // where the object lives: on /dev/shm, used by this trial alone, emptied before the next
	Arg  string // Setup may set it; it arrives as Victim.Arg
	Mode Mode
	Step int  // instructions executed by the victim of the operation, and of the call to it
	Done bool // the operation had completed

	Err error // in Interrupt trials: what the operation returned

	RecoverStep int  // in Recover trials: the same of the second victim
	RecoverDone bool // in Recover trials: the second victim had completed
}

// Mode says what happens to the victim at the chosen step.
type Mode string

const (
	Kill    Mode = "kill"    // it dies
	Pause   Mode = "pause"   // it stands still, then goes on
	Recover Mode = "recover" // it dies, and so does the one that recovers
)

// Options of a run. The zero value runs every mode that the scenario supports with the default budget.
type Options struct {
	Kill, Pause, Recover bool // which modes; none set: all that the scenario describes
	Interrupt            bool // this mode, and no other: its victims are of another kind

	Stride  int           // 0: the smallest that fits the budget; 1: every instruction
	Phase   int           // of the stride
	Budget  time.Duration // for all modes together; if Thorough, beyond the effects, which are covered; 0: 20 s
	Workers int           // trials side by side; 0: one a CPU
	Timeout time.Duration // for a callback, and for a victim that makes no step; 0: 20 s. More is a violation
	Dir     string        // where to make the trials' directories; "": /dev/shm

	NoBreakpoints bool // position by single steps alone

	full, quick bool // SHIPLAP_KILL_FULL; not Thorough, or -short
	sample      int  // how many trials tell what one costs
}

// Violation is one trial that ended badly.
type Violation struct {
	Mode        Mode
	Step        int
	Done        bool
	RecoverStep int
	How         string   // in Interrupt trials
	Where       []string // function and line where the (last) victim stopped, innermost first
	Err         error
}

func (v Violation) String() string {
	at := fmt.Sprintf("%s at step %d", v.Mode, v.Step)
	if v.How != "" {
		at = fmt.Sprintf("%s at step %d", v.How, v.Step)
	}
	if v.Done {
		at += " (completed)"
	}
	if v.Mode == Recover {
		at += fmt.Sprintf(", recoverer at step %d", v.RecoverStep)
	}
	s := at + ": " + v.Err.Error()
	for _, w := range v.Where {
		s += "\n\t\tat " + w
	}
	return s
}

func (s *Scenario) validate(interrupt bool) error {
	switch {
	case s.Name == "":
		return errors.New("scenario without a name")
	case s.Prepare == nil || s.Check == nil:
		return fmt.Errorf("scenario %s: Prepare and Check are required", s.Name)
	case s.Recover != nil && s.Recover.Prepare == nil:
		return fmt.Errorf("scenario %s: Recover without Prepare", s.Name)
	case interrupt && s.Interrupt == nil:
		return fmt.Errorf("scenario %s: it has no Interrupt", s.Name)
	}
	return nil
}

func (s *Scenario) maxSteps() int {
	if s.MaxSteps > 0 {
		return s.MaxSteps
	}
	return 2_000_000
}
