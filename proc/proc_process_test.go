package proc_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/internal/pythontest"
	"github.com/shiplap-ipc/shiplap/proc"
)

func TestManagerKilled(t *testing.T) {
	for _, how := range []string{"alone", "guardian first", "both"} {
		t.Run(how, func(t *testing.T) { testManagerKilled(t, how) })
	}
}

// testManagerKilled: no child and no grandchild survives, and nothing of theirs is left in the domain.
func testManagerKilled(t *testing.T, how string) {
	name := strings.NewReplacer("/", "-", " ", "-").Replace(t.Name())
	exe, err := os.Executable()
	ok(t, err)
	cmd := exec.CommandContext(limit(t), exe)
	cmd.Env = append(os.Environ(), asManager+"="+name)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	ok(t, err)
	defer in.Close()
	out, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	pids := map[string][]int{}
	lines := bufio.NewScanner(out)
	heard, started := 0, false
	for (heard < 12 || !started) && lines.Scan() {
		started = started || lines.Text() == "started"
		_, text, ok := strings.Cut(lines.Text(), " | ")
		if f := strings.Fields(text); ok && len(f) == 2 {
			pids[f[0]] = append(pids[f[0]], number(t, f[1]))
			heard++
		}
		if g, ok := strings.CutPrefix(lines.Text(), "guardian "); ok {
			pids["guardian"] = append(pids["guardian"], number(t, g))
		}
	}
	for _, text := range children(pids["guardian"][0]) {
		pids["all"] = append(pids["all"], number(t, text))
	}
	if len(pids["all"]) < 7 || heard != 12 { // 4 children, 3 orphans
		t.Fatalf("they said %v", pids)
	}
	switch how {
	case "both": // the kernel ends the children; the rest is out of anybody's reach, as documented, and ours to clean up
		ok(t, cmd.Process.Signal(syscall.SIGSTOP))
		ok(t, syscall.Kill(pids["guardian"][0], syscall.SIGKILL))
		awaitDeath(t, pids["child"]...)
		for _, pid := range slices.Concat(pids["child"], pids["fugitive"], pids["orphan"]) {
			_ = syscall.Kill(-pid, syscall.SIGKILL)
		}
	case "guardian first":
		ok(t, syscall.Kill(pids["guardian"][0], syscall.SIGKILL))
		awaitDeath(t, pids["child"]...)
		awaitDeath(t, pids["grandchild"]...)
		for _, pid := range slices.Concat(pids["fugitive"], pids["orphan"]) {
			_ = syscall.Kill(-pid, syscall.SIGKILL) // out of anybody's reach, as documented; ours to clean up
		}
		if s := bufio.NewScanner(out); !s.Scan() { // restarted under another guardian
			t.Error("nothing is restarted")
		}
	}
	ok(t, cmd.Process.Kill())
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	for _, pids := range pids {
		awaitDeath(t, pids...)
	}
	if how == "both" {
		d, err := shiplap.Join(name, nil) // which sweeps
		ok(t, err)
		ok(t, d.Close())
	}
	if !eventually(func() bool { return len(processesIn(name)) == 0 }) {
		t.Errorf("alive in the domain: %v", processesIn(name))
	}
	d, err := shiplap.Look(name, nil) // nobody joined since but the guardian
	ok(t, err)
	defer d.Close()
	if left, err := peertest.Files(d); err != nil || len(left) > 0 {
		t.Errorf("left: %v (%v)", left, err)
	}
}

// processesIn are those that some manager of this test started in that domain.
func processesIn(domain string) (pids []string) {
	all, _ := os.ReadDir("/proc")
	for _, p := range all {
		b, err := os.ReadFile("/proc/" + p.Name() + "/environ")
		env := strings.Split(string(b), "\x00")
		if err == nil && slices.Contains(env, "SHIPLAP_DOMAIN="+domain) && slices.Contains(env, "SHIPLAP_DIR="+os.Getenv("SHIPLAP_DIR")) {
			pids = append(pids, p.Name())
		}
	}
	return pids
}

