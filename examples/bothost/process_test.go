package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/internal/pythontest"
)

const asProgram = "SHIPLAP_EXAMPLE_BOTHOST"

// TestMain is the example itself when a test, or the example, starts it as such.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	leaktest.Main(m)
}

// example runs it as a user would, and returns the lines that it wrote. It gets SIGINT when it writes the one that is given.
func example(t *testing.T, interrupt string, args ...string) (said []string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), asProgram+"=yes", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if said = append(said, lines.Text()); lines.Text() == interrupt {
			cmd.Process.Signal(os.Interrupt)
			interrupt = ""
		}
	}
	io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil || complaints.Len() > 0 {
		t.Errorf("%v: %s", err, complaints.String())
	}
	if left, err := shiplap.Domains(""); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	return said
}

// check compares those of the lines that begin so with what is wanted, each without that beginning. Lines of different
// goroutines and processes come in any order.
func check(t *testing.T, said []string, beginning string, want ...string) {
	t.Helper()
	var got []string
	for _, line := range said {
		if rest, found := strings.CutPrefix(line, beginning); found {
			got = append(got, rest)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("after %q it wrote %q\nand not %q\nin\n%s", beginning, got, want, strings.Join(said, "\n"))
	}
}

const (
	passive = "I am liteyuki main process passive"
	active  = "I am liteyuki main process active"
)

// checkBot looks at what is about the bot in Go, in four rounds with a death.
func checkBot(t *testing.T, said []string) {
	t.Helper()
	check(t, said, "nonebot | Passive receive: ", passive, passive, passive, passive) // and no numbers
	check(t, said, "nonebot | Active receive: ", active, active, active, active)
	lives := []string{"online map[bot:nonebot life:1 owner:liteyuki]", "online map[bot:nonebot life:2 owner:liteyuki]"}
	check(t, said, "event ", lives...)
	check(t, said, "nonebot | event ", lives...)
	checkHooks(t, said, "nonebot", "before the start", "after the start", "unexpected end: killed by SIGKILL",
		"before the restart", "before the start", "after the start", "after the restart", "before the shutdown", "after the shutdown")
}

// checkHooks looks at the hooks of one process: the others' come in between.
func checkHooks(t *testing.T, said []string, name string, want ...string) {
	t.Helper()
	var hooks []string
	for _, line := range said {
		if strings.HasPrefix(line, "hook: ") && strings.Contains(line, " of "+name) {
			hooks = append(hooks, strings.Replace(line, " of "+name, "", 1))
		}
	}
	check(t, hooks, "hook: ", want...)
}

func TestGo(t *testing.T) {
	said := example(t, "", "-interval", "1ms", "-python", "/no/python")
	checkBot(t, said)
	check(t, said, "without pybot: ", `exec: "/no/python": stat /no/python: no such file or directory`)
	check(t, said, "pybot | ")
	check(t, said, "storage: ", "owner = liteyuki", "received = 10")
}

func TestPython(t *testing.T) {
	for _, v := range pythontest.All(t) {
		t.Run(v.String(), func(t *testing.T) {
			said := example(t, "", "-interval", "1ms", "-python", v.Path)
			checkBot(t, said)
			check(t, said, "pybot | Active receive: ", active, active, active, active)
			check(t, said, "Passive receive: ", "pybot got: "+active, "pybot got: "+active, "pybot got: "+active, "pybot got: "+active)
			check(t, said, "storage: ", "answers = 4", "owner = liteyuki", "received = 10")
			if all := strings.Join(said, "\n"); !regexp.MustCompile(`(?m)^pybot \| I am process pybot of domain example-bothost-\d+$`).MatchString(all) {
				t.Errorf("it wrote\n%s", all)
			}
		})
	}
}

// Ctrl-C ends it in order.
func TestInterrupt(t *testing.T) {
	said := example(t, "nonebot | Active receive: "+active, "-interval", "1ms", "-rounds", "0", "-kill", "0", "-python", pythontest.One(t).Path)
	for _, name := range []string{"nonebot", "pybot"} {
		checkHooks(t, said, name, "before the start", "after the start", "before the shutdown", "after the shutdown")
	}
}
