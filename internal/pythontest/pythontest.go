// Package pythontest finds the stock Pythons of the machine for tests that talk to them.
package pythontest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Python is an interpreter that runs.
type Python struct {
	Path    string
	Version string // "3.11.7"
	NumPy   string // its version, empty where there is none
	CBOR    bool   // whether it has cbor2
}

// String is how subtests call it.
func (p Python) String() string { return "python" + p.Version }

// AtLeast reports whether it is 3.minor or later.
func (p Python) AtLeast(minor int) bool { return p.minor() >= minor }

func (p Python) minor() (n int) {
	_, rest, _ := strings.Cut(p.Version, ".")
	for _, c := range rest {
		if c < '0' || c > '9' {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// places are where interpreters lie; pyenv's, which are on PATH only as shims, included.
func places() []string {
	var all []string
	dirs := filepath.SplitList(os.Getenv("PATH"))
	root := os.Getenv("PYENV_ROOT")
	if home, err := os.UserHomeDir(); root == "" && err == nil {
		root = filepath.Join(home, ".pyenv")
	}
	more, _ := filepath.Glob(filepath.Join(root, "versions", "*", "bin"))
	for _, d := range append(more, dirs...) {
		found, _ := filepath.Glob(filepath.Join(d, "python3*"))
		all = append(all, found...)
	}
	return all
}

var find = sync.OnceValue(func() (all []Python) {
	seen := map[string]bool{}
	for _, path := range places() {
		name := strings.TrimPrefix(filepath.Base(path), "python3")
		if strings.Trim(name, ".0123456789") != "" { // python3-config and the like
			continue
		}
		real, err := filepath.EvalSymlinks(path)
		if _, e := os.Stat(filepath.Join(filepath.Dir(path), "..", "pyvenv.cfg")); e == nil {
			real = filepath.Dir(path) // an environment has modules of its own
		}
		if err != nil || seen[real] {
			continue
		}
		seen[real] = true
		if p, ok := ask(path); ok && !seen[p.Version+p.Path] {
			seen[p.Version+p.Path] = true
			all = append(all, p)
		}
	}
	return all
})

const question = `
import sys, multiprocessing.shared_memory
print(sys.executable)
print("%d.%d.%d" % sys.version_info[:3])
try:
    import numpy
    print(numpy.__version__)
except ImportError:
    print()
try:
    import cbor2
    print("cbor2")
except ImportError:
    print()
`

func ask(path string) (Python, bool) {
	out, err := exec.Command(path, "-c", question).Output()
	lines := strings.Split(string(out), "\n")
	if err != nil || len(lines) < 4 {
		return Python{}, false
	}
	return Python{Path: lines[0], Version: lines[1], NumPy: lines[2], CBOR: lines[3] != ""}, true
}

// All are the Pythons found, 3.8 or later, each version and place once. The test is skipped when there
// is none.
func All(t testing.TB) []Python {
	t.Helper()
	var all []Python
	versions := map[string]bool{}
	for _, p := range find() {
		if key := p.Version + p.NumPy; p.AtLeast(8) && !versions[key] {
			versions[key] = true
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		t.Skip("no Python 3.8 or later on this machine")
	}
	return all
}

// One is any Python; the test is skipped when there is none.
func One(t testing.TB) Python {
	t.Helper()
	return All(t)[0]
}

// WithNumPy is a Python that has NumPy; the test is skipped when there is none.
func WithNumPy(t testing.TB) Python {
	t.Helper()
	for _, p := range find() {
		if p.NumPy != "" {
			return p
		}
	}
	t.Skip("no Python with NumPy on this machine (Debian: apt-get install python3-numpy)")
	return Python{}
}

// WithCBOR is a Python that has cbor2; the test is skipped when there is none.
func WithCBOR(t testing.TB) Python {
	t.Helper()
	for _, p := range find() {
		if p.CBOR && p.AtLeast(8) {
			return p
		}
	}
	t.Skip("no Python with cbor2 on this machine (Debian: apt-get install python3-cbor2)")
	return Python{}
}
