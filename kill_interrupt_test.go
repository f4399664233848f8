package shiplap_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
)

func interruptScenarios() (all []killtest.Scenario) {
	for _, s := range scenarios() {
		s.Interrupt = &killtest.Interruption{Slow: s.Name == "Join after deaths" || s.Name == "Domain.Sweep"}
		switch s.Name {
		case "Domain.Close":
			s.Interrupt.Deaf = true
		case "Domain.Remove":
			s.Interrupt.Check = func(t *killtest.Trial, state any) error {
				// An error means that it is there, or half removed; a second attempt makes an end of it.
				w := state.(*world)
				if t.Failed() {
					if err := w.d.Remove(bg, "keep"); err != nil && !errors.Is(err, shiplap.ErrNotExist) {
						return fmt.Errorf("removing it again: %w", err)
					}
					t.Done = true
				}
				return removed(t, state)
			}
		}
		all = append(all, s)
	}
	return all
}

func TestInterruptedAnywhere(t *testing.T) { killtest.RunInterrupts(t, interruptScenarios()...) }
