package queue_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/queue"
)

var bg = killtest.Background()

// TestMain is victim, peer or test run; the latter must leave nothing behind.
func TestMain(m *testing.M) {
	killtest.RunVictim(scenarios()...)
	roles.Run(nil)
	goroutines, files := runtime.NumGoroutine(), descriptors()
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
		if n := descriptors(); n > files {
			left += fmt.Sprintf("%d descriptors, %d before: %s\n", n, files, openFiles())
		}
		if kids := leaktest.Children(); len(kids) > 0 {
			left += fmt.Sprintf("children: %v\n", kids)
		}
		if left == "" {
			return ""
		}
		time.Sleep(10 * time.Millisecond)
	}
	return left
}

func descriptors() int { return len(openFiles()) }

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

func threads(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\nThreads:")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// shmDir is a directory on /dev/shm for one test.
func shmDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "shiplap-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func join(t testing.TB, dir string) *shiplap.Domain {
	t.Helper()
	d, err := shiplap.Join("", &shiplap.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ok(t, d.Close()) })
	return d
}

// raw makes a queue called "q" in a domain of its own.
func raw(t testing.TB, opt *queue.Options) (d *shiplap.Domain, q *queue.Raw) {
	t.Helper()
	d = join(t, shmDir(t))
	q, err := queue.CreateRaw(d, "q", opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil && !errors.Is(err, shiplap.ErrClosed) {
			t.Error(err)
		}
	})
	return d, q
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v; %v is wanted", what, err, want)
	}
}

// message is number i in n bytes, every one of which depends on i.
func message(i, n int) []byte {
	b := make([]byte, n)
	binary.LittleEndian.PutUint64(b, uint64(i))
	for k := 8; k < n; k++ {
		b[k] = byte(i*31 + k*7)
	}
	return b
}

// number is the inverse; torn messages are errors.
func number(b []byte) (int, error) {
	if len(b) < 8 {
		return 0, fmt.Errorf("torn: a message of %d bytes", len(b))
	}
	i := int(binary.LittleEndian.Uint64(b))
	if !bytes.Equal(b, message(i, len(b))) {
		return 0, fmt.Errorf("torn: message %d of %d bytes: %x", i, len(b), b)
	}
	return i, nil
}

func eventually(f func() bool) bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Microsecond) {
		if f() {
			return true
		}
	}
	return f()
}
