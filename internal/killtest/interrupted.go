package killtest

import "fmt"

// Interrupted counts the trials of mode Interrupt.
type Interrupted struct {
	Points                 int // that there are
	Cancels, Closes, Fails int // trials
	Execs, Orphans         int // trials in which the victim ended: by exec, or killed with a child between fork and exec
	Waits                  int // of them in a wait for what a survivor had taken
	Moot                   int // trials beside these: the operation did not come to a wait, or not to the call
}

func (n *Interrupted) add(kind string, wait, moot bool) {
	if moot {
		n.Moot++
		return
	}
	switch kind {
	case cancels:
		n.Cancels++
	case closes:
		n.Closes++
	case fails:
		n.Fails++
	case execs:
		n.Execs++
	case orphans:
		n.Orphans++
	}
	if wait {
		n.Waits++
	}
}

// Trials that interrupted something.
func (n *Interrupted) Trials() int {
	if n == nil {
		return 0
	}
	return n.Cancels + n.Closes + n.Fails + n.Execs + n.Orphans
}

func (n *Interrupted) String() string {
	return fmt.Sprintf("%d contexts ended, %d handles closed, %d calls failed (%d in waits), %d execs, %d deaths while forking, %d moot, of %d",
		n.Cancels, n.Closes, n.Fails, n.Waits, n.Execs, n.Orphans, n.Moot, n.Points)
}
