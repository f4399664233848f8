package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/pythontest"
)

// transcript is what a process writes, for many to look at.
type transcript struct {
	t  *testing.T
	mu sync.Mutex
	b  bytes.Buffer
}

func (tr *transcript) Write(b []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.b.Write(b)
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.b.String()
}

// match waits until n lines match, and returns them as the pattern groups them.
func (tr *transcript) match(pattern string, n int) [][]string {
	tr.t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	for end := time.Now().Add(hangBound); ; time.Sleep(time.Millisecond) {
		if all := re.FindAllStringSubmatch(tr.String(), -1); len(all) >= n {
			return all
		}
		if time.Now().After(end) {
			tr.t.Fatalf("never %d times %q in\n%s", n, pattern, tr)
		}
	}
}

// running is a shiplap run, with all it writes.
type running struct {
	*proc
	said *transcript
	file string
}

func (s *tool) runFile(text string, args ...string) *running {
	s.t.Helper()
	dir := s.t.TempDir()
	file := filepath.Join(dir, "f.yaml")
	write(s.t, file, text)
	tr := &transcript{t: s.t}
	p := s.startBoth(tr, append([]string{"run", file}, args...)...)
	return &running{p, tr, file}
}

func (s *tool) startBoth(out *transcript, args ...string) *proc {
	s.t.Helper()
	p := s.prepare(args...)
	p.Stdout, p.Stderr = out, out
	p.WaitDelay = hangBound
	if err := p.Start(); err != nil {
		s.t.Fatal(err)
	}
	return p
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func isDead(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	return len(f) > 0 && (f[0] == "Z" || f[0] == "X")
}

func (r *running) pids(pattern string, n int) (pids []int) {
	r.t.Helper()
	for _, m := range r.said.match(pattern, n) {
		pid, err := strconv.Atoi(m[1])
		if err != nil {
			r.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func die(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		for end := time.Now().Add(hangBound); !isDead(pid); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("process %d lives", pid)
				_ = syscall.Kill(pid, syscall.SIGKILL)
				break
			}
		}
	}
}

// families are processes that do not want to die, and of which some hide.
const families = `
x-family: &family
  restart: {policy: always, first: 1ms}
  command: |
    trap '' TERM INT HUP
    echo "pid $$"
    sh -c 'echo "pid $$"; sleep 1000' &
    setsid sh -c 'echo "pid $$"; sleep 1000' &
    (setsid sh -c 'echo "pid $$"; sleep 1000' &)
    wait
processes:
  one: *family
  two: *family
  waiting: {command: sleep 1000, after: slow}
  slow: {command: 'echo "pid $$"; sleep 1000', ready: {exec: 'echo "pid $$" >&2; sleep 1000', timeout: never, attempt: 1h}}
  loop: {command: exit 1, restart: {policy: always, first: 1ms, max: 20ms}}
`

// processesBelow are those that some manager started in a domain below that directory.
func processesBelow(dir string) (pids []string) {
	all, _ := os.ReadDir("/proc")
	for _, p := range all {
		b, err := os.ReadFile("/proc/" + p.Name() + "/environ")
		if err == nil && slices.Contains(strings.Split(string(b), "\x00"), "SHIPLAP_DIR="+dir) {
			pids = append(pids, p.Name())
		}
	}
	return pids
}

func TestRunKilled(t *testing.T) {
	s := newTool(t)
	r := s.runFile(families)
	pids := r.pids(`\| pid (\d+)$`, 9)
	r.said.match(`^loop +\* restarting`, 5)
	r.Process.Kill()
	r.ends(-1)
	die(t, pids)
	s.until("nobody is left, not even of the probe", func(*shiplap.Domain) bool { return len(processesBelow(s.dir)) == 0 })
	s.until("the guardian swept", func(d *shiplap.Domain) bool {
		all, err := d.Members()
		return err == nil && len(all) == 1
	})
	s.left()
}

func TestRunInterruptedInOrder(t *testing.T) {
	for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			s := newTool(t)
			script := `trap 'echo "$SHIPLAP_PROC stops"; exit 0' TERM; echo >&3; while :; do sleep 0.01; done`
			r := s.runFile(fmt.Sprintf(`
processes:
  web: {command: &c %q, ready: word, after: [api]}
  api: {command: *c, ready: word, after: db}
  db: {command: *c, ready: word}
  loop: {command: exit 1, restart: {policy: always, first: 1h}}
`, strings.ReplaceAll(script, `"`, "")))
			r.said.match(`^web +\* ready`, 1)
			r.said.match(`^loop +\* restarting`, 1)
			r.Process.Signal(sig)
			r.ends(128 + int(sig))
			var order []string
			for _, m := range r.said.match(`^\w+ +\| (\w+) stops$`, 3) {
				order = append(order, m[1])
			}
			if !slices.Equal(order, []string{"web", "api", "db"}) {
				t.Errorf("they stop in the order %q", order)
			}
			s.left()
		})
	}
}

