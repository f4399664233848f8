package proc_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/bell"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
	"github.com/shiplap-ipc/shiplap/proc"
)

var quick = proc.Backoff{First: time.Microsecond, Max: time.Microsecond}

// Starting what runs is nothing, and does not shorten a later back-off.
func TestStartOfRunning(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "s", Func: "sleep", Ready: proc.ReadyWord, Restart: proc.Always, Backoff: proc.Backoff{First: time.Hour, Max: time.Hour}})
	ok(t, b.StartAll(limit(t)))
	pid := b.state("s").Pid
	ok(t, b.StartAll(limit(t)))
	if now := b.state("s").Pid; now != pid {
		t.Errorf("pid %d, then %d", pid, now)
	}
	ok(t, b.Signal("s", syscall.SIGKILL))
	b.see("s", proc.EventRestarting, 1)
	short, cancel := context.WithTimeout(bg, 20*time.Millisecond)
	defer cancel()
	is(t, b.Wait(short, "s"), context.DeadlineExceeded)
	if s := b.state("s"); s.Phase != proc.Pausing || s.Restarts != 0 {
		t.Errorf("%v", s)
	}
	// Started in its back-off it is waited for, although it was ready before.
	ok(t, b.Start(limit(t), "s"))
	if s := b.state("s"); s.Phase != proc.Running || s.Restarts != 1 {
		t.Errorf("%v", s)
	}
}

// A start that comes while its end is still being told is not lost.
func TestStartAtTheEnd(t *testing.T) {
	b := manage(t, nil)
	ended, goOn := make(chan bool), make(chan bool)
	first := true
	b.OnEvent(func(e proc.Event) {
		if e.Kind == proc.EventDone && first {
			first = false
			close(ended)
			<-goOn
		}
	})
	b.add(proc.Spec{Name: "job", Command: sh("exit 0"), Ready: proc.ReadyExit})
	result := make(chan error, 2)
	go func() { result <- b.Start(limit(t), "job") }()
	<-ended
	go func() { result <- b.Start(limit(t), "job") }()
	time.AfterFunc(20*time.Millisecond, func() { close(goOn) }) // mostly when the second one has looked
	ok(t, <-result)
	ok(t, <-result)
	ok(t, b.Wait(limit(t)))
	b.see("job", proc.EventStarting, 2)
}

// Who waits for a process that is restarted meanwhile waits for the new one.
func TestRestartDuringStart(t *testing.T) {
	b := manage(t, nil)
	file := filepath.Join(t.TempDir(), "go")
	b.add(proc.Spec{Name: "s", Command: sh(`while ! [ -e "$FILE" ]; do sleep 0.01; done; echo >&3; sleep 1000`), Env: []string{"FILE=" + file}, Ready: proc.ReadyWord})
	started, restarted := make(chan error, 1), make(chan error, 1)
	go func() { started <- b.Start(limit(t), "s") }()
	b.see("s", proc.EventStarting, 1)
	go func() { restarted <- b.Restart(limit(t), "s") }()
	b.see("s", proc.EventStarting, 2)
	select {
	case err := <-started:
		t.Fatalf("Start returned %v, and %v", err, b.state("s"))
	case <-time.After(20 * time.Millisecond):
	}
	ok(t, os.WriteFile(file, nil, 0o600))
	ok(t, <-started)
	ok(t, <-restarted)
	if s := b.state("s"); s.Phase != proc.Running {
		t.Errorf("%v", s)
	}
}

// A probe that does not come back holds up neither Stop, nor the news of a crash, nor the time for being ready.
func TestProbeHangs(t *testing.T) {
	b := manage(t, nil)
	release := make(chan bool)
	defer close(release)
	hang := func(context.Context) error { <-release; return nil }
	b.add(proc.Spec{Name: "stopped", Command: sh("sleep 1000"), Probe: hang, ReadyTimeout: -1},
		proc.Spec{Name: "late", Command: sh("sleep 1000"), Probe: hang, ReadyTimeout: 20 * time.Millisecond},
		proc.Spec{Name: "crashes", Command: sh("exit 3"), Probe: hang, ReadyTimeout: -1, Restart: proc.Always, MaxRestarts: 3, Backoff: quick})
	result := make(chan error, 1)
	go func() { result <- b.Start(limit(t), "stopped") }()
	b.see("stopped", proc.EventStarting, 1)
	ok(t, b.Stop(limit(t), "stopped"))
	is(t, <-result, shiplap.ErrClosed)
	is(t, b.Start(limit(t), "late"), proc.ErrFailed)
	is(t, b.Start(limit(t), "crashes"), proc.ErrFailed)
	is(t, b.Wait(limit(t), "crashes"), proc.ErrFailed)
}

