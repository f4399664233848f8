package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

const asProgram = "SHIPLAP_EXAMPLE_PRODUCERCONSUMER"

// TestMain is the example itself when a test, or the example, starts it as such.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	leaktest.Main(m)
}

// example runs it as a user would, and returns what it wrote.
func example(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), asProgram+"=yes", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err = cmd.Run()
	if left, err := shiplap.Domains(""); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	return out.String(), complaints.String(), err
}

func TestExample(t *testing.T) {
	const want = "收到了 0\n收到了 1\n收到了 2\n收到了 3\n收到了 4\n"
	for _, over := range []string{"queue", "pipe"} {
		t.Run(over, func(t *testing.T) {
			out, complaints, err := example(t, "-over", over)
			if out != want || complaints != "" || err != nil {
				t.Errorf("it wrote\n%s\n%s\n%v", out, complaints, err)
			}
		})
	}
}

func TestNoSuchWay(t *testing.T) {
	out, complaints, err := example(t, "-over", "pigeon")
	if out != "" || err == nil || !strings.Contains(complaints, "queue or pipe") {
		t.Errorf("it wrote\n%s\n%s\n%v", out, complaints, err)
	}
}
