package main

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

const asProgram = "SHIPLAP_EXAMPLE_COUNTER"

// TestMain is the example itself when a test, or the example, starts it as such.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	leaktest.Main(m)
}

var story = regexp.MustCompile(`^4 processes add 1 to one number, 50000 times each\. Process 1 is killed in the middle of its addition 12345\.

a lock\.Mutex around plain memory
  process 1 stands still in the middle: kill -9
  (process [2-4]|the parent) gets the lock with ErrOwnerDied: the number is \+1 off; repaired
  the number is 162344 = 3 × 50000 \+ 12344, as it should be

shared\.Value\.Update
  process 1 stands still in the middle: kill -9
  the number is 162344 = 3 × 50000 \+ 12344, as it should be

shared\.Add, one atomic instruction
  process 1 stands still in the middle: kill -9
  the number is 162344 = 3 × 50000 \+ 12344, as it should be
$`)

func TestCounter(t *testing.T) {
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
	if err != nil {
		t.Errorf("%v: %s", err, complaints.String())
	}
	if !story.Match(out) {
		t.Errorf("it wrote\n%s", out)
	}
	if left, err := shiplap.Domains(""); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