func TestStopByForce(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "family", Command: sh(family), StopTimeout: 50 * time.Millisecond},
		proc.Spec{Name: "stubborn", Func: "stubborn", Ready: proc.ReadyWord, StopTimeout: 50 * time.Millisecond},
		proc.Spec{Name: "now", Command: sh("trap '' TERM; sleep 1000"), StopTimeout: -1})
	ok(t, b.StartAll(limit(t)))
	pids := map[string]int{}
	b.until("their numbers", func() bool { return len(b.said) == 4 })
	for _, line := range b.heard("family") {
		f := strings.Fields(line)
		pids[f[0]] = number(t, f[1])
	}
	ok(t, b.StopAll(limit(t)))
	for _, who := range []string{"child", "grandchild"} { // the group
		if !dead(pids[who]) {
			t.Errorf("the %s lives", who)
		}
	}
	for _, name := range []string{"family", "stubborn", "now"} {
		s := b.state(name)
		if s.Phase != proc.Stopped || s.Pid != 0 || s.Last == nil || s.Last.Signal != syscall.SIGKILL || !s.Last.Wanted || s.Last.OOM {
			t.Errorf("%v", s)
		}
		if s.Last.Forced != (name != "now") {
			t.Errorf("%s: forced %v", name, s.Last.Forced)
		}
	}
	ok(t, b.Close())
	for who, pid := range pids { // those who left the group end with the manager
		if !dead(pid) {
			t.Errorf("the %s lives", who)
		}
	}
}

// The leader of the group ends at the first word; the rest is given its time.
func TestStopWaitsForGroup(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "g", Command: sh(`trap 'exit 0' TERM; sh -c 'trap "echo cleaning; exec sleep 0.2" TERM; echo ready; while :; do sleep 0.01; done' & wait`)})
	ok(t, b.StartAll(bg))
	b.hear("g | ready")
	ok(t, b.Stop(limit(t), "g"))
	if got := b.heard("g"); !slices.Contains(got, "cleaning") {
		t.Errorf("it said %q", got)
	}
	if s := b.state("g"); s.Last.Code != 0 || s.Last.Forced {
		t.Errorf("%v", s)
	}
}

// What is left of the group of a crashed process is killed, before the process is restarted.
func TestCrashEndsGroup(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "g", Command: sh("sleep 1000 & echo $!; exit 3")})
	ok(t, b.StartAll(bg))
	is(t, b.Wait(limit(t)), proc.ErrFailed)
	b.until("a number", func() bool { return len(b.said) == 1 })
	awaitDeath(t, number(t, b.heard("g")[0]))
}

func TestExits(t *testing.T) {
	b := manage(t, nil)
	b.add(
		proc.Spec{Name: "zero", Command: sh("exit 0"), Restart: proc.OnFailure},
		proc.Spec{Name: "three", Command: sh("exit 3")},
		proc.Spec{Name: "fail", Func: "fail"},
		proc.Spec{Name: "code", Func: "code"},
		proc.Spec{Name: "panic", Func: "panic"},
		proc.Spec{Name: "signal", Command: sh("kill -USR1 $$")},
	)
	ok(t, b.StartAll(bg))
	err := b.Wait(limit(t))
	is(t, err, proc.ErrFailed)
	want := map[string]string{"zero": "exit code 0", "three": "exit code 3", "fail": "exit code 1", "code": "exit code 7", "panic": "exit code 2", "signal": "killed by SIGUSR1"}
	for _, s := range b.States() {
		if got := s.Last.String(); got != want[s.Name] {
			t.Errorf("%s: %s", s.Name, got)
		}
		if phase := s.Phase; (phase == proc.Done) != (s.Name == "zero") || (phase == proc.Failed) == (s.Name == "zero") {
			t.Errorf("%s: %s", s.Name, phase)
		}
		if s.Name != "zero" && !strings.Contains(err.Error(), fmt.Sprintf("process %q: process failed: %s", s.Name, want[s.Name])) {
			t.Errorf("%v does not tell of %s", err, s.Name)
		}
		if s.Last.Ran <= 0 || s.Last.MaxRSS <= 0 || s.Last.Pid == 0 || s.Since.IsZero() {
			t.Errorf("%s: %+v", s.Name, s.Last)
		}
	}
	b.hear("fail | fail: as it must")
	b.hear("panic | panic: at the disco")
	if b.IsAlive("zero") || b.IsAlive("nobody") {
		t.Error("dead ones are alive")
	}
}