// Ctrl-C at a terminal is for us alone; once more kills.
func TestRunAtTerminal(t *testing.T) {
	keys, tty := terminal(t)
	s := newTool(t)
	file := filepath.Join(t.TempDir(), "f.yaml")
	write(t, file, strings.ReplaceAll(families, "{policy: always, first: 1ms}", "always"))
	p := s.in(&syscall.SysProcAttr{Setsid: true, Setctty: true}, tty, "run", file)
	tty.Close()
	said := &transcript{t: t}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 4096)
		for {
			n, err := keys.Read(buf)
			said.Write(buf[:n])
			if err != nil { // nobody has it open any more
				return
			}
		}
	}()
	r := &running{p.proc, said, file}
	pids := r.pids(`\| ?(?:\x1b\[0m)? pid (\d+)\r?$`, 9)
	keys.WriteString(ctrlC)
	stopped := make(chan struct{})
	go func() { // until it is heard as another one
		defer close(stopped)
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-tick.C:
				keys.WriteString(ctrlC)
			case <-ended:
				return
			}
		}
	}()
	r.ends(130)
	for _, pid := range pids {
		if !isDead(pid) {
			t.Errorf("process %d lives", pid)
		}
	}
	<-ended
	<-stopped
	s.left()
}

func TestRunRestarts(t *testing.T) {
	s := newTool(t)
	r := s.runFile(`
processes:
  web: {command: 'echo "pid $$"; exec sleep 1000', restart: {policy: on-failure, first: 1ms}, channels: false}
`)
	first := r.pids(`^web +\| pid (\d+)$`, 1)[0]
	syscall.Kill(first, syscall.SIGKILL)
	second := r.pids(`^web +\| pid (\d+)$`, 2)[1]
	out := s.run("ps")
	if want := fmt.Sprintf(`(?m)^main +web +running +yes +%d +\S+ +1 +killed by SIGKILL +`, second); !regexp.MustCompile(want).MatchString(out) {
		t.Errorf("no %q in\n%s", want, out)
	}
	r.said.match(`^web +\* exited \(pid \d+\): killed by SIGKILL$`, 1)
	r.said.match(`^web +\* restarting in \S+$`, 1)
	s.run("restart", "web")
	third := r.pids(`^web +\| pid (\d+)$`, 3)[2]
	die(t, []int{second})
	s.run("stop", "web") // it stays: somebody may start it again
	die(t, []int{third})
	s.run("start", "web")
	r.pids(`^web +\| pid (\d+)$`, 4)
	r.Process.Signal(unix.SIGINT)
	r.ends(130)
	s.left()
}

