package logfile_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

// TestMain is a child or the test run.
func TestMain(m *testing.M) {
	if role := os.Getenv("LOGFILE_CHILD"); role != "" {
		if err := child(strings.Fields(role)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leaktest.Main(m)
}
