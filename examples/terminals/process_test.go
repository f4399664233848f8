package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/internal/pythontest"
	"github.com/shiplap-ipc/shiplap/shm"
)

const asProgram = "SHIPLAP_EXAMPLE_TERMINALS"

// TestMain is the example itself when a test starts it as such.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	leaktest.Main(m)
}

const patience = 30 * time.Second

// program is one side: how to call its two roles.
type program struct{ first, second []string }

var golang = program{[]string{"", "first"}, []string{"", "second"}}

func python(v pythontest.Python) program {
	return program{[]string{v.Path, "first.py"}, []string{v.Path, "second.py"}}
}

func command(t *testing.T, args []string, more ...string) *exec.Cmd {
	t.Helper()
	exe := args[0]
	if exe == "" {
		var err error
		if exe, err = os.Executable(); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), exe, append(args[1:], more...)...)
	cmd.Env = append(os.Environ(), asProgram+"=yes", "SHIPLAP_SHM_DIR=", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// story runs the two against each other and returns what they wrote, the name replaced by NAME.
func story(t *testing.T, one, two program) (first, second string) {
	t.Helper()
	a := command(t, one.first)
	var complaints bytes.Buffer
	a.Stderr = &complaints
	in, err := a.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := a.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(patience, func() { a.Process.Kill() })
	defer stuck.Stop()
	var text strings.Builder
	name := ""
	for lines := bufio.NewScanner(io.TeeReader(out, &text)); lines.Scan(); {
		if n, ok := strings.CutPrefix(lines.Text(), "name: "); ok {
			name = n
		}
		if !strings.HasPrefix(lines.Text(), "then press Enter") {
			continue
		}
		b := command(t, two.second, name)
		got, err := b.Output()
		if err != nil {
			t.Errorf("second: %v", err)
		}
		second = string(got)
		if _, err := io.WriteString(in, "\n"); err != nil {
			t.Error(err)
		}
	}
	if err := a.Wait(); err != nil {
		t.Errorf("first: %v: %s", err, complaints.String())
	}
	if !regexp.MustCompile(`^psm_[0-9a-f]{8}$`).MatchString(name) {
		t.Fatalf("name %q; it wrote %s, %s", name, text.String(), complaints.String())
	}
	if err := shm.Unlink(name, &shm.Options{Dir: "/dev/shm"}); err == nil {
		t.Errorf("%s is left behind", name)
	}
	return strings.ReplaceAll(text.String(), name, "NAME"), second
}

const (
	wantFirst = `name: NAME
bytes: 00 00 00 00 00 00 00 00 00 00
by another handle: 00 00 00 00 00 00 00 00 00 02
in another terminal: go run ./examples/terminals second NAME
                 or: python3 examples/terminals/second.py NAME
then press Enter here
bytes at the end: 01 00 00 00 00 00 00 00 00 02
`
	wantSecond = "bytes: 00 00 00 00 00 00 00 00 00 02\n"
	vanished   = "somebody removed the name: Python does when it ends\n"
)

func check(t *testing.T, one, two program, object, end string) {
	t.Helper()
	if _, err := os.Stat("/dev/shm"); err != nil {
		t.Skipf("shared memory: %v", err)
	}
	first, second := story(t, one, two)
	if want := object + wantFirst + end; first != want {
		t.Errorf("first wrote\n%s\nand not\n%s", first, want)
	}
	if second != wantSecond {
		t.Errorf("second wrote\n%s\nand not\n%s", second, wantSecond)
	}
}

const (
	goObject     = "object: shared memory /dev/shm/NAME (10 bytes)\n"
	pythonObject = "object: SharedMemory('NAME', size=10)\n"
)

func TestGoAndGo(t *testing.T) { check(t, golang, golang, goObject, "") }

func TestGoAndPython(t *testing.T) {
	for _, v := range pythontest.All(t) {
		t.Run(v.String(), func(t *testing.T) { check(t, golang, python(v), goObject, vanished) })
	}
}

func TestPythonAndGo(t *testing.T) {
	for _, v := range pythontest.All(t) {
		t.Run(v.String(), func(t *testing.T) { check(t, python(v), golang, pythonObject, "") })
	}
}

func TestPythonAndPython(t *testing.T) {
	check(t, python(pythontest.One(t)), python(pythontest.One(t)), pythonObject, vanished)
}
