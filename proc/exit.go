package proc

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// ErrFailed is in the error of whoever started a process, or waits for one, that failed.
var ErrFailed = errors.New("process failed")

// Exit is how a process ended.
type Exit struct {
	Code   int            `json:"code"`             // of exit(2); -1 when there is none: see Signal, Problem, Lost
	Signal syscall.Signal `json:"signal,omitempty"` // that killed it
	Core   bool           `json:"core,omitempty"`   // it dumped core
	// OOM: it was killed by SIGKILL, not from here, and meanwhile the kernel counted a kill for lack of memory in the control group.
	OOM     bool   `json:"oom,omitempty"`
	Lost    bool   `json:"lost,omitempty"`    // the guardian was killed, and with it the process; nobody knows its status
	Problem string `json:"problem,omitempty"` // why it could not be started, or counts as failed all the same
	Wanted  bool   `json:"wanted,omitempty"`  // it was told to stop
	Forced  bool   `json:"forced,omitempty"`  // it was told to stop and did not, so it was killed

	Pid    int           `json:"pid,omitempty"`
	At     time.Time     `json:"at"`
	Ran    time.Duration `json:"ran"`    // ns
	User   time.Duration `json:"user"`   // ns of processor time, of its own code
	System time.Duration `json:"system"` // and in the kernel
	MaxRSS int64         `json:"maxrss"` // bytes of memory, at most
}

// OK reports whether it succeeded: exit code 0, and nothing else to complain of.
func (e Exit) OK() bool { return e.Code == 0 && e.Problem == "" }

// Err is nil if it succeeded, or was told to stop; else an ErrFailed that says how it ended.
func (e Exit) Err() error {
	if e.OK() || e.Wanted {
		return nil
	}
	return fmt.Errorf("%w: %v", ErrFailed, e)
}

// String is a phrase for people.
func (e Exit) String() string {
	var s string
	switch {
	case e.Signal != 0:
		s = "killed by " + signalName(e.Signal)
		if e.OOM {
			s += " for lack of memory"
		}
		if e.Core {
			s += ", core dumped"
		}
	case e.Lost:
		s = "ended together with the guardian"
	case e.Pid == 0:
		return "not started: " + e.Problem
	default:
		s = fmt.Sprintf("exit code %d", e.Code)
	}
	if e.Forced {
		s += ", for it did not stop"
	}
	if e.Problem != "" {
		s = e.Problem + " (" + s + ")"
	}
	return s
}

// Phase is where a process is in its life.
type Phase string

const (
	Stopped  Phase = "stopped"  // at rest: never started, or told to stop
	Waiting  Phase = "waiting"  // for those it starts after
	Starting Phase = "starting" // it runs and is not ready yet
	Running  Phase = "running"  // and ready
	Stopping Phase = "stopping" // told to stop
	Pausing  Phase = "backoff"  // until the next restart
	Done     Phase = "done"     // at rest: it exited, with success
	Failed   Phase = "failed"   // at rest: it failed, and is not restarted (any more)
)

// AtRest reports whether nothing happens before somebody starts it again.
func (p Phase) AtRest() bool { return p == Stopped || p == Done || p == Failed }

// State is a process as its manager sees it.
type State struct {
	Name     string    `json:"name"`
	Target   string    `json:"target"` // the function, or the command
	Phase    Phase     `json:"phase"`
	Since    time.Time `json:"since"`         // when the phase began
	Pid      int       `json:"pid,omitempty"` // 0 when it does not run
	Started  time.Time `json:"started,omitzero"`
	Restarts int       `json:"restarts"`           // after crashes, since somebody started it
	InARow   int       `json:"in_a_row,omitempty"` // of these, without a good while in between: more than 1 is a crash loop
	Next     time.Time `json:"next,omitzero"`      // when it is restarted, in phase backoff
	Last     *Exit     `json:"last,omitempty"`     // how it ended last
	Problem  string    `json:"problem,omitempty"`  // why it failed
	Lines    uint64    `json:"lines"`              // of output
	Dropped  uint64    `json:"dropped,omitempty"`  // of those, for lack of a fast enough reader
}

// String is one line for people.
func (s State) String() string {
	text := fmt.Sprintf("process %q: %s", s.Name, s.Phase)
	if s.Pid != 0 {
		text += fmt.Sprintf(", pid %d", s.Pid)
	}
	if s.Restarts > 0 {
		text += fmt.Sprintf(", %d restarts", s.Restarts)
	}
	if s.Last != nil {
		text += ", last: " + s.Last.String()
	}
	if s.Problem != "" {
		text += ": " + s.Problem
	}
	return text
}
