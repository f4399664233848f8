package rpc_test

import (
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/rpc"
)

// interruptScenarios are those of the kill trials, and a call that takes an hour.
func interruptScenarios() (all []killtest.Scenario) {
	for _, s := range scenarios() {
		s.Interrupt = &killtest.Interruption{Slow: s.Name != "rpc/Call"}
		all = append(all, s)
	}
	return append(all, killtest.Scenario{
		Name: "rpc/Call of a slow function", Setup: serving, Check: alone,
		Prepare:   caller(func(c *rpc.Client) error { _, err := rpc.Call[int64, int64](bg, c, "sleep", 3_600_000); return err }),
		Interrupt: &killtest.Interruption{Waits: true},
	})
}

func TestInterruptedAnywhere(t *testing.T) { killtest.RunInterrupts(t, interruptScenarios()...) }