func TestCannotStart(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "none", Command: []string{"/no/such/program"}},
		proc.Spec{Name: "path", Command: []string{"no-such-program-in-path"}, Restart: proc.Always, MaxRestarts: 2, Backoff: proc.Backoff{First: time.Millisecond}},
		proc.Spec{Name: "dir", Command: sh("pwd"), Dir: "/no/such/dir"},
		proc.Spec{Name: "denied", Command: []string{"/etc/passwd"}},
		proc.Spec{Name: "here", Command: []string{"./tool", "a"}, Args: []string{"b"}, Dir: t.TempDir()},
		proc.Spec{Name: "limited", Command: []string{"/no/such/program"}, Limits: proc.Limits{proc.CoreSize: 0}})
	for name, want := range map[string]error{"none": os.ErrNotExist, "path": exec.ErrNotFound, "dir": os.ErrNotExist, "denied": os.ErrPermission} {
		err := b.Start(bg, name)
		is(t, err, proc.ErrFailed)
		if !strings.Contains(err.Error(), name) && !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	is(t, b.Wait(limit(t), "path"), proc.ErrFailed)
	if s := b.state("path"); s.Restarts != 2 || s.Last.Pid != 0 || s.Last.Code != -1 {
		t.Errorf("%v", s)
	}
	dir, err := os.MkdirTemp("", "tool-")
	ok(t, err)
	defer os.RemoveAll(dir)
	ok(t, os.WriteFile(dir+"/tool", []byte("#!/bin/sh\necho $0 $*; pwd\n"), 0o700))
	ok(t, b.Remove("here"))
	b.add(proc.Spec{Name: "here", Command: []string{"./tool", "a"}, Args: []string{"b"}, Dir: dir})
	ok(t, b.Start(bg, "here"))
	ok(t, b.Wait(limit(t), "here"))
	if got := b.heard("here"); !slices.Equal(got, []string{"./tool a b", dir}) {
		t.Errorf("it said %q", got)
	}
	ok(t, b.Start(bg, "limited"))
	is(t, b.Wait(limit(t), "limited"), proc.ErrFailed)
	if s := b.state("limited"); s.Last.Code != 127 {
		t.Errorf("%v", s)
	}
}

// A life that was long enough is forgotten: the next restart is the first again.
func TestBackoffReset(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "loop", Command: sh("exit 1"), Restart: proc.OnFailure, MaxRestarts: 4,
		Backoff: proc.Backoff{First: 2 * time.Millisecond, Factor: 3, Jitter: 0.01, Reset: time.Nanosecond}})
	ok(t, b.StartAll(bg))
	is(t, b.Wait(limit(t)), proc.ErrFailed)
	if s := b.state("loop"); s.Restarts != 4 || s.InARow != 1 {
		t.Errorf("%v, %d in a row", s, s.InARow)
	}
	for _, e := range b.events {
		if e.Kind == proc.EventRestarting && e.Delay.Round(time.Millisecond) != 2*time.Millisecond {
			t.Errorf("restarted after %v", e.Delay)
		}
	}
}

