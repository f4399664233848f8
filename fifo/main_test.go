package fifo_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap/fifo"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

// TestMain is a child or the test run.
func TestMain(m *testing.M) {
	if role := os.Getenv("FIFO_CHILD"); role != "" {
		if err := child(strings.Fields(role)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leaktest.Main(m)
}

func newFIFO(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bell")
	ok(t, fifo.Make(path, 0o600))
	return path
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
