package shiplap_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/killtest"
)

// TestMain is victim or test run; the latter must leave nothing behind.
func TestMain(m *testing.M) {
	killtest.RunVictim(interruptScenarios()...)
	goroutines, files := runtime.NumGoroutine(), len(openFiles())
	code := m.Run()
	if code == 0 {
		if left := leftovers(goroutines, files); left != "" {
			fmt.Fprintln(os.Stderr, "left behind:", left)
			code = 1
		}
	}
	os.Exit(code)
}

// leftovers says what there is more than before, after some patience.
func leftovers(goroutines, files int) (left string) {
	for range 200 {
		left = ""
		if n := runtime.NumGoroutine(); n > goroutines {
			buf := make([]byte, 1<<16)
			left += fmt.Sprintf("%d goroutines, %d before\n%s", n, goroutines, buf[:runtime.Stack(buf, true)])
		}
		if open := openFiles(); len(open) > files {
			left += fmt.Sprintf("%d descriptors, %d before: %s\n", len(open), files, open)
		}
		if left == "" {
			return ""
		}
		time.Sleep(10 * time.Millisecond)
	}
	return left
}

// openFiles are those that are not the runtime's own.
func openFiles() (names []string) {
	list, _ := filepath.Glob("/proc/self/fd/*")
	for _, l := range list {
		to, err := os.Readlink(l)
		if err == nil && to != "anon_inode:[eventpoll]" && to != "anon_inode:[eventfd]" && !strings.HasPrefix(to, "/sys/fs/cgroup/") {
			names = append(names, to)
		}
	}
	return names
}
