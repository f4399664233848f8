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
	for _, err := range []error{a.Add(Result{Scenario: "queue.Put"}), a.Add(put), b.Add(join), (&Report{}).Add(join)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	results, err := ReadReports(dir)
	if err != nil || len(results) != 2 {
		t.Fatal(results, err)
	}
	got := Markdown(results)
	for _, want := range []string{
		"| Join |  | 90000 | 0 | 0 | 700 | 30 | 0 | all effects, 1 in 40 others | **2 violations** |\n| queue.Put | queue.Raw.Put | 200 ",
		"| every instruction | ok |",
		"2 scenarios, 932 trials.",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}
