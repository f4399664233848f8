package proc

import (
	"slices"
	"testing"
	"time"
)

func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{`{"id":1,"op":"states"}`, `{"op":"start","names":["a","b"]}`, `{"op":"signal","names":["a"],"signal":15}`, `{"op":"signal","signal":9}`,
		`{"op":"signal","names":["a"],"signal":1e9}`, `{"op":"rm -rf"}`, `[]`, `{`, `{"id":-1}`, ``, `null`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRequest(b)
		if err != nil {
			return
		}
		if !slices.Contains([]string{"states", "start", "stop", "restart", "signal"}, r.Op) {
			t.Errorf("operation %q", r.Op)
		}
		if r.Op == "signal" && (r.Signal < 1 || r.Signal > 64 || len(r.Names) == 0) {
			t.Errorf("%+v", r)
		}
	})
}

func TestBackoff(t *testing.T) {
	var b Backoff
	if err := b.fill(); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]time.Duration{1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 9: 25600 * time.Millisecond, 10: 30 * time.Second, 1 << 40: 30 * time.Second} {
		if got := b.delay(n, 0.5); got != want {
			t.Errorf("restart %d after %v, not %v", n, got, want)
		}
		if low, high := b.delay(n, 0), b.delay(n, 0.999999); low < want*89/100 || low > want*91/100 || high < want*109/100 || high > want*111/100 {
			t.Errorf("restart %d after %v to %v", n, low, high)
		}
	}
}

func TestEnviron(t *testing.T) {
	t.Setenv("KEEP", "1")
	t.Setenv("CHANGE", "1")
	t.Setenv(envRole, "of the parent")
	t.Setenv(EnvReadyFD, "77")
	got := environ([]string{"CHANGE=2", "NEW=x", "NEW=y=z"}, envFunc+"=f")
	for _, kv := range []string{"KEEP=1", "CHANGE=2", "NEW=y=z", envFunc + "=f"} {
		if !slices.Contains(got, kv) {
			t.Errorf("%s is missing", kv)
		}
	}
	for _, kv := range []string{"CHANGE=1", "NEW=x", envRole + "=of the parent", EnvReadyFD + "=77"} {
		if slices.Contains(got, kv) {
			t.Errorf("%s is there", kv)
		}
	}
}

func TestExitString(t *testing.T) {
	for want, e := range map[string]Exit{
		"exit code 3":                            {Code: 3, Pid: 1},
		"not started: x":                         {Code: -1, Problem: "x"},
		"killed by SIGKILL for lack of memory":   {Code: -1, Pid: 1, Signal: 9, OOM: true},
		"killed by SIGABRT, core dumped":         {Code: -1, Pid: 1, Signal: 6, Core: true},
		"killed by SIGKILL, for it did not stop": {Code: -1, Pid: 1, Signal: 9, Forced: true},
		"killed by signal 40":                    {Code: -1, Pid: 1, Signal: 40},
		"ended together with the guardian":       {Code: -1, Pid: 1, Lost: true},
		"not ready within 1s (exit code 0)":      {Pid: 1, Problem: "not ready within 1s"},
	} {
		if got := e.String(); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}
