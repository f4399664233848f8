//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

// envMain makes the test binary the command.
const envMain = "SHIPLAP_BENCH_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(envMain) != "" || len(os.Args) > 1 && os.Args[1] == "client" {
		main()
		return
	}
	leaktest.Main(m)
}

func brief(t *testing.T) config {
	return config{
		duration: 20 * time.Millisecond, warmup: 5 * time.Millisecond, rounds: 2, only: regexp.MustCompile(""),
		dir: t.TempDir(), self: []string{"/proc/self/exe", "client"}, note: func(s string) { t.Log(s) },
	}
}

// Each side does what it says: its clients read and set as often as the mix wants, all keys are there, their values right.
func TestEverySide(t *testing.T) {
	for _, s := range sides {
		t.Run(s.name, func(t *testing.T) {
			cfg := brief(t)
			cfg.only = regexp.MustCompile("^" + s.name + "$")
			cfg.pin = s.name == "table"
			var lack string
			cfg.note = func(s string) { lack = s }
			rep, err := measure(t.Context(), cfg)
			if lack != "" {
				t.Skip(lack)
			}
			if err != nil {
				t.Fatal(err)
			}
			sets := int64(0)
			for _, m := range mixes {
				r := rep.find(s.name, m)
				if len(r.Rounds) != cfg.rounds || r.All.Rounds != cfg.rounds || r.All.Min > r.All.Median || r.All.Median > r.All.Max {
					t.Errorf("%v: %+v", m, r)
				}
				var all, reads int64
				for _, x := range r.Rounds {
					all, reads, sets = all+x.Gets+x.Sets, reads+x.Gets, sets+x.Sets
				}
				if share := 100 * float64(reads) / float64(all); all > 10_000 && (share < float64(m)-3 || share > float64(m)+3) {
					t.Errorf("%v: %.1f of 100 operations read", m, share)
				}
				if all == 0 {
					t.Errorf("%v: nothing was done", m)
				}
			}
			if len(rep.Checks) != clients {
				t.Fatalf("%d checks", len(rep.Checks))
			}
			for _, c := range rep.Checks { // what the warming up set is not in sets, but in Changed
				if c.Keys != nKeys || c.Right != nKeys || c.Changed == 0 && sets > 0 || c.Changed > nKeys {
					t.Errorf("%+v; %d were set", c, sets)
				}
			}
			if rep.Checks[0] != rep.Checks[1] {
				t.Errorf("the clients see different things: %+v", rep.Checks)
			}
		})
	}
}

// A check must notice what is wrong.
func TestCheckNotices(t *testing.T) {
	v := make([]byte, valueLen)
	fill(v, 7, 1<<40)
	if !good(v, 7) {
		t.Error("a right value is said to be wrong")
	}
	if good(v, 8) {
		t.Error("another key's value is said to be right")
	}
	if v[valueLen-1]++; good(v, 7) {
		t.Error("a torn value is said to be right")
	}
	if good(v[:valueLen-1], 7) {
		t.Error("a short value is said to be right")
	}
}

func TestDraws(t *testing.T) {
	for _, uniform := range []bool{false, true} {
		for _, m := range mixes {
			a, b := draws(m, 0, uniform), draws(m, 1, uniform)
			if slices.Equal(a, b) {
				t.Error("both clients do the same")
			}
			times, reads := map[uint32]int{}, 0
			for _, d := range a {
				id := d &^ setBit
				if id >= nKeys {
					t.Fatalf("key %d", id)
				}
				times[id]++
				if d == id {
					reads++
				}
			}
			most := 0
			for _, n := range times {
				most = max(most, n)
			}
			if uniform == (most > nDraws/100) {
				t.Errorf("uniform %v: the most popular key is drawn %d times", uniform, most)
			}
			if got := 100 * reads / nDraws; got < int(m)-1 || got > int(m) {
				t.Errorf("%d of 100 operations read; %v is wanted", got, m)
			}
		}
	}
}

