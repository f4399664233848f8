package killtest

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// Run performs the trials of a scenario and fails the test for each violation (showing the first ten). Where the
// system does not permit ptrace, and under the race detector, it skips; where CI is set, only the race detector is
// an excuse. The result also goes to the coverage file, see Report.
func Run(t *testing.T, s Scenario, opt Options) Result {
	t.Helper()
	if raceEnabled {
		t.Skip("killtest: runs on the production build only, not under the race detector")
	}
	if err := permitted(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("killtest: cannot trace a child: %v", err)
		}
		t.Skipf("killtest: cannot trace a child: %v", err)
	}
	fromEnvironment(t, &opt)
	res, err := Explore(s, opt)
	for i, v := range res.Found {
		if i == 10 {
			t.Errorf("%s: %d violations in all", s.Name, res.Violations)
			break
		}
		t.Errorf("%s: %v", s.Name, v)
	}
	if err != nil {
		t.Fatal(err)
	}
	if opt.Interrupt {
		t.Logf("%s: %d instructions, %d system calls, %d effects; %v; %d drifted; %v, %v a trial", s.Name, res.Instructions, res.Syscalls,
			res.Effects, res.Interrupted, res.Drifted, res.Elapsed.Round(time.Millisecond), res.PerTrial.Round(10*time.Microsecond))
		if err := coverage.Add(res); err != nil {
			t.Errorf("coverage file: %v", err)
		}
		return res
	}
	t.Logf("%s: %d instructions, %d system calls, %d effects; %d kills, %d pauses, %d recoverer kills (%d deaths, %d states); "+
		"stride %d, effects %d; %d drifted, %d repeated; %v, %v a trial, %d workers",
		s.Name, res.Instructions, res.Syscalls, res.Effects, res.Kills, res.Pauses, res.RecoverKills, res.Deaths, res.States,
		res.Stride, res.EffectStride, res.Drifted, res.Repeated,
		res.Elapsed.Round(time.Millisecond), res.PerTrial.Round(10*time.Microsecond), res.Workers)
	if err := coverage.Add(res); err != nil {
		t.Errorf("coverage file: %v", err)
	}
	return res
}

func fromEnvironment(t *testing.T, opt *Options) {
	t.Helper()
	number(t, "SHIPLAP_KILL_STRIDE", &opt.Stride)
	number(t, "SHIPLAP_KILL_PHASE", &opt.Phase)
	number(t, "SHIPLAP_KILL_WORKERS", &opt.Workers)
	opt.full = os.Getenv("SHIPLAP_KILL_FULL") == "1"
	opt.quick = (testing.Short() || !Thorough()) && !opt.full
	switch s := os.Getenv("SHIPLAP_KILL_BUDGET"); {
	case s != "":
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			t.Fatalf("SHIPLAP_KILL_BUDGET=%q: a duration is wanted", s)
		}
		opt.Budget = d
	case opt.Budget == 0 && opt.quick:
		opt.Budget = quickBudget
	case opt.Budget == 0:
		opt.Budget = ciBudget
	}
}

// number reads a number from the environment, if it is there.
func number(t *testing.T, name string, n *int) {
	t.Helper()
	if s := os.Getenv(name); s != "" {
		v, err := strconv.Atoi(s)
		if err != nil || v < 0 {
			t.Fatalf("%s=%q: a number is wanted", name, s)
		}
		*n = v
	}
}
