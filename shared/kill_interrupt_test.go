package shared_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/killtest"
)

// interruptScenarios are those of the kill trials. Words that are pinned have no context, and no errors.
func interruptScenarios() (all []killtest.Scenario) {
	for _, s := range scenarios() {
		name := strings.TrimPrefix(s.Name, "shared/")
		i := slices.IndexFunc(scenes(), func(c scene) bool { return c.name == name })
		if i >= 0 && !strings.HasSuffix(name, "in place") {
			s.Interrupt = &killtest.Interruption{}
		}
		all = append(all, s)
	}
	return all
}

func TestInterruptedAnywhere(t *testing.T) { killtest.RunInterrupts(t, interruptScenarios()...) }