// A crash loop is slowed down, is visible, and is given up.
func TestCrashLoop(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "loop", Command: sh("exit 1"), Restart: proc.OnFailure, MaxRestarts: 5,
		Backoff: proc.Backoff{First: 2 * time.Millisecond, Factor: 3, Max: 20 * time.Millisecond, Jitter: 0.01}})
	var exits atomic.Int32
	b.OnUnexpectedExit(func(name string, e proc.Exit) {
		if name == "loop" && e.Code == 1 {
			exits.Add(1)
		}
	})
	ok(t, b.StartAll(bg)) // it ran
	is(t, b.Wait(limit(t)), proc.ErrFailed)
	s := b.state("loop")
	if s.Phase != proc.Failed || s.Restarts != 5 || s.InARow != 5 || exits.Load() != 6 || !strings.Contains(s.Problem, "5 restarts in 1m0s") {
		t.Errorf("%v, %d in a row, %d unexpected", s, s.InARow, exits.Load())
	}
	var delays []time.Duration
	for _, e := range b.events {
		if e.Kind == proc.EventRestarting {
			delays = append(delays, e.Delay.Round(time.Millisecond))
		}
	}
	if ms := time.Millisecond; !slices.Equal(delays, []time.Duration{2 * ms, 6 * ms, 18 * ms, 20 * ms, 20 * ms}) {
		t.Errorf("delays %v", delays)
	}
	// Between restarts it can be seen, started at once, and stopped.
	b.add(proc.Spec{Name: "slow", Command: sh("exit 1"), Restart: proc.Always, Backoff: proc.Backoff{First: time.Hour, Max: time.Hour}})
	ok(t, b.Start(bg, "slow"))
	b.see("slow", proc.EventRestarting, 1)
	if s := b.state("slow"); s.Phase != proc.Pausing || time.Until(s.Next) < 50*time.Minute || s.Pid != 0 {
		t.Errorf("%v", s)
	}
	ok(t, b.Start(bg, "slow"))
	b.see("slow", proc.EventRestarting, 2)
	if s := b.state("slow"); s.Restarts != 1 || s.InARow != 2 {
		t.Errorf("%v", s)
	}
	ok(t, b.Stop(limit(t), "slow"))
	if s := b.state("slow"); s.Phase != proc.Stopped || !s.Next.IsZero() {
		t.Errorf("%v", s)
	}
}

func TestKilledChildIsRestarted(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "s", Func: "sleep", Restart: proc.OnFailure, Ready: proc.ReadyWord, Backoff: proc.Backoff{First: time.Millisecond}})
	var seen time.Time
	b.OnUnexpectedExit(func(string, proc.Exit) { seen = time.Now() })
	ok(t, b.StartAll(limit(t)))
	first := b.state("s")
	killed := time.Now()
	ok(t, syscall.Kill(first.Pid, syscall.SIGKILL))
	b.see("s", proc.EventReady, 2)
	t.Logf("seen %v after kill", seen.Sub(killed))
	s := b.state("s")
	if s.Phase != proc.Running || s.Pid == first.Pid || s.Restarts != 1 || s.Last.Signal != syscall.SIGKILL || s.Last.OOM || s.Last.Wanted {
		t.Errorf("%v", s)
	}
	ok(t, b.Signal("s", syscall.SIGINT)) // ends a function's context
	b.see("s", proc.EventDone, 1)
	is(t, b.Signal("s", syscall.SIGINT), os.ErrProcessDone)
}

func TestGuardianKilled(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "s", Func: "sleep", Restart: proc.Always, Ready: proc.ReadyWord, Backoff: proc.Backoff{First: time.Millisecond}})
	ok(t, b.StartAll(limit(t)))
	guardian := number(t, children(os.Getpid())[0])
	ok(t, syscall.Kill(guardian, syscall.SIGKILL))
	b.see("s", proc.EventReady, 2)
	if s := b.state("s"); !s.Last.Lost || s.Last.Code != -1 {
		t.Errorf("%v", s)
	}
}

