package main

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

const asProgram = "SHIPLAP_EXAMPLE_CONFIG"

// TestMain is the example itself when a test, or the example, starts it as such.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	leaktest.Main(m)
}

const (
	begins = "begins with {Rate:0 Volume:0 Final:false}"
	ends   = "ends with {Rate:5000 Volume:5000 Final:true}"
)

// again is what the killed one says when it is back: it finds how far the others came meanwhile.
var again = regexp.MustCompile(`^begins with \{Rate:\d+ Volume:\d+ Final:false\}$`)

func TestConfig(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), asProgram+"=yes", "GORACE=atexit_sleep_ms=0")
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

	said := map[string][]string{} // by each, as they come in any order
	for line := range strings.Lines(string(out)) {
		who, what, found := strings.Cut(strings.TrimSuffix(line, "\n"), " | ")
		if !found {
			who, what = "", who
		}
		said[who] = append(said[who], what)
	}
	same := slices.Equal(said["a"], []string{begins, ends}) && slices.Equal(said["c"], []string{begins, ends}) &&
		len(said["b"]) == 3 && said["b"][0] == begins && again.MatchString(said["b"][1]) && said["b"][2] == ends &&
		slices.Equal(said[""], []string{"b: killed by SIGKILL", "10002 changes, none lost: {Rate:5000 Volume:5000 Final:true}"}) &&
		len(said) == 4
	if !same {
		t.Errorf("it wrote\n%s", out)
	}
}
