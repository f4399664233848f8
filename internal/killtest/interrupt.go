package killtest

import (
	"context"
	"os"
)

// Interrupt is the mode in which nobody dies: at the chosen step the operation's context ends, its handle is closed, or
// its system call fails. The operation then runs to its end.
const Interrupt Mode = "interrupt"

// Interruption says how the operation of a scenario is interrupted, and what survivors look at. All of it is optional.
//
// A trial goes as follows. The victim is stopped at a step. With a Grab a survivor now takes what the operation
// may still have to wait for, and the victim goes on until it does. Then comes the interruption, and the operation
// must come to an end: at once if it is one that a context can end, else when the survivor has let go. The victim stays alive, and undoes
// what the operation achieved; Idle looks. Then it closes all it has, and Check looks.
type Interruption struct {
	// Prepare is that of the victim. Nil: Scenario.Prepare.
	Prepare func(v *Victim) (op func() error, err error)

	Grabs []Grab // what the operation may have to wait for

	// Meanwhile runs while the operation waits for what a survivor has taken: whom does it hold up?
	Meanwhile func(t *Trial, state any) error

	// Deaf is an operation that is to be completed whatever happens: neither its context nor Close ends it.
	Deaf bool

	// Waits is an operation that waits for ever unless its context ends or its handle is closed.
	Waits bool

	Slow bool // only where the campaign is what the run is for

	// Idle runs when the operation has ended, and the victim has undone it, but has its handles open: nothing may be
	// held, and nothing may be lost.
	Idle func(t *Trial, state any) error

	// Check runs when the victim has closed everything. Nil: Scenario.Check, with t.Mode == Interrupt and t.Done
	// if the operation returned no error.
	Check func(t *Trial, state any) error

	// Await is what survivors do who wait for the victim's death, when it was killed while a child of it, between fork and
	// exec, has all its descriptors: they must be told Promptly. Nil: no such trials.
	Await func(t *Trial, state any) error

	// Skip are kinds of interruptions that make no sense, "close" for example.
	Skip []string
}

// Grab takes something that an operation may wait for: locks that are free now, room, messages.
type Grab struct {
	Of string // what it takes

	// Take must not wait. letGo undoes it; nil means that there was nothing to take.
	Take func(t *Trial, state any) (letGo func() error, err error)
}

// Kinds of interruptions.
const (
	cancels = "cancel"
	closes  = "close"
	fails   = "fail"
	execs   = "exec"   // the victim becomes another program
	orphans = "orphan" // the victim is killed while a child of it hangs between fork and exec
)

// envInterrupt tells the victim that it will be interrupted.
const envInterrupt = "SHIPLAP_KILLTEST_INTERRUPT"

var interruptible, endInterruptible = context.WithCancel(context.Background())

// Background is the context for the calls of a victim. In Interrupt trials it is one that can end.
func Background() context.Context {
	if os.Getenv(envInterrupt) != "" {
		return interruptible
	}
	return context.Background()
}

// Failed reports whether the operation was interrupted and returned an error: then it must not have happened.
func (t *Trial) Failed() bool { return t.Mode == Interrupt && !t.Done }
