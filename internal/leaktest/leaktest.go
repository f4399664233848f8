// Package leaktest fails a test binary that leaves something behind: goroutines, descriptors,
// children, mappings, or files in the directory that its tests share memory in (D39). Use it from
// TestMain:
//
//	func TestMain(m *testing.M) { leaktest.Main(m) }
//
// Main points $SHIPLAP_DIR to a directory of its own on /dev/shm, and TMPDIR below it.
package leaktest

import (
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is how long what is on its way out may take.
const patience = 5 * time.Second

// Main runs the tests, then looks for what they left. It does not return.
func Main(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	if slices.Contains(os.Args, "-test.fuzzworker") {
		return m.Run() // its parent looks, and kills it when time is up
	}
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		base = os.TempDir()
	}
	dir, err := os.MkdirTemp(base, "shiplap-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Setenv("SHIPLAP_DIR", dir)
	os.Setenv("TMPDIR", dir)
	warmUp()
	before := look(dir)
	if code = m.Run(); code != 0 {
		return code
	}
	left := before.Left()
	if len(left) == 0 {
		return 0
	}
	fmt.Fprintln(os.Stderr, "the tests left behind:\n"+strings.Join(left, "\n"))
	pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
	return 1
}

// warmUp opens and starts what the runtime opens or starts once and keeps.
func warmUp() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt) // fuzzing does
	signal.Stop(c)
	r, w, err := os.Pipe()
	if err == nil {
		r.Close()
		w.Close()
	}
}

// Picture is what a process has at one moment.
type Picture struct {
	dir        string
	goroutines int
	fds        []string
	children   []string
	maps       []string
	files      []string
}

// Look takes a picture of this process.
func Look() Picture { return look("") }

func look(dir string) Picture {
	return Picture{dir, runtime.NumGoroutine(), Descriptors(), Children(), Mappings("/shiplap"), files(dir)}
}

// Left lists what the process has now and had not then. What is on its way out gets a few seconds.
func (p Picture) Left() (left []string) {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		runtime.GC() // memory of small objects goes with them
		if left = p.diff(look(p.dir)); len(left) == 0 || time.Now().After(end) {
			return left
		}
	}
}

func (p Picture) diff(now Picture) (left []string) {
	if now.goroutines > p.goroutines {
		left = append(left, fmt.Sprintf("%d goroutines", now.goroutines-p.goroutines))
	}
	for _, k := range []struct {
		what     string
		was, are []string
	}{{"descriptor", p.fds, now.fds}, {"child", p.children, now.children}, {"mapping", p.maps, now.maps}, {"file", p.files, now.files}} {
		was := slices.Clone(k.was)
		for _, s := range k.are {
			if i := slices.Index(was, s); i >= 0 {
				was = slices.Delete(was, i, i+1)
				continue
			}
			left = append(left, k.what+" "+s)
		}
	}
	return left
}

// Descriptors says what the open descriptors of the process lead to.
func Descriptors() []string {
	const dir = "/proc/self/fd"
	entries, _ := os.ReadDir(dir)
	var all []string
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		// The runtime's poller stays once it is there.
		if err != nil || strings.HasPrefix(to, "anon_inode:[eventpoll]") || strings.HasPrefix(to, "anon_inode:[eventfd]") {
			continue
		}
		all = append(all, to)
	}
	return all
}

// Children are the processes that this one has started and that were not waited for.
func Children() []string { return ChildrenOf("self") }

// ChildrenOf are the processes that a process has started and that were not waited for.
func ChildrenOf(pid string) []string {
	var all []string
	tasks, _ := filepath.Glob("/proc/" + pid + "/task/*/children")
	for _, t := range tasks {
		b, err := os.ReadFile(t)
		if err == nil {
			all = append(all, strings.Fields(string(b))...)
		}
	}
	return all
}

// Mappings are the mapped files whose path contains part.
func Mappings(part string) []string {
	b, _ := os.ReadFile("/proc/self/maps")
	var all []string
	for line := range strings.Lines(string(b)) {
		if i := strings.IndexByte(line, '/'); i >= 0 && strings.Contains(line[i:], part) && strings.Contains(line, "s ") {
			if !strings.Contains(line[:i], " rw-s ") {
				continue
			}
			all = append(all, strings.TrimSpace(line[i:]))
		}
	}
	return all
}

// files are what lies in the directory, if there is one, except the tables of members, which stay.
func files(dir string) []string {
	if dir == "" {
		return nil
	}
	var all []string
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "#members" {
			all = append(all, path)
		}
		return nil
	})
	return all
}