// Each attempt has its time, and another one follows.
func TestProbeAttempts(t *testing.T) {
	b := manage(t, nil)
	attempts := 0
	b.add(proc.Spec{Name: "func", Command: sh("sleep 1000"), ProbeInterval: time.Millisecond, ProbeTimeout: 5 * time.Millisecond, Probe: func(ctx context.Context) error {
		if attempts++; attempts == 1 {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}})
	dir := t.TempDir()
	b.add(proc.Spec{Name: "command", Command: sh("echo $$; sleep 1000"), Dir: dir, ProbeInterval: time.Millisecond, ProbeTimeout: 100 * time.Millisecond,
		Env:          []string{"MARK=there"},
		ProbeCommand: sh(`echo $$ >>pids; [ -e tried ] && test "$MARK$SHIPLAP_PROC" = therecommand || { : >tried; setsid sleep 1000 & trap "" TERM; sleep 1000; }`)})
	ok(t, b.StartAll(limit(t)))
	pids, err := os.ReadFile(filepath.Join(dir, "pids"))
	ok(t, err)
	for _, text := range strings.Fields(string(pids)) {
		if pid := number(t, text); !dead(pid) {
			t.Errorf("probe %d lives", pid)
		}
	}
	if len(strings.Fields(string(pids))) < 2 {
		t.Errorf("probes %q", pids)
	}
	b.add(proc.Spec{Name: "missing", Command: sh("sleep 1000"), ProbeCommand: []string{"no-such-command"}, ProbeInterval: time.Millisecond, ReadyTimeout: 20 * time.Millisecond},
		proc.Spec{Name: "never", Command: sh("sleep 1000"), ProbeCommand: sh("exit 7"), ProbeInterval: time.Millisecond, ReadyTimeout: 300 * time.Millisecond})
	if err := b.Start(limit(t), "missing"); !errors.Is(err, proc.ErrFailed) || !strings.Contains(err.Error(), "no-such-command") {
		t.Error(err)
	}
	if err := b.Start(limit(t), "never"); !errors.Is(err, proc.ErrFailed) || !strings.Contains(err.Error(), "probe: exit code 7") {
		t.Error(err)
	}
}

// Kill needs no patience: not that of a stop, nor of another caller who waits for one.
func TestKill(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "family", Command: sh(family), StopTimeout: time.Hour, Restart: proc.Always, Backoff: quick},
		proc.Spec{Name: "stubborn", Func: "stubborn", Ready: proc.ReadyWord, StopTimeout: time.Hour},
		proc.Spec{Name: "pausing", Command: sh("exit 1"), Restart: proc.Always, Backoff: proc.Backoff{First: time.Hour, Max: time.Hour}})
	ok(t, b.StartAll(limit(t)))
	b.see("pausing", proc.EventRestarting, 1)
	b.until("their numbers", func() bool { return len(b.said) == 4 })
	stopped := make(chan error, 1)
	go func() { stopped <- b.StopAll(limit(t)) }()
	b.see("stubborn", proc.EventStopping, 1)
	b.Kill()
	ok(t, <-stopped)
	for _, line := range b.heard("family") {
		if f := strings.Fields(line); !dead(number(t, f[1])) {
			t.Errorf("the %s lives", f[0])
		}
	}
	is(t, b.Start(limit(t), "family"), shiplap.ErrClosed)
	b.Kill()
	ok(t, b.Close())
	b.Kill()
}

// What exits with code 0 is done, unless it is to run always.
func TestExitZero(t *testing.T) {
	b := manage(t, nil)
	for _, p := range []proc.Policy{proc.Never, proc.OnFailure, proc.Always} {
		b.add(proc.Spec{Name: string(p), Command: sh("exit 0"), Restart: p, MaxRestarts: 2, Backoff: quick})
	}
	ok(t, b.StartAll(limit(t)))
	is(t, b.Wait(limit(t)), proc.ErrFailed)
	for _, s := range b.States() {
		if always := s.Name == string(proc.Always); (s.Phase == proc.Failed) != always || (s.Phase == proc.Done) == always || always != (s.Restarts == 2) {
			t.Errorf("%v", s)
		}
	}
}

