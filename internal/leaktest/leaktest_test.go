package leaktest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

// TestLeaves shows that each kind of thing is seen. It looks for itself, so as not to fail.
func TestLeaves(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		what string
		make func() (undo func())
	}{
		{"goroutine", func() func() {
			end := make(chan bool)
			go func() { <-end }()
			return func() { close(end) }
		}},
		{"descriptor", func() func() {
			f, err := os.Open("/dev/null")
			if err != nil {
				t.Fatal(err)
			}
			return func() { f.Close() }
		}},
		{"file", func() func() {
			name := filepath.Join(dir, "object")
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return func() { os.Remove(name) }
		}},
		{"child", func() func() {
			c := exec.Command("sleep", "1000")
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			return func() { c.Process.Kill(); c.Wait() }
		}},
	} {
		before := look(dir)
		undo := c.make()
		if left := strings.Join(before.diff(look(dir)), "\n"); !strings.Contains(left, c.what) {
			t.Errorf("%s: not seen, but %q", c.what, left)
		}
		undo()
		var left []string
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if left = before.diff(look(dir)); len(left) == 0 {
				break
			}
		}
		if len(left) > 0 {
			t.Errorf("%s: still seen after its end: %q", c.what, left)
		}
	}
}
