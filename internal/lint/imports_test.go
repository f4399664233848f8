package lint

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// restricted names the packages that may import what nobody else may, each with its reason.
var restricted = map[string]map[string]string{
	"unsafe": {
		"internal/mem":   "atomic views of mapped memory",
		"internal/futex": "addresses for system calls",
	},
	"C": {},
	"golang.org/x/sys/unix": {
		"internal/mem":      "mmap, madvise",
		"internal/futex":    "futex, futex_waitv",
		"internal/segment":  "openat, fallocate, renameat2, fstatfs",
		"internal/member":   "open file description locks",
		"internal/object":   "flags and errno of segments",
		"internal/killtest": "ptrace",
		"internal/bench":    "affinity and rusage",
		"shm":               "memfd and its seals, descriptors over sockets, mapping flags",
		"sysv":              "shmget, shmat, shmctl",
		"fifo":              "mkfifo, opening without blocking",
		"proc":              "process groups, pidfd, subreaper, resource limits",
		"cmd/shiplap":       "statfs and limits for doctor, affinity for bench, terminals",
		".":                 "errno in messages",
	},
}

// light lists the modules that users of the library get.
var light = []string{
	module,
	"golang.org/x/sys",
	"github.com/fxamacker/cbor/v2",
	"github.com/x448/float16", // of cbor
}

func checkRestricted(p pkg) (bad []string) {
	for _, imp := range p.imports {
		allowed, ok := restricted[imp]
		if ok && allowed[p.path] == "" {
			bad = append(bad, fmt.Sprintf("%s imports %s", p.path, imp))
		}
	}
	return bad
}

func checkLight(p pkg) (bad []string) {
	if !inLibrary(p.path) {
		return nil
	}
	for _, imp := range p.imports { // of files for other platforms, too
		first, _, _ := strings.Cut(imp, "/")
		fits := func(m string) bool { return imp == m || strings.HasPrefix(imp, m+"/") }
		if strings.Contains(first, ".") && !slices.ContainsFunc(light, fits) {
			bad = append(bad, fmt.Sprintf("%s imports %s", p.path, imp))
		}
	}
	for _, d := range p.deps {
		if d.module != "" && !slices.Contains(light, d.module) {
			bad = append(bad, fmt.Sprintf("%s depends on %s", p.path, d.path))
		}
	}
	return bad
}

func checkDoc(p pkg) (bad []string) {
	if p.doc == "" || p.name != "main" && !strings.HasPrefix(p.doc, "Package "+p.name+" ") {
		bad = append(bad, fmt.Sprintf("%s has no comment \"Package %s …\"", p.path, p.name))
	}
	return bad
}

var packageRules = map[string]func(pkg) []string{
	"restricted": checkRestricted,
	"layer":      checkLayer,
	"light":      checkLight,
	"doc":        checkDoc,
}

func TestPackages(t *testing.T) {
	m := loaded(t)
	for name, rule := range packageRules {
		t.Run(name, func(t *testing.T) {
			for _, p := range m.pkgs {
				for _, s := range rule(p) {
					t.Error(s)
				}
			}
		})
	}
}

// Each rule must see what it is there for.
func TestPackageRules(t *testing.T) {
	const doc = "Package x does."
	for _, tt := range []struct {
		name string
		p    pkg
		rule string // that objects, or "" for none
	}{
		{"good", pkg{path: "queue", name: "x", doc: doc, imports: []string{module, module + "/internal/row", "fmt"}}, ""},
		{"good unsafe", pkg{path: "internal/mem", name: "x", doc: doc, imports: []string{"unsafe"}}, ""},
		{"unsafe", pkg{path: "queue", name: "x", doc: doc, imports: []string{"unsafe"}}, "restricted"},
		{"unsafe below mem", pkg{path: "internal/mem/sub", name: "x", doc: doc, imports: []string{"unsafe"}}, "restricted"},
		{"cgo", pkg{path: "internal/mem", name: "x", doc: doc, imports: []string{"C"}}, "restricted"},
		{"unix", pkg{path: "pipe", name: "x", doc: doc, imports: []string{"golang.org/x/sys/unix"}}, "restricted"},
		{"up", pkg{path: "internal/row", name: "x", doc: doc, imports: []string{module + "/internal/object"}}, "layer"},
		{"up to the root", pkg{path: "internal/object", name: "x", doc: doc, imports: []string{module}}, "layer"},
		{"beside", pkg{path: "internal/row", name: "x", doc: doc, imports: []string{module + "/internal/table"}}, "layer"},
		{"beside, from below", pkg{path: "internal/row/sub", name: "x", doc: doc,
			imports: []string{module + "/internal/table/sub"}}, "layer"},
		{"own folder", pkg{path: "internal/row", name: "x", doc: doc, imports: []string{module + "/internal/row/sub"}}, ""},
		{"machinery", pkg{path: "queue", name: "x", doc: doc, imports: []string{module + "/internal/killtest/sub"}}, "layer"},
		{"unknown", pkg{path: "kitchen", name: "x", doc: doc}, "layer"},
		{"unknown inside", pkg{path: "internal/kitchen", name: "x", doc: doc}, "layer"},
		{"of unknown", pkg{path: "queue", name: "x", doc: doc, imports: []string{module + "/internal/kitchen"}}, "layer"},
		{"heavy", pkg{path: "queue", name: "x", doc: doc, deps: []dep{{"github.com/spf13/cobra", "github.com/spf13/cobra"}}}, "light"},
		{"heavy elsewhere", pkg{path: "queue", name: "x", doc: doc, imports: []string{"golang.org/x/system"}}, "light"},
		{"heavy command", pkg{path: "cmd/shiplap", name: "main", doc: "Shiplap", imports: []string{"github.com/spf13/cobra"}}, ""},
		{"no doc", pkg{path: "queue", name: "x"}, "doc"},
		{"other doc", pkg{path: "queue", name: "x", doc: "Something."}, "doc"},
	} {
		for name, rule := range packageRules {
			if bad := rule(tt.p); (len(bad) > 0) != (name == tt.rule) {
				t.Errorf("%s: rule %s says %q", tt.name, name, bad)
			}
		}
	}
}
