package killtest

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// How the parent tells the victim what to be.
const (
	envVictim = "SHIPLAP_KILLTEST_VICTIM" // the scenario's name
	envRole   = "SHIPLAP_KILLTEST_ROLE"   // roleFirst or roleSecond
	envDir    = "SHIPLAP_KILLTEST_DIR"
	envArg    = "SHIPLAP_KILLTEST_ARG"
)

type role string

const (
	roleFirst  role = "victim"
	roleSecond role = "recoverer"
)

func init() {
	// The main goroutine is the traced one, so it must stay on the main thread. Only init can see to that. And the way
	// through the operation must not depend on how long the victim has lived, nor on which allocations a profile samples.
	if os.Getenv(envVictim) != "" {
		runtime.LockOSThread()
		runtime.MemProfileRate = 0
		mem.Reproducible()
	}
}

// Main is a TestMain for packages that need no other: RunVictim, then the tests.
func Main(m *testing.M, scenarios ...Scenario) {
	RunVictim(scenarios...)
	os.Exit(m.Run())
}

// RunVictim returns at once in the test process. In a victim it performs the scenario and exits; call it first in
// TestMain, with every scenario of the test binary.
func RunVictim(scenarios ...Scenario) {
	name := os.Getenv(envVictim)
	if name == "" {
		return
	}
	if os.Getenv(envExeced) != "" {
		os.NewFile(fdAnswers, "answers").WriteString("{}\n") //nolint:errcheck // then there is no answer
		time.Sleep(time.Hour)
	}
	for _, s := range scenarios {
		if s.Name == name {
			if os.Getenv(envInterrupt) != "" {
				performInterrupted(s)
			}
			perform(s)
		}
	}
	giveUp("no scenario %q is handed to killtest.RunVictim", name)
}

func perform(s Scenario) {
	prepare := s.Prepare
	if role(os.Getenv(envRole)) == roleSecond {
		prepare = s.Recover.Prepare
	}
	op, err := prepare(&Victim{Dir: os.Getenv(envDir), Arg: os.Getenv(envArg)})
	if err != nil {
		giveUp("prepare: %v", err)
	}
	// The runtime may have asked for a preemption during a long preparation: now, not during the operation.
	runtime.Gosched()
	if err := bracket(op); err != nil {
		giveUp("operation: %v", err)
	}
	syscall.Exit(0) // without what a test binary does at its end
}

// bracket encloses the operation in two breakpoints, with as few instructions beside it as can be.
//
//go:noinline
func bracket(op func() error) error {
	marker()
	err := op()
	marker()
	return err
}

func giveUp(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "killtest victim: "+format+"\n", args...)
	os.Exit(3)
}

// OnDomain makes a Prepare of an operation that makes or opens something in the victim's domain, which join joins.
func OnDomain[D io.Closer](join func(dir string) (D, error), op func(d D) (io.Closer, error)) func(*Victim) (func() error, error) {
	return func(v *Victim) (func() error, error) {
		d, err := join(v.Dir)
		if err != nil {
			return nil, err
		}
		v.Own(d)
		v.Close = d.Close
		return func() error {
			c, err := op(d)
			if err == nil {
				v.Own(c)
			}
			return err
		}, nil
	}
}
