//go:build linux && (amd64 || arm64)

package killtest

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m, append(toys, interruptToys...)...) }

func explore(t *testing.T, s Scenario, opt Options) Result {
	t.Helper()
	need(t)
	res, err := Explore(s, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d instructions, %d system calls, %d effects; %d kills, %d pauses, %d recoverer kills; stride %d; "+
		"%d drifted, %d violations; %v, %v a trial",
		res.Instructions, res.Syscalls, res.Effects, res.Kills, res.Pauses, res.RecoverKills, res.Stride,
		res.Drifted, res.Violations, res.Elapsed, res.PerTrial)
	return res
}

func need(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("production build only")
	}
	if err := permitted(); err != nil {
		t.Skip(err)
	}
}

func TestFindsTornState(t *testing.T) {
	for _, s := range []Scenario{torn, tornFar, files} {
		for _, opt := range []Options{{}, {NoBreakpoints: true, Stride: 16}, {Stride: 1 << 30}} {
			res := explore(t, s, opt)
			if res.Violations == 0 {
				t.Fatalf("%s: nothing found", s.Name)
			}
			var steps []int
			for _, v := range res.Found {
				if !strings.Contains(v.Err.Error(), "torn") {
					t.Errorf("%s: %v", s.Name, v)
				}
				steps = append(steps, v.Step)
			}
			slices.Sort(steps)
			steps = slices.Compact(steps) // a trial may have been made again
			first, last := steps[0], steps[len(steps)-1]
			if opt.Stride == 0 && (len(steps) != last-first+1 || res.Kills < res.Instructions+2) {
				t.Errorf("%s: violations at %v in %d kills over %d instructions", s.Name, steps, res.Kills, res.Instructions)
			}
			if first == 0 || last >= res.Instructions {
				t.Errorf("%s: violations at %v of %d", s.Name, steps, res.Instructions)
			}
		}
	}
}

func TestTornStateIsBetweenTheStores(t *testing.T) {
	res := explore(t, torn, Options{})
	for _, v := range res.Found {
		if !strings.Contains(strings.Join(v.Where, "\n"), "toy_test.go") {
			t.Errorf("not in the operation: %v", v)
		}
	}
	if res.Effects != 2 {
		t.Errorf("%d effects in two stores", res.Effects)
	}
	t.Log(res.Found[0])
}

// enough is for every instruction of a toy.
const enough = 20 * time.Second

func TestSingleCommit(t *testing.T) {
	res := Run(t, single, Options{Budget: enough})
	if res.Stride != 1 || res.Effects != 1 || res.Kills < res.Instructions+2 || res.Pauses < res.Instructions+2 {
		t.Errorf("%+v", res)
	}
}

func TestPauseFindsWhatWhileSees(t *testing.T) {
	s := torn
	s.While = s.Check
	res := explore(t, s, Options{Pause: true})
	if res.Violations == 0 || res.Kills != 0 {
		t.Errorf("%+v", res)
	}
	for _, v := range res.Found {
		if v.Mode != Pause || !strings.HasPrefix(v.Err.Error(), "While: torn") {
			t.Error(v)
		}
	}
}

func TestRecoverer(t *testing.T) {
	res := Run(t, intent, Options{Budget: enough})
	if res.Effects != 4 || res.Deaths != 5 || res.RecoverKills < 100 {
		t.Errorf("%+v", res)
	}
	res = explore(t, hasty, Options{Recover: true})
	if res.Violations == 0 || res.Deaths != 2 {
		t.Errorf("%+v", res)
	}
}

// TestExact compares where the victim stands, after single steps and after a breakpoint, with what the program
// must have done by then.
func TestExact(t *testing.T) {
	stepwise, instructions := countedAt(t, Options{NoBreakpoints: true, Stride: 1})
	jumping, _ := countedAt(t, Options{Stride: 1})
	if len(stepwise) != instructions+1 || stepwise[instructions] != 25 {
		t.Errorf("%d different steps, %d at the end", len(stepwise), stepwise[instructions])
	}
	for k, v := range stepwise {
		if jumping[k] != v {
			t.Errorf("step %d: %d by single steps, %d by breakpoint", k, v, jumping[k])
		}
		if before := stepwise[k-1]; k > 0 && v != before && v != before+1 {
			t.Errorf("step %d: %d after %d", k, v, before)
		}
	}
}

// countedAt returns how far the count was at each step. On a busy machine the runtime interferes with trials, which are
// made again then: the last one of a step counts.
func countedAt(t *testing.T, opt Options) (counts map[int]uint64, instructions int) {
	t.Helper()
	for range 5 {
		got := make(chan [2]uint64, 10_000)
		s := count
		s.Setup = newToy
		s.Check = func(t *Trial, state any) error {
			got <- [2]uint64{uint64(t.Step), state.(*toy).get(0)}
			return nil
		}
		res := explore(t, s, opt)
		close(got)
		if res.Drifted > 0 {
			continue
		}
		counts = map[int]uint64{}
		for g := range got {
			counts[int(g[0])] = g[1]
		}
		return counts, res.Instructions
	}
	t.Fatal("no run without a step at which all trials drifted")
	return nil, 0
}

