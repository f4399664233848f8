package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/sysv"
)

// TestMain is the program itself in a child, or the test run.
func TestMain(m *testing.M) {
	if os.Getenv("SYSVFIFO") != "" {
		main()
		os.Exit(0)
	}
	leaktest.Main(m)
}

// program is a command line of one of the two programs in one of the two languages.
type program func(args ...string) *exec.Cmd

func goProgram(role string) program {
	return func(args ...string) *exec.Cmd {
		cmd := exec.Command(os.Args[0], append([]string{role}, args...)...)
		cmd.Env = append(os.Environ(), "SYSVFIFO=1")
		return cmd
	}
}

func cpp(t *testing.T, role string) program {
	t.Helper()
	compiler, err := exec.LookPath("g++")
	if err != nil {
		t.Skip("no C++ compiler: ", err)
	}
	bin := filepath.Join(t.TempDir(), role)
	if out, err := exec.Command(compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-o", bin, "cpp/"+role+".cpp").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return func(args ...string) *exec.Cmd { return exec.Command(bin, args...) }
}

func TestGoAndGo(t *testing.T)   { talk(t, goProgram("a"), goProgram("b")) }
func TestGoAndCpp(t *testing.T)  { talk(t, goProgram("a"), cpp(t, "b")) }
func TestCppAndGo(t *testing.T)  { talk(t, cpp(t, "a"), goProgram("b")) }
func TestCppAndCpp(t *testing.T) { talk(t, cpp(t, "a"), cpp(t, "b")) }

// talk has A send lines, each when B has shown the one before.
func talk(t *testing.T, a, b program) {
	dir := t.TempDir()
	bell := filepath.Join(dir, "bell")
	args := []string{dir, "65", bell}
	key, err := sysv.Ftok(dir, 65)
	ok(t, err)

	pa := a(args...)
	in, err := pa.StdinPipe()
	ok(t, err)
	start(t, pa)
	for end := time.Now().Add(30 * time.Second); ; { // until A has made both
		if time.Now().After(end) {
			t.Fatal("A makes nothing")
		}
		_, err1 := sysv.Find(key)
		_, err2 := os.Stat(bell)
		if err1 == nil && err2 == nil {
			break
		}
	}
	pb := b(args...)
	out, err := pb.StdoutPipe()
	ok(t, err)
	start(t, pb)
	lines := bufio.NewScanner(out)
	for _, text := range []string{"hello", "", "größe 日本", strings.Repeat("long ", 200), "bye"} {
		_, err := io.WriteString(in, text+"\n")
		ok(t, err)
		if !lines.Scan() || !strings.HasSuffix(lines.Text(), "B got: "+text) {
			t.Fatalf("B says %q, %v; want %q", lines.Text(), lines.Err(), text)
		}
	}
	ok(t, in.Close())
	if !lines.Scan() || !strings.HasSuffix(lines.Text(), "B stops") {
		t.Errorf("B says %q, %v", lines.Text(), lines.Err())
	}
	ok(t, pa.Wait())
	ok(t, pb.Wait())
	if info, err := sysv.Find(key); err == nil {
		t.Errorf("left behind: %v", info)
	}
	if _, err := os.Stat(bell); err == nil {
		t.Error("left behind: the FIFO")
	}
}

func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ok(t, cmd.Start())
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
