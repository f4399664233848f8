package killtest

import (
	"os"
	"slices"
	"testing"
	"time"
)

// RunInterrupts performs the Interrupt trials of the scenarios that have them: all where the environment asks for a
// campaign (SHIPLAP_KILL_BUDGET, _STRIDE or _FULL), which takes an hour over all packages; else, also in CI, every fourth
// scenario, other ones each day.
func RunInterrupts(t *testing.T, scenarios ...Scenario) {
	n := 0
	for _, s := range scenarios {
		if s.Interrupt == nil {
			continue
		}
		n++
		t.Run(s.Name, func(t *testing.T) {
			if !campaign() && (s.Interrupt.Slow || s.Interrupt.Waits) {
				t.Skip("it takes seconds; set SHIPLAP_KILL_BUDGET")
			}
			if !campaign() && n%interruptEvery != today()%interruptEvery {
				t.Skip("not today's turn; set SHIPLAP_KILL_BUDGET")
			}
			Run(t, s, Options{Interrupt: true, Budget: interruptBudget()})
		})
	}
}

const interruptEvery = 4

func interruptBudget() time.Duration {
	if campaign() {
		return time.Second
	}
	return 100 * time.Millisecond
}

// campaign reports that interruptions are what the run is for.
func campaign() bool {
	for _, name := range []string{"SHIPLAP_KILL_FULL", "SHIPLAP_KILL_STRIDE", "SHIPLAP_KILL_BUDGET"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

// Known fails the test for each name in a table of interruptions that no scenario has.
func Known[T any](t *testing.T, table map[string]T, scenarios []Scenario) {
	t.Helper()
	for name := range table {
		if !slices.ContainsFunc(scenarios, func(s Scenario) bool { return s.Name == name }) {
			t.Errorf("there is no scenario %q to interrupt", name)
		}
	}
}
