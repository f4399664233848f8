package lint

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// layers lists all packages from low to high. A package imports only what stands in a line below its own, so those of
// one line do not know each other. A package that is in no line belongs to the nearest folder above it that is, whose
// packages may import each other. docs/design.md draws the same lines, from high to low.
var layers = [][]string{
	{"internal/errs", "internal/futex"},
	{"internal/envelope", "internal/mem", "internal/room"},
	{"internal/schema", "internal/segment"},
	{"internal/bell"},
	{"internal/wait"},
	{"internal/message", "internal/member", "internal/npy", "internal/wordlock"},
	{"internal/shares", "internal/row", "internal/table"},
	{"internal/barrier", "internal/object", "internal/rwlock"},
	{"internal/mutex"},
	{"."},
	{"fifo", "logfile", "shm", "sysv"},
	{"lock", "pipe", "pymp", "queue", "shared", "store", "topic"},
	{"channel", "rpc"},
	{"proc"},
	{"internal/hangtest", "internal/leaktest", "internal/explore", "internal/layouttest", "internal/lint", "internal/pythontest"},
	{"internal/bench", "internal/killtest", "internal/peertest", "internal/racetest"},
	{"bench", "cmd", "examples"},
}

// libraryLines is how many of the lines are the library. What is above them may import more, and the library does not import it.
var libraryLines = slices.IndexFunc(layers, func(line []string) bool { return slices.Contains(line, "proc") }) + 1

// entry is a place in the table.
type entry struct {
	name string
	line int
}

var entries = func() map[string]entry {
	m := make(map[string]entry)
	for i, line := range layers {
		for _, p := range line {
			m[p] = entry{p, i}
		}
	}
	return m
}()

// entryOf is the place of a package.
func entryOf(path string) (entry, bool) { return lookup(entries, path) }

func inLibrary(path string) bool {
	e, known := entryOf(path)
	return !known || e.line < libraryLines
}

func checkLayer(p pkg) (bad []string) {
	own, ok := entryOf(p.path)
	if !ok {
		return []string{fmt.Sprintf("%s stands in no layer: put it into the table", p.path)}
	}
	for _, imp := range p.imports {
		if !ours(imp) {
			continue
		}
		switch other, ok := entryOf(relative(imp)); {
		case !ok:
			bad = append(bad, fmt.Sprintf("%s imports %s, which stands in no layer", p.path, relative(imp)))
		case other.line > own.line:
			bad = append(bad, fmt.Sprintf("%s imports %s, which is above it", p.path, relative(imp)))
		case other.line == own.line && other.name != own.name:
			bad = append(bad, fmt.Sprintf("%s imports %s, which stands beside it: one of them belongs into a line of its own",
				p.path, relative(imp)))
		}
	}
	return bad
}

// The drawing: lines that begin with a package, behind this mark, in groups that empty lines divide.
const (
	housePage = "docs/design.md"
	houseMark = "<!-- house -->"
)

// drawnLayers reads the drawing from below.
func drawnLayers(page string) (drawn [][]string) {
	_, page, _ = strings.Cut(page, houseMark+"\n\n")
	var group []string
	for l := range strings.Lines(page) {
		l, inside := strings.CutPrefix(l, "    ")
		if name, _, _ := strings.Cut(strings.TrimSpace(l), " "); inside && name != "" {
			group = append(group, name)
			continue
		}
		if group != nil {
			slices.Sort(group)
			drawn, group = append(drawn, group), nil
		}
		if !inside && strings.TrimSpace(l) != "" {
			break
		}
	}
	slices.Reverse(drawn)
	return drawn
}

func TestHouseIsDrawn(t *testing.T) {
	page, err := os.ReadFile("../../" + housePage)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range compareLayers(drawnLayers(string(page)), layers) {
		t.Errorf("%s: %s", housePage, s)
	}
}

func compareLayers(drawn, table [][]string) (bad []string) {
	if len(drawn) != len(table) {
		bad = append(bad, fmt.Sprintf("%d lines are drawn, the table has %d", len(drawn), len(table)))
	}
	for i := range min(len(drawn), len(table)) {
		if line := slices.Sorted(slices.Values(table[i])); !slices.Equal(drawn[i], line) {
			bad = append(bad, fmt.Sprintf("line %d from below has %q, in the table %q", i+1, drawn[i], line))
		}
	}
	return bad
}

func TestHouseRule(t *testing.T) {
	page := "x\n    a   not this\n\n" + houseMark + "\n\n    top    the cellar's opposite\n\n    b/c    one\n    a      two\n\n    .      the root\n\nText.\n\n    d\n"
	table := [][]string{{"."}, {"a", "b/c"}, {"top"}}
	if bad := compareLayers(drawnLayers(page), table); bad != nil {
		t.Error(bad)
	}
	for _, other := range [][][]string{
		{{"."}, {"a"}, {"b/c"}, {"top"}},
		{{"."}, {"top"}, {"a", "b/c"}},
		{{"."}, {"a", "b/c", "d"}, {"top"}},
		{{"."}, {"a", "b/c"}},
	} {
		if compareLayers(drawnLayers(page), other) == nil {
			t.Errorf("%q is drawn otherwise, and nothing says so", other)
		}
	}
}