// TestDeathReleasesAll: a lock that dies with the process is free when Check runs.
func TestDeathReleasesAll(t *testing.T) {
	res := explore(t, locked, Options{Stride: 10})
	if res.Violations > 0 || res.Syscalls == 0 {
		t.Errorf("%d system calls, %d violations, first %v", res.Syscalls, res.Violations, res.Found)
	}
}

func TestOtherThreadsHelp(t *testing.T) {
	res := explore(t, helped, Options{Stride: 50})
	if res.Violations > 0 {
		t.Error(res.Found[0])
	}
}

func TestBudget(t *testing.T) {
	res := explore(t, large, Options{Budget: time.Second})
	if res.Stride <= 1 || res.Trials() > res.Instructions/2 {
		t.Errorf("%+v", res)
	}
	steps := time.Duration(res.Instructions)
	t.Logf("recording costs at most %v a step", res.Elapsed/steps)
}

func TestBadVictims(t *testing.T) {
	need(t)
	for _, c := range []struct {
		s    Scenario
		want string
	}{
		{panics, "panic: ouch"},
		{errs, "operation: ouch"},
		{exits, "exited with status 0"},
		{dies, "killed by killed"},
		{sleeps, "time is up"},
		{spins, "more than 5000 steps"},
		{unprepared, "prepare: ouch"},
		{failing("unknown", nil), `no scenario "unknown"`},
		{Scenario{Name: "empty"}, "are required"},
	} {
		c.s.MaxSteps = 5000
		if c.s.Name != spins.Name {
			c.s.MaxSteps = 0
		}
		var opt Options
		if c.s.Name == sleeps.Name {
			opt.Timeout = 500 * time.Millisecond
		}
		_, err := Explore(c.s, opt)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; %q is wanted", c.s.Name, err, c.want)
		}
	}
}

// An operation may go an unusual way just when it is recorded: once, or each time.
func TestUnusualRecording(t *testing.T) {
	for _, odd := range [][]int32{{2}, {1, 2, 3}} {
		s := moody
		var trials atomic.Int32
		s.Setup = func(t *Trial) (any, error) {
			if slices.Contains(odd, trials.Add(1)) {
				t.Arg = "odd"
			}
			return nil, nil
		}
		if res := explore(t, s, Options{}); res.Drifted > 0 {
			t.Errorf("%v: %d trials did not find their steps", odd, res.Drifted)
		}
	}
}

// TestLateFailures are those of an operation that goes well when it is recorded.
func TestLateFailures(t *testing.T) {
	need(t)
	s := moody
	var trials atomic.Int32
	s.Setup = func(t *Trial) (any, error) {
		if trials.Add(1) > 3 { // recordings
			t.Arg = "bad"
		}
		return nil, nil
	}
	res := explore(t, s, Options{})
	if res.Violations == 0 || res.Violations == res.Kills {
		t.Errorf("%+v", res)
	}
	for _, v := range res.Found {
		if msg := v.Err.Error(); !strings.Contains(msg, "exited with status 2") || !strings.Contains(msg, "ouch") {
			t.Error(v)
		}
	}

	for name, c := range map[string]struct {
		check func(*Trial, any) error
		want  string
	}{
		"error": {func(*Trial, any) error { return errors.New("no good") }, "Check: no good"},
		"panic": {func(*Trial, any) error { panic("no good") }, "panic: no good"},
	} {
		s := single
		s.Check = c.check
		res := explore(t, s, Options{Kill: true, Stride: 1 << 30})
		if res.Violations != res.Kills || !strings.Contains(res.Found[0].Err.Error(), c.want) {
			t.Errorf("%s: %+v", name, res)
		}
	}
	s = single
	hang := make(chan struct{})
	defer close(hang)
	s.Check = func(*Trial, any) error { <-hang; return nil }
	_, err := Explore(s, Options{Kill: true, Timeout: 200 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "has not returned") {
		t.Errorf("a check that hangs: %v", err)
	}
}

// TestNothingStays looks for what the tests before may have left behind.
func TestNothingStays(t *testing.T) {
	need(t)
	before := runtime.NumGoroutine()
	dir := t.TempDir()
	if _, err := Explore(single, Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("files stay: %v", left)
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
	children, _ := os.ReadFile("/proc/thread-self/children")
	if len(children) > 0 {
		t.Errorf("children stay: %s", children)
	}
}
