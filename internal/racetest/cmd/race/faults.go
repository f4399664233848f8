package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
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
		what, err := finds(ctx, f, root, spell)
		took := time.Since(begin).Round(100 * time.Millisecond)
		switch {
		case err != nil:
			fmt.Fprintln(os.Stderr, "race:", err)
			code = 2
		case what != "":
			fmt.Printf("%-24s found after %v: %s\n", f.Name, took, what)
		default:
			fmt.Printf("%-24s NOT FOUND in %v: %s\n", f.Name, took, f.About)
			code = max(code, 1)
		}
	}
	return code
}

// finds is what the scenes find of a fault, "" if nothing.
func finds(ctx context.Context, f racetest.Fault, root string, spell time.Duration) (what string, err error) {
	dir, err := os.MkdirTemp("", "race-fault-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	program, err := f.Build(ctx, root, dir)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, program, "-for", spell.String(), "-first", "-only", f.Scene, "-weather",
		f.Weather)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "", nil
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		for line := range strings.Lines(string(out)) {
			if first(line) {
				return strings.TrimSpace(line), nil
			}
		}
		return "something", nil
	}
	return "", fmt.Errorf("fault %s: %w: %s", f.Name, err, out)
}

// first reports whether a line is the first of a violation.
func first(line string) bool {
	scene, _, ok := strings.Cut(line, ": ")
	return ok && slices.Contains((&racetest.Run{}).Scenes(), scene)
}
