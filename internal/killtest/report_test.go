package killtest

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	dir := t.TempDir()
	a, b := Report{Path: filepath.Join(dir, "a.jsonl")}, Report{Path: filepath.Join(dir, "b.jsonl")}
	put := Result{Scenario: "queue.Put", Covers: []string{"queue.Raw.Put"}, Instructions: 200, Kills: 202, Stride: 1, EffectStride: 1}
	join := Result{Scenario: "Join", Instructions: 90_000, Kills: 700, Pauses: 30, Stride: 40, EffectStride: 1, Violations: 2}
	disturbed := Result{Scenario: "queue.Put", Interrupted: &Interrupted{Points: 90, Cancels: 12, Closes: 10, Fails: 3, Waits: 4, Execs: 2, Moot: 7}}
	for _, err := range []error{
		a.Add(Result{Scenario: "queue.Put"}), a.Add(put), a.Add(disturbed), b.Add(join), (&Report{}).Add(join),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	results, err := ReadReports(dir)
	if err != nil || len(results) != 3 {
		t.Fatal(results, err)
	}
	page := ReadPage("")
	page.Merge(results)
	wants(t, page.Kills(),
		"| Join |  | 90000 | 0 | 0 | 700 | 30 | 0 | all effects, 1 in 40 others | **2 violations** |\n| queue.Put | queue.Raw.Put | 200 ",
		"| every instruction | ok |",
		"2 scenarios, 932 trials.")
	wants(t, page.Interrupts(), "| queue.Put | 90 | 12 | 10 | 3 | 4 | 2 | 0 | 7 | ok |", "1 scenarios, 27 trials.")
}

// TestPageKeepsRows: new results take the place of old ones of their scenarios and mode, and no others.
func TestPageKeepsRows(t *testing.T) {
	first := ReadPage("")
	first.Merge([]Result{
		{Scenario: "a", Kills: 5, RecoverKills: 3, Deaths: 1, States: 2, Stride: 1, EffectStride: 1},
		{Scenario: "b", Kills: 7, Stride: 1, EffectStride: 1},
		{Scenario: "b", Interrupted: &Interrupted{Cancels: 1}},
	})
	page := ReadPage("# Title\n\n| no | table |\n\n" + first.Kills() + "\nwords\n\n" + first.Interrupts())
	page.Merge([]Result{{Scenario: "b", Kills: 70, Stride: 1, EffectStride: 1}})
	wants(t, page.Kills(), "| a |  | 0 | 0 | 0 | 5 | 0 | 3, at 1 of 2 states |", "| b |  | 0 | 0 | 0 | 70 |", "2 scenarios, 78 trials.")
	wants(t, page.Interrupts(), "| b | 0 | 1 |", "1 scenarios, 1 trials.")
}

func wants(t *testing.T, got string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}
