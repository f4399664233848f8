package racetest

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Fault is something that was wrong once, and that the scenes find if it is put back. The files in
// testdata/faults hold them:
//
//	scene: regular expression for the scenes that find it
//	weather: in which they do, if not in any
//	about: what it is, in a line
//	note: for people
//	=== file
//	<<<
//	lines of the code as it is
//	>>>
//	lines of the code with the fault
//	=== …
type Fault struct {
	Name    string
	Scene   string
	Weather string
	About   string
	edits   []edit
}

type edit struct{ file, is, was string }

//go:embed testdata/faults
var faultFiles embed.FS

// Faults are all of them.
func Faults() (all []Fault, err error) {
	const dir = "testdata/faults"
	entries, err := faultFiles.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		b, err := faultFiles.ReadFile(path.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		f, err := parseFault(strings.TrimSuffix(e.Name(), ".txt"), string(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		all = append(all, f)
	}
	return all, nil
}

func parseFault(name, text string) (f Fault, err error) {
	f.Name = name
	head, rest, _ := strings.Cut(text, "=== ")
	for line := range strings.Lines(head) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "scene":
			f.Scene = value
		case "weather":
			f.Weather = value
		case "about":
			f.About = value
		case "note":
		default:
			return f, fmt.Errorf("no such line: %q", line)
		}
	}
	if f.Scene == "" || f.About == "" || rest == "" {
		return f, fmt.Errorf("a scene, a line about it and an edit are wanted")
	}
	for part := range strings.SplitSeq(rest, "\n=== ") {
		file, body, ok1 := strings.Cut(part, "\n<<<\n")
		is, was, ok2 := strings.Cut(body+"\n", "\n>>>\n") // with nothing behind it, too
		if !ok1 || !ok2 {
			return f, fmt.Errorf("an edit begins with %q", firstLines(part, 2))
		}
		f.edits = append(f.edits, edit{file, is, strings.TrimRight(was, "\n")})
	}
	return f, nil
}

// Apply returns the files of the module below root that the fault changes, changed.
func (f Fault) Apply(root string) (changed map[string][]byte, err error) {
	changed = map[string][]byte{}
	for _, e := range f.edits {
		b, seen := changed[e.file]
		if !seen {
			if b, err = os.ReadFile(filepath.Join(root, e.file)); err != nil {
				return nil, err
			}
		}
		if n := bytes.Count(b, []byte(e.is)); n != 1 {
			return nil, fmt.Errorf("fault %s: %s has these lines %d times:\n%s", f.Name, e.file, n, e.is)
		}
		changed[e.file] = bytes.Replace(b, []byte(e.is), []byte(e.was), 1)
	}
	return changed, nil
}

// Build builds the command of the module below root, with the fault in it, as dir/race.
func (f Fault) Build(ctx context.Context, root, dir string) (program string, err error) {
	program = filepath.Join(dir, "race")
	return program, f.compile(ctx, root, dir, "-o", program, "./internal/racetest/cmd/race")
}

// Compile compiles the packages that the fault changes, with the fault in them. Files go to dir.
func (f Fault) Compile(ctx context.Context, root, dir string) error {
	var packages []string
	for _, e := range f.edits {
		packages = append(packages, "./"+path.Dir(e.file))
	}
	slices.Sort(packages)
	return f.compile(ctx, root, dir, slices.Compact(packages)...)
}

// compile runs go build in root on the code with the fault in it.
func (f Fault) compile(ctx context.Context, root, dir string, args ...string) error {
	list, err := f.overlay(root, dir)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-overlay", list}, args...)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s with fault %s: %w: %s", cmd, f.Name, err, out)
	}
	return nil
}

// overlay writes the changed files into dir, and the list of them that go build takes.
func (f Fault) overlay(root, dir string) (list string, err error) {
	changed, err := f.Apply(root)
	if err != nil {
		return "", err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, b := range changed {
		with := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(with, b, 0o600); err != nil {
			return "", err
		}
		overlay.Replace[filepath.Join(root, file)] = with
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	list = filepath.Join(dir, "overlay.json")
	return list, os.WriteFile(list, text, 0o600)
}

// Root is the directory of the module, for a program that runs in it.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if filepath.Base(mod) != "go.mod" {
		return "", fmt.Errorf("go env GOMOD says %q: run this inside of the module", mod)
	}
	return filepath.Dir(mod), nil
}