// Started in the order of what they need; stopped in reverse.
func TestOrder(t *testing.T) {
	b := manage(t, nil)
	b.add(
		proc.Spec{Name: "web", Func: "sleep", Ready: proc.ReadyWord, After: []string{"db", "migrate"}},
		proc.Spec{Name: "migrate", Command: sh("sleep 0.02; exit 0"), Ready: proc.ReadyExit, After: []string{"db"}},
		proc.Spec{Name: "db", Command: sh("echo >&3; sleep 1000"), Ready: proc.ReadyWord},
		proc.Spec{Name: "apart", Func: "sleep"})
	ok(t, b.Start(limit(t), "web"))
	if b.IsAlive("apart") {
		t.Error("too much was started")
	}
	b.until("the end of the job", func() bool {
		return slices.ContainsFunc(b.events, func(e proc.Event) bool { return e.Kind == proc.EventDone })
	})
	ok(t, b.StopAll(limit(t)))
	var got []string
	for _, e := range b.events { // that the job is done may be told after web has started
		if e.Kind != proc.EventExited && e.Kind != proc.EventDone {
			got = append(got, e.Process+" "+string(e.Kind))
		}
	}
	want := []string{"db starting", "db ready", "migrate starting", "web starting", "web ready",
		"web stopping", "web stopped", "db stopping", "db stopped"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	b.add(proc.Spec{Name: "a", Func: "sleep", After: []string{"b"}}, proc.Spec{Name: "b", Func: "sleep", After: []string{"a"}})
	err := b.StartAll(bg)
	is(t, err, shiplap.ErrConflict)
	if !strings.Contains(err.Error(), "a after b after a") {
		t.Error(err)
	}
	ok(t, b.StopAll(limit(t)))
	b.add(proc.Spec{Name: "lonely", Func: "sleep", After: []string{"nobody"}})
	is(t, b.Start(bg, "lonely"), shiplap.ErrNotExist)
}

func TestDependencyFails(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "job", Command: sh("exit 1"), Ready: proc.ReadyExit}, proc.Spec{Name: "web", Func: "sleep", After: []string{"job"}})
	is(t, b.StartAll(limit(t)), proc.ErrFailed)
	err := b.Wait(limit(t), "web")
	is(t, err, proc.ErrFailed)
	if !strings.Contains(err.Error(), `it starts after "job", which is failed: process failed: exit code 1`) {
		t.Error(err)
	}
}

func TestReadiness(t *testing.T) {
	b := manage(t, nil)
	var tries atomic.Int32
	b.add(
		proc.Spec{Name: "probed", Command: sh("sleep 1000"), ProbeInterval: time.Millisecond, Probe: func(context.Context) error {
			if tries.Add(1) < 3 {
				return errors.New("not yet")
			}
			return nil
		}},
		proc.Spec{Name: "silent", Command: sh("sleep 1000"), Ready: proc.ReadyWord, ReadyTimeout: 20 * time.Millisecond},
		proc.Spec{Name: "again", Command: sh("exec 3>&-; sleep 1000"), Ready: proc.ReadyWord, ReadyTimeout: 20 * time.Millisecond,
			Restart: proc.OnFailure, MaxRestarts: 1, Backoff: proc.Backoff{First: time.Millisecond}},
		proc.Spec{Name: "crash", Command: sh("exit 4"), Ready: proc.ReadyWord},
		proc.Spec{Name: "panic", Command: sh("sleep 1000"), Probe: func(context.Context) error { panic("x") }, ProbeInterval: time.Millisecond, ReadyTimeout: 20 * time.Millisecond},
	)
	ok(t, b.Start(limit(t), "probed"))
	if n := tries.Load(); n != 3 {
		t.Errorf("%d tries", n)
	}
	err := b.Start(limit(t), "silent")
	is(t, err, proc.ErrFailed)
	if !strings.Contains(err.Error(), "not ready within 20ms (killed by SIGTERM)") {
		t.Error(err)
	}
	is(t, b.Start(limit(t), "again"), proc.ErrFailed)
	is(t, b.Wait(limit(t), "again"), proc.ErrFailed)
	if s := b.state("again"); s.Restarts != 1 {
		t.Errorf("%v", s)
	}
	err = b.Start(limit(t), "crash")
	is(t, err, proc.ErrFailed)
	if !strings.Contains(err.Error(), "exit code 4") {
		t.Error(err)
	}
	is(t, b.Start(limit(t), "panic"), proc.ErrFailed)
	// Whoever waits may stop waiting; who is stopped before it is ready tells those who wait.
	b.add(proc.Spec{Name: "never", Command: sh("sleep 1000"), Ready: proc.ReadyWord, ReadyTimeout: -1})
	gone, cancel := context.WithCancel(bg)
	cancel()
	is(t, b.Start(gone, "never"), context.Canceled)
	result := make(chan error)
	go func() { result <- b.Start(limit(t), "never") }()
	b.see("never", proc.EventStarting, 1)
	ok(t, b.Stop(limit(t), "never"))
	is(t, <-result, shiplap.ErrClosed)
}