// Restarts leave nothing behind: not here, and not in the guardian.
func TestManyRestarts(t *testing.T) {
	n := 2000
	if testing.Short() {
		n = 200
	}
	b := manage(t, nil)
	b.add(proc.Spec{Name: "c", Command: sh("exit 1"), Restart: proc.Always, MaxRestarts: n, Window: time.Hour, Backoff: quick},
		proc.Spec{Name: "missing", Command: []string{"/no/such/program"}, Restart: proc.Always, MaxRestarts: n, Window: time.Hour, Backoff: quick},
		proc.Spec{Name: "s", Func: "sleep"})
	ok(t, b.Start(limit(t), "s"))
	guardian := number(t, children(os.Getpid())[0])
	look := func() (all []string) {
		all = leaktest.Descriptors()
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", guardian))
		for _, f := range files {
			to, _ := os.Readlink(f)
			all = append(all, "guardian "+to)
		}
		// A bell is opened at the first long sleep, and the bells of others when they are rung: some 128 at the most.
		all = slices.DeleteFunc(all, func(s string) bool { return strings.Contains(s, bell.NamePrefix) })
		return append(all, fmt.Sprint(len(children(guardian)), " children"))
	}
	before := look()
	_ = b.Start(bg, "c", "missing")
	is(t, b.Wait(limit(t), "c", "missing"), proc.ErrFailed)
	for _, name := range []string{"c", "missing"} {
		if s := b.state(name); s.Restarts != n {
			t.Errorf("%v", s)
		}
	}
	var after []string
	if !eventually(func() bool { after = look(); return len(after) <= len(before) }) {
		t.Errorf("left: %d before, %d after: %q", len(before), len(after), slices.Compact(after))
	}
}

// What the kernel refuses is a failure like any other, and says what.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	ok(t, os.WriteFile(text, []byte("no program"), 0o700))
	b := manage(t, nil)
	huge := "X=" + strings.Repeat("x", 200<<10)
	limits := proc.Limits{proc.CoreSize: 0}
	b.add(proc.Spec{Name: "format", Command: []string{text}}, proc.Spec{Name: "environment", Command: sh("true"), Env: []string{huge}},
		proc.Spec{Name: "frame", Command: sh("true"), Env: []string{"X=" + strings.Repeat("x", 17<<20)}},
		proc.Spec{Name: "directory", Command: []string{dir}}, proc.Spec{Name: "limited", Command: []string{text}, Limits: limits},
		proc.Spec{Name: "large", Command: sh(`echo ${#X}`), Env: []string{"X=" + strings.Repeat("x", 100<<10)}})
	for name, want := range map[string]string{"format": "exec format error", "environment": "argument list too long", "frame": "argument list too long",
		"directory": "permission denied", "limited": "exit code 126"} {
		_ = b.Start(limit(t), name)
		err := b.Wait(limit(t), name)
		if !errors.Is(err, proc.ErrFailed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ok(t, b.Start(limit(t), "large"))
	b.hear(fmt.Sprint("large | ", 100<<10))
}

// A domain below a relative directory is found by who runs in another one.
func TestRelativeDirectory(t *testing.T) {
	base := os.Getenv("SHIPLAP_DIR")
	t.Chdir(base)
	d, err := shiplap.Join(t.Name(), &shiplap.Options{Dir: "."})
	ok(t, err)
	defer d.Close()
	var out strings.Builder
	m, err := proc.New(d, &proc.Options{Output: &out})
	ok(t, err)
	ok(t, m.Add(proc.Spec{Name: "x", Command: sh(`echo "$SHIPLAP_DIR"`), Dir: "/"}))
	ok(t, m.Add(proc.Spec{Name: "f", Func: "hello", Dir: "/"}))
	ok(t, m.StartAll(limit(t)))
	ok(t, m.Wait(limit(t)))
	ok(t, m.Close())
	if got := out.String(); !strings.Contains(got, "x | "+base+"\n") || !strings.Contains(got, "f | f main [] "+t.Name()) {
		t.Errorf("%q", got)
	}
}

// Check says what Add would.
func TestCheck(t *testing.T) {
	ok(t, proc.Spec{Name: "x", Func: "sleep"}.Check())
	is(t, proc.Spec{Name: "a/b", Func: "sleep"}.Check(), shiplap.ErrName)
	for _, s := range []proc.Spec{{Name: "x", Func: "sleep", ProbeTimeout: -1}, {Name: "x", Func: "sleep", ProbeCommand: []string{""}},
		{Name: "x", Func: "sleep", ProbeCommand: sh("true"), Probe: func(context.Context) error { return nil }}, {Name: "x", Func: "sleep", Ready: proc.ReadyWord, ProbeCommand: sh("true")}} {
		if s.Check() == nil {
			t.Errorf("%+v is taken", s)
		}
	}
}
