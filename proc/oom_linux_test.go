package proc

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOOMCounter(t *testing.T) {
	dir := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("v2", "0::/a/b\n")
	write("a/b/memory.events", "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n")
	write("v1", "9:name=systemd:/\n4:memory:/c:d\n0::/\n")
	write("memory/c:d/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n")
	write("none", "0::/elsewhere\n\nnonsense\n")
	for file, want := range map[string]uint64{"v2": 2, "v1": 5, "none": 0, "missing": 0} {
		if got := findOOMCounter(filepath.Join(dir, file), dir).read(); got != want {
			t.Errorf("%s: %d", file, got)
		}
	}
}
