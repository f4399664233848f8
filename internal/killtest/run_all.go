package killtest

import (
	"os"
	"testing"
	"time"
)

// RunKills performs the Kill, Pause and Recover trials of scenarios, each in a subtest of its name. A run that is not
// Thorough kills no recoverers. adjust, if not nil, may change the options, or say why the scenario is left out.
func RunKills(t *testing.T, adjust func(s Scenario, opt *Options) (skip string), scenarios ...Scenario) {
	for _, s := range scenarios {
		t.Run(s.Name, func(t *testing.T) {
			var opt Options
			if !Thorough() {
				opt.Kill, opt.Pause = true, true
			}
			if adjust != nil {
				if why := adjust(s, &opt); why != "" {
					t.Skip(why)
				}
			}
			Run(t, s, opt)
		})
	}
}

// Thorough reports that the campaign is what the run is for: in CI, or where the environment says how long it may be.
// Every effect is a trial then. Otherwise the effects are thinned until they fit into the budget, because somebody waits.
func Thorough() bool { return os.Getenv("CI") != "" || campaign() }

// campaign reports that the environment says how long it may be.
func campaign() bool {
	for _, name := range []string{"SHIPLAP_KILL_FULL", "SHIPLAP_KILL_STRIDE", "SHIPLAP_KILL_BUDGET"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

// Budgets of a scenario: where somebody waits, and in CI beyond the effects.
const (
	quickBudget = 100 * time.Millisecond
	ciBudget    = time.Second
)