func TestHooks(t *testing.T) {
	b := manage(t, nil)
	var mu sync.Mutex
	var got []string
	note := func(what string) func(string) {
		return func(name string) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, what+" "+name)
		}
	}
	b.OnBeforeStart(note("before start"))
	b.OnBeforeStart(func(string) { panic("logged, no more") })
	b.OnAfterStart(note("after start"))
	b.OnBeforeShutdown(note("before shutdown"))
	b.OnAfterShutdown(note("after shutdown"))
	b.OnBeforeRestart(note("before restart"))
	b.OnAfterRestart(note("after restart"))
	b.OnUnexpectedExit(func(name string, e proc.Exit) { note("unexpected " + e.String())(name) })
	b.add(proc.Spec{Name: "x", Func: "sleep", Ready: proc.ReadyWord, Restart: proc.OnFailure, Backoff: proc.Backoff{First: time.Millisecond}})
	ok(t, b.StartAll(limit(t)))
	ok(t, b.Restart(limit(t), "x"))
	ok(t, b.Signal("x", syscall.SIGKILL))
	b.until("the last hook", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) > 0 && len(got) >= 13 })
	ok(t, b.StopAll(limit(t)))
	want := []string{"before start x", "after start x",
		"before restart x", "before shutdown x", "after shutdown x", "before start x", "after start x", "after restart x",
		"unexpected killed by SIGKILL x", "before restart x", "before start x", "after start x", "after restart x",
		"before shutdown x", "after shutdown x"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestFifty(t *testing.T) {
	b := manage(t, nil)
	const n = 50
	for i := range n {
		b.add(proc.Spec{Name: fmt.Sprint("c", i), Command: sh("echo $SHIPLAP_PROC; sleep 1000 & wait"), Restart: proc.Always, Backoff: proc.Backoff{First: time.Millisecond}})
	}
	ok(t, b.StartAll(limit(t)))
	before := map[int]bool{}
	for _, s := range b.States() {
		if s.Phase != proc.Running || before[s.Pid] {
			t.Errorf("%v", s)
		}
		before[s.Pid] = true
		ok(t, syscall.Kill(s.Pid, syscall.SIGKILL))
	}
	for i := range n {
		b.see(fmt.Sprint("c", i), proc.EventReady, 2)
	}
	ok(t, b.Restart(limit(t)))
	for _, s := range b.States() {
		if s.Phase != proc.Running || before[s.Pid] || s.Restarts != 0 {
			t.Errorf("%v", s)
		}
	}
	ok(t, b.StopAll(limit(t)))
}

func TestLimits(t *testing.T) {
	b := manage(t, nil)
	l := proc.Limits{proc.OpenFiles: 77, proc.CoreSize: 0, proc.CPUTime: 1000}
	b.add(proc.Spec{Name: "func", Func: "limits", Limits: l},
		proc.Spec{Name: "sh", Command: sh("ulimit -n; ulimit -Hn; ulimit -c; ulimit -t; env | grep SHIPLAP_PROC_; true"), Limits: l},
		proc.Spec{Name: "cpu", Command: sh("while :; do :; done"), Limits: proc.Limits{proc.CPUTime: 1}},
		proc.Spec{Name: "free", Func: "limits"})
	ok(t, b.StartAll(bg))
	is(t, b.Wait(limit(t)), proc.ErrFailed)
	if got := b.heard("func"); !slices.Equal(got, []string{"77 77"}) {
		t.Errorf("%q", got)
	}
	if got := b.heard("free"); slices.Equal(got, []string{"77 77"}) {
		t.Errorf("%q", got)
	}
	if got := b.heard("sh"); !slices.Equal(got, []string{"77", "77", "0", "1000"}) {
		t.Errorf("%q", got)
	}
	if s := b.state("cpu"); s.Last.Signal != syscall.SIGXCPU && s.Last.Signal != syscall.SIGKILL {
		t.Errorf("%v", s)
	}
	if err := b.Add(proc.Spec{Name: "x", Func: "sleep", Limits: proc.Limits{"patience": 1}}); err == nil {
		t.Error("a limit that is none is taken")
	}
}

// Environment, standard input, signals: what a program finds.
func TestSurroundings(t *testing.T) {
	t.Setenv("FROM_PARENT", "p")
	t.Setenv("TWICE", "p")
	b := manage(t, &proc.Options{Name: "host"})
	b.add(proc.Spec{Name: "x", Env: []string{"A=1", "A=2", "TWICE=c"}, Ready: proc.ReadyWord, Command: sh(
		`echo $A $TWICE $FROM_PARENT $SHIPLAP_DOMAIN $SHIPLAP_MANAGER $SHIPLAP_PROC $SHIPLAP_RESTARTS $SHIPLAP_STOP_SIGNAL $SHIPLAP_PROC_ROLE
		cat; test "$SHIPLAP_DIR" = ` + os.Getenv("SHIPLAP_DIR") + ` && echo dir; grep SigIgn /proc/$$/status; ls -l /proc/$$/fd | grep -c socket; echo >&$SHIPLAP_READY_FD`)})
	ok(t, b.StartAll(limit(t)))
	ok(t, b.Wait(limit(t)))
	want := []string{"2 c p TestSurroundings host x 0 15", "dir", "SigIgn:\t0000000000000000", "0"}
	if got := b.heard("x"); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestPython(t *testing.T) {
	py := pythontest.One(t)
	b := manage(t, nil)
	b.add(proc.Spec{Name: "py", Ready: proc.ReadyWord, Command: []string{py.Path, "-u", "-c", `
import os, signal, sys
print(os.environ["SHIPLAP_PROC"], os.environ["SHIPLAP_DOMAIN"])
os.write(int(os.environ["SHIPLAP_READY_FD"]), b"\n")
signal.signal(signal.SIGTERM, lambda *a: (print("told"), sys.exit(0)))
while True: signal.pause()
`}})
	ok(t, b.StartAll(limit(t)))
	b.hear("py | py TestPython")
	ok(t, b.StopAll(limit(t)))
	if got := b.heard("py"); !slices.Equal(got, []string{"py TestPython", "told"}) {
		// it may be stopped before it installs its handler
		if b.state("py").Last.Signal != syscall.SIGTERM {
			t.Errorf("%q, %v", got, b.state("py"))
		}
	}
}

func TestStopSignal(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "sh", Command: sh("trap 'echo usr1; exit 5' USR1; echo ready; while :; do sleep 0.01; done"), StopSignal: syscall.SIGUSR1},
		proc.Spec{Name: "func", Func: "sleep", StopSignal: syscall.SIGUSR2, Ready: proc.ReadyWord},
		proc.Spec{Name: "frozen", Func: "sleep", Ready: proc.ReadyWord})
	ok(t, b.StartAll(limit(t)))
	b.hear("sh | ready")
	ok(t, b.Signal("frozen", syscall.SIGSTOP))
	ok(t, b.StopAll(limit(t)))
	for name, want := range map[string]int{"sh": 5, "func": 0, "frozen": 0} {
		if s := b.state(name); s.Last.Code != want || s.Last.Forced || s.Phase != proc.Stopped {
			t.Errorf("%v", s)
		}
	}
}

