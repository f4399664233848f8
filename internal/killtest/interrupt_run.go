package killtest

import (
	"slices"
	"testing"
)

// RunInterrupts performs the Interrupt trials of the scenarios that have them, each in a subtest of its name. A run that
// is not Thorough takes every fourth scenario; SHIPLAP_KILL_PHASE says which ones. Scenarios that are slow, or wait, are
// left to a campaign (SHIPLAP_KILL_BUDGET, _STRIDE or _FULL).
func RunInterrupts(t *testing.T, scenarios ...Scenario) {
	n, phase := 0, 0
	number(t, "SHIPLAP_KILL_PHASE", &phase)
	for _, s := range scenarios {
		if s.Interrupt == nil {
			continue
		}
		n++
		t.Run(s.Name, func(t *testing.T) {
			if !campaign() && (s.Interrupt.Slow || s.Interrupt.Waits) {
				t.Skip("it takes seconds; set SHIPLAP_KILL_BUDGET")
			}
			if !Thorough() && n%interruptEvery != phase%interruptEvery {
				t.Skip("not its turn; set SHIPLAP_KILL_PHASE, or CI for all")
			}
			opt := Options{Interrupt: true}
			if !campaign() {
				opt.Budget = quickBudget
			}
			Run(t, s, opt)
		})
	}
}

const interruptEvery = 4

// Known fails the test for each name in a table of interruptions that no scenario has.
func Known[T any](t *testing.T, table map[string]T, scenarios []Scenario) {
	t.Helper()
	for name := range table {
		if !slices.ContainsFunc(scenarios, func(s Scenario) bool { return s.Name == name }) {
			t.Errorf("there is no scenario %q to interrupt", name)
		}
	}
}