func TestRunWatch(t *testing.T) {
	s := newTool(t)
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	if err := os.MkdirAll(filepath.Join(src, "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "a.conf"), "1")
	text := func(more string) string {
		return fmt.Sprintf(`
processes:
  conf: {command: 'echo "conf $(cat %[1]s/a.conf)"; exec sleep 1000', watch: %[1]s/*.conf}
  tree: {command: 'echo "tree $(find %[1]s/src -type f | wc -l)"; exec sleep 1000', watch: [%[1]s/src, %[1]s/not-yet/there]}
  still: {command: 'echo "still $$"; exec sleep 1000'}
%[2]s`, dir, more)
	}
	r := s.runFile(text(""), "--watch")
	r.said.match(`^conf +\| conf 1$`, 1)
	r.said.match(`^tree +\| tree 0$`, 1)
	r.said.match(`^still +\| still`, 1)

	write(t, filepath.Join(dir, "a.conf"), "22")
	r.said.match(`^conf +\| conf 22$`, 1)
	replace(t, filepath.Join(dir, "a.conf"), "333") // as editors do
	r.said.match(`^conf +\| conf 333$`, 1)
	write(t, filepath.Join(src, "deep", "x"), "")
	r.said.match(`^tree +\| tree 1$`, 1)
	if err := os.MkdirAll(filepath.Join(src, "new"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(src, "new", "y"), "")
	r.said.match(`^tree +\| tree 2$`, 1)
	if err := os.MkdirAll(filepath.Join(dir, "not-yet"), 0o700); err != nil {
		t.Fatal(err)
	}
	starts := len(r.said.match(`^tree +\| tree`, 1))
	write(t, filepath.Join(dir, "not-yet", "there"), "")
	r.said.match(`^tree +\| tree`, starts+1)

	// The file itself: what differs is changed, the rest is left alone.
	replace(t, r.file, text("  more: {command: 'echo more; exec sleep 1000', after: still}"))
	r.said.match(`^more +\| more$`, 1)
	r.said.match(`^shiplap +\* the file changed: new more$`, 1)
	replace(t, r.file, text("  more: {comand: x}"))
	r.said.match(`^shiplap +\* .*unknown key "comand"`, 1)
	r.said.match(`^shiplap +\* the file is wrong: all goes on as it was$`, 1)
	replace(t, r.file, text("  more: {command: 'echo changed; exec sleep 1000', after: still}"))
	r.said.match(`^more +\| changed$`, 1)
	s.run("stop", "conf")
	replace(t, r.file, text(""))
	r.said.match(`^shiplap +\* the file changed: removed more$`, 1)
	r.said.match(`^more +\* exited`, 2)
	write(t, filepath.Join(dir, "a.conf"), "4444") // stopped by order: it stays so
	write(t, filepath.Join(src, "z"), "")
	r.said.match(`^tree +\| tree 3$`, 1)
	if got := r.said.match(`^(still|conf) +\| (\w+)`, 1); len(got) != 4 {
		t.Errorf("%q", got)
	}
	if out := s.run("ps"); strings.Contains(out, "more") || !regexp.MustCompile(`conf +stopped`).MatchString(out) {
		t.Error(out)
	}
	r.Process.Signal(unix.SIGTERM)
	r.ends(143)
	s.left()
}

func replace(t *testing.T, file, text string) {
	t.Helper()
	write(t, file+"~new", text)
	if err := os.Rename(file+"~new", file); err != nil {
		t.Fatal(err)
	}
}

// A reader of our output that goes away ends it, and in order.
func TestRunBrokenPipe(t *testing.T) {
	s := newTool(t)
	file := filepath.Join(t.TempDir(), "f.yaml")
	write(t, file, `processes: {talk: {command: 'while :; do echo "pid $$"; done'}}`)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := s.start(nil, w, "run", file)
	w.Close()
	if _, err := r.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	p.ends(exitFailure)
	if !strings.Contains(p.stderr.String(), "standard output: broken pipe") {
		t.Errorf("it said %q", p.stderr.String())
	}
	s.left()
}

// Nobody reads, and the processes go on all the same; so does what stops them.
func TestRunBlockedOutput(t *testing.T) {
	s := newTool(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "f.yaml")
	write(t, file, `processes: {flood: {command: 'seq 300000; : > through; head -c 10000000 /dev/zero >&2; : > throughout; exec sleep 1000'}}`)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := s.prepare("run", file)
	p.Stdout, p.Stderr = w, w
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for _, name := range []string{"through", "throughout"} {
		s.until(name, func(*shiplap.Domain) bool {
			_, err := os.Stat(filepath.Join(dir, name))
			return err == nil
		})
	}
	p.Process.Signal(unix.SIGINT)
	p.ends(130)
	s.left()
}

func TestRunPython(t *testing.T) {
	py := pythontest.One(t)
	s := newTool(t)
	r := s.runFile(fmt.Sprintf(`
processes:
  py:
    command:
      - %s
      - -u
      - -c
      - |
        import os, signal, subprocess, sys
        print(os.environ["SHIPLAP_PROC"], os.environ["SHIPLAP_DOMAIN"])
        signal.signal(signal.SIGTERM, lambda *a: (print("told"), sys.exit(0)))
        os.write(int(os.environ["SHIPLAP_READY_FD"]), b"\n")
        print(subprocess.check_output(["shiplap", "ps"]).decode())
        while True: signal.pause()
    ready: word
`, py.Path))
	r.said.match(`^py +\| py default$`, 1)
	r.said.match(`^py +\| main +py +(starting|running) `, 1)
	r.said.match(`^py +\* ready`, 1)
	r.Process.Signal(unix.SIGINT)
	r.ends(130)
	r.said.match(`^py +\| told$`, 1)
	s.left()
}
