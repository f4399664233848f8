package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/proc"
)

const (
	asProgram = "SHIPLAP_EXAMPLE_CRAWLER"
	deadly    = "SHIPLAP_EXAMPLE_CRAWLER_DEADLY"
)

// TestMain is the example itself when a test, or the example, starts it as such.
func TestMain(m *testing.M) {
	if os.Getenv(deadly) != "" {
		between = func() {
			if os.Getenv(proc.EnvProc) != "" && rand.IntN(10) == 0 { // in a fetcher
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		}
	}
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	leaktest.Main(m)
}

// example runs it as a user would, and returns the lines that it wrote.
func example(t *testing.T, env ...string) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(append(os.Environ(), asProgram+"=yes", "GORACE=atexit_sleep_ms=0"), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Errorf("%v: %s", err, complaints.String())
	}
	if left, err := shiplap.Domains(""); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

var (
	death = regexp.MustCompile(`^request \d+, for (/\w+): kill -9 fetcher [1-4]$`)
	again = regexp.MustCompile(`^fetcher [1-4] \| fetches (/\w+) once more$`)
)

// Each of the eight is killed with a page in its hands, which another one fetches.
func TestCrawler(t *testing.T) {
	var killed, repeated, other []string
	for _, line := range example(t) {
		if m := death.FindStringSubmatch(line); m != nil {
			killed = append(killed, m[1])
		} else if m := again.FindStringSubmatch(line); m != nil {
			repeated = append(repeated, m[1])
		} else {
			other = append(other, line)
		}
	}
	slices.Sort(killed)
	slices.Sort(repeated)
	if len(killed) != 8 || !slices.Equal(killed, repeated) {
		t.Errorf("killed when they fetched %q, and fetched once more were %q", killed, repeated)
	}
	if want := []string{"/gone: Not Found", "8 times a fetcher was killed in the middle of a page", "201 links found, 201 fetched, none lost"}; !slices.Equal(other, want) {
		t.Errorf("it wrote %q, and not %q", other, want)
	}
}

// Fetchers die between the note of a link and the link, too.
func TestDeadly(t *testing.T) {
	lines := example(t, deadly+"=yes")
	repeated := 0
	for _, line := range lines {
		if again.MatchString(line) {
			repeated++
		}
	}
	if last := lines[len(lines)-1]; repeated <= 8 || last != "201 links found, 201 fetched, none lost" {
		t.Errorf("%d pages fetched once more, and it wrote at last\n%s", repeated, last)
	}
}
