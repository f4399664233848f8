package killtest

import (
	"os"
	"slices"
	"testing"
	"time"
)

// RunInterrupts performs the Interrupt trials of the scenarios that have them. Where people wait it takes every fourth
// scenario, other ones each day; where the campaign is what the run is for (see Thorough), all.
func RunInterrupts(t *testing.T, scenarios ...Scenario) {
	n := 0
	for _, s := range scenarios {
		if s.Interrupt == nil {
			continue
		}
		n++
		t.Run(s.Name, func(t *testing.T) {
			if !Thorough() && (s.Interrupt.Slow || s.Interrupt.Waits) {
				t.Skip("it takes seconds; set SHIPLAP_KILL_BUDGET or CI")
			}
			if !Thorough() && n%interruptEvery != today()%interruptEvery {
				t.Skip("not today's turn; set SHIPLAP_KILL_BUDGET or CI")
			}
			Run(t, s, Options{Interrupt: true, Budget: interruptBudget()})
		})
	}
}

const interruptEvery = 4

func interruptBudget() time.Duration {
	if os.Getenv("CI") != "" {
		return time.Second
	}
	return 100 * time.Millisecond
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