func TestBadSpecs(t *testing.T) {
	b := manage(t, nil)
	good := proc.Spec{Name: "x", Func: "sleep"}
	for name, change := range map[string]func(*proc.Spec){
		"no name":        func(s *proc.Spec) { s.Name = "" },
		"slash":          func(s *proc.Spec) { s.Name = "a/b" },
		"long":           func(s *proc.Spec) { s.Name = strings.Repeat("x", 101) },
		"no target":      func(s *proc.Spec) { s.Func = "" },
		"two targets":    func(s *proc.Spec) { s.Command = sh("true") },
		"unregistered":   func(s *proc.Spec) { s.Func = "nonsense" },
		"empty command":  func(s *proc.Spec) { s.Func, s.Command = "", []string{""} },
		"policy":         func(s *proc.Spec) { s.Restart = "sometimes" },
		"readiness":      func(s *proc.Spec) { s.Ready = "soon" },
		"no probe":       func(s *proc.Spec) { s.Ready = proc.ReadyProbe },
		"odd probe":      func(s *proc.Spec) { s.Ready, s.Probe = proc.ReadyWord, func(context.Context) error { return nil } },
		"job for ever":   func(s *proc.Spec) { s.Ready, s.Restart = proc.ReadyExit, proc.Always },
		"negative":       func(s *proc.Spec) { s.MaxRestarts = -1 },
		"signal":         func(s *proc.Spec) { s.StopSignal = 65 },
		"after itself":   func(s *proc.Spec) { s.After = []string{"x"} },
		"NUL":            func(s *proc.Spec) { s.Args = []string{"\x00"} },
		"env":            func(s *proc.Spec) { s.Env = []string{"novalue"} },
		"factor":         func(s *proc.Spec) { s.Backoff.Factor = 0.5 },
		"jitter":         func(s *proc.Spec) { s.Backoff.Jitter = 2 },
		"back-off range": func(s *proc.Spec) { s.Backoff = proc.Backoff{First: time.Hour, Max: time.Second} },
	} {
		s := good
		change(&s)
		if err := b.Add(s); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	b.add(good)
	is(t, b.Add(good), shiplap.ErrExist)
	is(t, b.Start(bg, "y"), shiplap.ErrNotExist)
	is(t, b.Stop(bg, "y"), shiplap.ErrNotExist)
	is(t, b.Remove("y"), shiplap.ErrNotExist)
	ok(t, b.Start(bg, "x"))
	is(t, b.Remove("x"), shiplap.ErrBusy)
	ok(t, b.Stop(limit(t), "x"))
	ok(t, b.Remove("x"))
	_, err := b.State("x")
	is(t, err, shiplap.ErrNotExist)
	ok(t, b.Close())
	is(t, b.Add(good), shiplap.ErrClosed)
	is(t, b.StartAll(bg), shiplap.ErrClosed)
	is(t, b.Close(), shiplap.ErrClosed)
	_, err = proc.New(b.d, &proc.Options{Name: "a/b"})
	is(t, err, shiplap.ErrName)
	_, err = proc.Self()
	is(t, err, shiplap.ErrNotExist)
}
