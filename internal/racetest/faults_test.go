package racetest

import (
	"context"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// TestFaultsApply: the code that a fault changes is still there, and compiles with the fault in it.
func TestFaultsApply(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	all, err := Faults()
	if err != nil || len(all) == 0 {
		t.Fatalf("%d faults: %v", len(all), err)
	}
	for _, f := range all {
		if err := f.Compile(t.Context(), root, t.TempDir()); err != nil {
			t.Error(err)
		}
		r := Run{}
		if err := r.Choose(f.Scene); err != nil || len(r.Scenes()) == 0 {
			t.Errorf("fault %s: no scene is %q (%v)", f.Name, f.Scene, err)
		}
		if _, err := ParseWeather(f.Weather); f.Weather != "" && err != nil {
			t.Errorf("fault %s: %v", f.Name, err)
		}
	}
}

// TestFaultIsFound puts one of them back: that the scenes find something at all. The command tries
// them all.
func TestFaultIsFound(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the module with a fault in it")
	}
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	all, err := Faults()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(f Fault) bool { return f.Name == "dial-unheard" })
	if i < 0 {
		t.Fatal("that fault is not there")
	}
	f := all[i]
	program, err := f.Build(t.Context(), root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args := []string{"-for", "1m", "-first", "-only", f.Scene, "-bound", "2s"}
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
		t.Errorf("fault %s was not found: %v\n%s", f.Name, err, out)
	}
}