// Without compiler and server the rest is measured, and it is said what is missing.
func TestMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	cfg := brief(t)
	var notes []string
	cfg.note = func(s string) { notes = append(notes, s) }
	rep, err := measure(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := rep.table(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"not measured: redis, since redis-server is missing", "apt-get install redis-server", "not measured: lmdb", "Shiplap"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if len(rep.Missing) != 3 || len(notes) != 3 || len(rep.Goals) != 0 || rep.find("shiplap", 95) == nil {
		t.Errorf("%+v, %q", rep, notes)
	}
	cfg.only = regexp.MustCompile("redis")
	if _, err := measure(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "nothing to measure") {
		t.Errorf("nothing but Redis, which is missing: %v", err)
	}
}

func TestJudge(t *testing.T) {
	at := func(rates ...float64) []round {
		var all []round
		for _, r := range rates {
			all = append(all, round{Rate: r})
		}
		return all
	}
	disturbed := round{Rate: 1, Others: 0.5}
	rep := newReport(config{})
	rep.add(&running{side: sides[0], rounds: map[mix][]round{95: append(at(20, 22, 24), disturbed, disturbed, disturbed), 50: at(3)}})
	rep.add(&running{side: sides[2], rounds: map[mix][]round{95: append(at(4, 5, 6), disturbed), 50: {{Rate: 1, Late: true}}}})
	rep.judge()
	want := []goal{{"95/5", "lmdb", 4, 4.4, "quiet", true}, {"50/50", "lmdb", 6, 3, "all", false}}
	if fmt.Sprint(rep.Goals) != fmt.Sprint(want) {
		t.Errorf("%v; %v is wanted", rep.Goals, want)
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"--rounds", "0"}, {"--duration", "1us"}, {"--only", "("}, {"more"}, {"--only", "nobody"}} {
		if err := run(t.Context(), args, &bytes.Buffer{}, &bytes.Buffer{}); err == nil {
			t.Errorf("%q is no error", args)
		}
	}
}

func TestJSON(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "--json", "--rounds", "1", "--duration", "5ms", "--only", "shiplap", "--dir", t.TempDir())
	cmd.Env = append(os.Environ(), envMain+"=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var rep report
	if err := json.Unmarshal(out, &rep); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if len(rep.Results) != len(mixes) || rep.Machine.CPUs == 0 {
		t.Errorf("%+v", rep)
	}
}

// Ctrl-C ends the server and takes the files away; kill -9 ends the server.
func TestStopped(t *testing.T) {
	for _, program := range []string{"redis-server", "gcc"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("no " + program)
		}
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			dir, temp := t.TempDir(), t.TempDir()
			cmd := exec.Command("/proc/self/exe", "--rounds", "100000", "--duration", "20ms", "--only", "redis", "--dir", dir)
			cmd.Env = append(os.Environ(), envMain+"=1", "TMPDIR="+temp)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Process.Kill() }()
			server := 0
			eventually(t, "its server listens", func() bool {
				sockets, _ := filepath.Glob(filepath.Join(temp, "*", "redis.d", "socket"))
				server = childCalled(cmd.Process.Pid, "redis-server")
				return len(sockets) == 1 && server > 0
			})
			_ = cmd.Process.Signal(sig)
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || sig == syscall.SIGINT && exit.ExitCode() != 130 {
				t.Errorf("it ends with %v", err)
			}
			eventually(t, "its server is gone", func() bool { return !alive(server) })
			for _, d := range []string{dir, temp} {
				if left, _ := os.ReadDir(d); sig == syscall.SIGINT && len(left) > 0 {
					t.Errorf("%s is left in %s", left, d)
				}
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cfg := brief(t)
	cfg.only = regexp.MustCompile("shiplap")
	cancel()
	if _, err := measure(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// stat returns the name, state and parent of a process.
func stat(pid int) (name, state string, parent int) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, ok := strings.Cut(string(b), "(")
	name, rest, ok2 := strings.Cut(rest, ") ")
	if !ok || !ok2 {
		return "", "", 0
	}
	_, _ = fmt.Sscan(rest, &state, &parent)
	return name, state, parent
}

func alive(pid int) bool {
	_, state, _ := stat(pid)
	return state != "" && state != "Z"
}

func childCalled(parent int, name string) int {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if n, _, p := stat(pid); p == parent && n == name {
				return pid
			}
		}
	}
	return 0
}
