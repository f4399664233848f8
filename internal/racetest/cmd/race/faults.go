package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/racetest"
)

// putBack builds this command with each fault in it, and runs the scenes that are to find it.
func putBack(ctx context.Context, only string, spell time.Duration) (code int) {
	want, err := regexp.Compile(only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "race:", err)
		return 2
	}
	root, err := racetest.Root()
	if err != nil {
		fmt.Fprintln(os.Stderr, "race:", err)
		return 2
	}
	all, err := racetest.Faults()
	if err != nil {
		fmt.Fprintln(os.Stderr, "race:", err)
		return 2
	}
	for _, f := range all {
		if !want.MatchString(f.Name) {
			continue
		}
		if ctx.Err() != nil {
			return max(code, 2)
		}
		begin := time.Now()
		found, err := finds(ctx, f, root, spell)
		took := time.Since(begin).Round(100 * time.Millisecond)
		switch {
		case err != nil:
			fmt.Fprintln(os.Stderr, "race:", err)
			code = 2
		case found:
			fmt.Printf("%-24s found after %v\n", f.Name, took)
		default:
			fmt.Printf("%-24s NOT FOUND in %v: %s\n", f.Name, took, f.About)
			code = max(code, 1)
		}
	}
	return code
}

// finds reports whether the scenes find a fault.
func finds(ctx context.Context, f racetest.Fault, root string, spell time.Duration) (bool, error) {
	dir, err := os.MkdirTemp("", "race-fault-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	program, err := f.Build(ctx, root, dir)
	if err != nil {
		return false, err
	}
	cmd := exec.CommandContext(ctx, program, "-for", spell.String(), "-first", "-only", f.Scene, "-weather", f.Weather)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return false, nil
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		return true, nil
	}
	return false, fmt.Errorf("fault %s: %w: %s", f.Name, err, out)
}
