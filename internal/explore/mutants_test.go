//go:build explore

package explore

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is one fault in the code that ships, and the scene that finds it.
type mutant struct {
	name, file string
	old, new   string // what stands there once, and what takes its place
	scene      string // -run
	like       string // of the failure
	in         string // package of the scene; this one if empty
}

const forEver = "asleep for ever"

var mutants = []mutant{
	{"a reader looks for a writer before it notes itself", "internal/rwlock/rwlock.go",
		"	l.table.Add(1)\n	if !l.writer.Held() {", "	held := l.writer.Held()\n	l.table.Add(1)\n	if !held {",
		"TestRWLock", "inside (", ""},
	{"a reader that withdraws does not wake the writer", "internal/rwlock/rwlock.go",
		"l.drained.WakeAll()", "_ = l", "TestRWLock", forEver, ""},
	{"taking over from a writer notes no damage", "internal/rwlock/rwlock.go",
		"		l.damaged.StoreRelease(1)\n", "", "TestRWLock", "not told", ""},
	{"writing is cleared before damaged is set", "internal/rwlock/rwlock.go",
		"		l.damaged.StoreRelease(1)\n		l.writing.StoreRelease(0)", "		l.writing.StoreRelease(0)\n		l.damaged.StoreRelease(1)",
		"TestRWLockDeathOfTaker", "not told", ""},
	{"the last one at a barrier wakes nobody", "internal/barrier/barrier.go",
		"if n == 0 || n+1 == b.parties {", "if n == 0 {", "TestBarrier", forEver, ""},
	{"a party that gives up does not break the round", "internal/barrier/barrier.go",
		"	if err != nil {\n		b.breakRound(v)\n	}\n", "", "TestBarrier", "they met: true", ""},
	{"a party is counted before it is noted in the table", "internal/barrier/barrier.go",
		"		b.enter(v)\n		next := v + 1", "		defer b.enter(v)\n		next := v + 1", "TestBarrierAfterDeath", "met a dead one", ""},
}

// TestMutants puts each fault into the code, by an overlay of the file, and sees its scene fail. That takes the
// compiler some seconds each, so it is done on demand:
//
//	SHIPLAP_EXPLORE_MUTANTS=1 go test -tags explore -timeout 60m -run TestMutants -v ./internal/explore
//
// Without that, it looks whether the mutants still fit the code.
func TestMutants(t *testing.T) {
	root, err := filepath.Abs("../..")
	must(err)
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			file := filepath.Join(root, m.file)
			text, err := os.ReadFile(file)
			must(err)
			if n := strings.Count(string(text), m.old); n != 1 {
				t.Fatalf("%s has %d places that read\n%s", m.file, n, m.old)
			}
			if os.Getenv("SHIPLAP_EXPLORE_MUTANTS") == "" {
				return
			}
			dir := t.TempDir()
			mutated, overlay := filepath.Join(dir, filepath.Base(file)), filepath.Join(dir, "overlay.json")
			must(os.WriteFile(mutated, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600))
			b, err := json.Marshal(map[string]any{"Replace": map[string]string{file: mutated}})
			must(err)
			must(os.WriteFile(overlay, b, 0o600))
			out, err := exec.Command("go", "test", "-tags", "explore", "-vet", "off", "-count", "1", "-failfast", "-overlay", overlay,
				"-run", m.scene, filepath.Join(root, cmp.Or(m.in, "internal/explore"))).CombinedOutput()
			switch {
			case err == nil:
				t.Errorf("%s did not find it", m.scene)
			case !strings.Contains(string(out), "schedule: "), !strings.Contains(string(out), m.like):
				t.Errorf("%s failed otherwise than with %q:\n%s", m.scene, m.like, out)
			}
		})
	}
}
