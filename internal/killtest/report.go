package killtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
)

// Report collects results and keeps a file of them, one JSON object a line.
type Report struct {
	Path string // of the file; "" keeps none

	mu      sync.Mutex
	results []Result
}

// coverage is the report of this test binary.
var coverage = Report{Path: coveragePath()}

// Add takes a result in, in place of an earlier one of the same scenario, and writes the file anew.
func (r *Report) Add(res Result) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.results, func(old Result) bool {
		return old.Scenario == res.Scenario && (old.Interrupted == nil) == (res.Interrupted == nil)
	})
	if i < 0 {
		r.results = append(r.results, res)
	} else {
		r.results[i] = res
	}
	if r.Path == "" {
		return nil
	}
	var b bytes.Buffer
	for _, res := range r.results {
		if err := json.NewEncoder(&b).Encode(res); err != nil {
			return err
		}
	}
	return os.WriteFile(r.Path, b.Bytes(), 0o644)
}

// coveragePath derives the file's name from the package under test.
func coveragePath() string {
	dir := os.Getenv("SHIPLAP_COVERAGE_DIR")
	if dir == "" {
		return ""
	}
	name := filepath.Base(os.Args[0])
	if bi, ok := debug.ReadBuildInfo(); ok && bi.Path != "" {
		name = bi.Path
	}
	name = strings.TrimSuffix(name, ".test")
	return filepath.Join(dir, strings.ReplaceAll(name, "/", "-")+".jsonl")
}

// ReadReports reads what the test binaries left in a directory.
func ReadReports(dir string) ([]Result, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return nil, err
	}
	var results []Result
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(b) {
			var res Result
			if err := json.Unmarshal(line, &res); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			results = append(results, res)
		}
	}
	return results, nil
}

func (r Result) recovered() string {
	if r.States == 0 {
		return "0"
	}
	return fmt.Sprintf("%d, at %d of %d states", r.RecoverKills, r.Deaths, r.States)
}

// Points says which instructions the trials were at.
func (r Result) Points() string {
	switch {
	case r.EffectStride > 1:
		return fmt.Sprintf("1 in %d effects, 1 in %d others", r.EffectStride, r.Stride)
	case r.Stride > 1:
		return fmt.Sprintf("all effects, 1 in %d others", r.Stride)
	}
	return "every instruction"
}

// row is the result's in the table of its mode.
func (r Result) row() string {
	if n := r.Interrupted; n != nil {
		return fmt.Sprintf("| %s | %d | %d | %d | %d | %d | %d | %d | %d | %s |", r.Scenario, n.Points,
			n.Cancels, n.Closes, n.Fails, n.Waits, n.Execs, n.Orphans, n.Moot, r.verdict())
	}
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %d | %d | %s | %s | %s |", r.Scenario, strings.Join(r.Covers, ", "),
		r.Instructions, r.Syscalls, r.Effects, r.Kills, r.Pauses, r.recovered(), r.Points(), r.verdict())
}

func (r Result) verdict() string {
	if r.Violations > 0 {
		return fmt.Sprintf("**%d violations**", r.Violations)
	}
	return "ok"
}
