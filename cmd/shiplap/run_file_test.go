package main

import (
	"strings"
	"testing"

	procs "github.com/shiplap-ipc/shiplap/proc"
)

// Whatever is in a file: it is refused with the place, or what comes out can be run.
func FuzzRunFile(f *testing.F) {
	for _, s := range []string{
		runExample,
		"processes: {a: {command: x}}", "processes:\n  a: &a {command: [x]}\n  b: {<<: *a, after: a, env: {A: 1}}",
		"processes: &p {a: *p}", "x-a: &a {<<: *a}\nprocesses: *a", "processes: {a: {command: x, ready: {tcp: 'h:1', timeout: never}, stop: {signal: 9, timeout: 0s}}}",
		"processes: {a: {command: x, restart: {policy: always, limit: 3, window: 1h, factor: 1e3, jitter: nan}, limits: {open-files: 1K}}}",
		"processes: {a: {command: \"\\0\", watch: '[', channels: 1T, output: raw}}", "- a", "", "a: [", "\xff\xfea", "%YAML 1.2\n---\nx: !!binary aa==", "? [a]\n: b",
		"x-a: &a [1,1]\nx-b: &b [*a,*a]\nprocesses: {a: {command: *b}}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := parseRunFile("f.yaml", "/", b)
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "f.yaml:") && !strings.Contains(string(b), "\n") {
					t.Errorf("no place in %q", line)
				}
			}
			return
		}
		names := map[string]bool{}
		for _, p := range file.procs {
			if err := p.complete().Check(); err != nil {
				t.Error(err)
			}
			if names[p.spec.Name] || !p.same(p) {
				t.Errorf("%+v", p)
			}
			names[p.spec.Name] = true
		}
		if len(names) == 0 {
			t.Error("nothing to run")
		}
		if c := compare(file.procs, file.procs); !c.none() {
			t.Errorf("it differs from itself: %v", c)
		}
	})
}

// What the example says arrives.
func TestRunExample(t *testing.T) {
	f, err := parseRunFile("f.yaml", "/base", []byte(runExample))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.procs) != 5 || f.name != "example" {
		t.Fatalf("%+v", f)
	}
	web := f.procs[2]
	s := web.spec
	for what, holds := range map[string]bool{
		"restart": s.Restart == procs.OnFailure && s.MaxRestarts == 5 && s.Backoff.Factor == 2,
		"env":     strings.Join(s.Env, " ") == "GREETING=hello PORT=8080",
		"after":   strings.Join(s.After, " ") == "prepare db",
		"probe":   strings.Join(s.ProbeCommand, " ") == shellPrefix+"test -d .",
		"watch":   strings.Join(web.watch, " ") == "/base/*.html /base/src",
		"dir":     s.Dir == "/base",
		"room":    s.ChannelCapacity == 64<<10,
		"limits":  f.procs[1].spec.Limits[procs.OpenFiles] == 256,
		"output":  f.procs[3].output == outputDiscard && f.procs[3].spec.ChannelCapacity == -1,
		"manual":  f.procs[4].manual && !web.manual,
	} {
		if !holds {
			t.Errorf("%s: %+v", what, s)
		}
	}
}

// A document of a few bytes that would become billions is refused at once.
func TestRunFileBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("x-0: &a0 {k: v}\n")
	for i := 1; i < 15; i++ {
		b.WriteString(strings.NewReplacer("N", string(rune('a'+i)), "P", string(rune('a'+i-1))).Replace("x-N: &bN {<<: [*bP, *bP, *bP, *bP, *bP, *bP, *bP, *bP, *bP, *bP]}\n"))
	}
	text := strings.Replace(b.String(), "*ba", "*a0", -1) + "processes: {p: *bo}\n"
	_, err := parseRunFile("f.yaml", "/", []byte(text))
	if err == nil || !strings.Contains(err.Error(), "aliases make this document too large") {
		t.Errorf("%.300v", err)
	}
}

func TestSuggest(t *testing.T) {
	known := map[string]int{"command": 0, "env": 0}
	for word, want := range map[string]string{"comand": `did you mean "command"?`, "Env": `did you mean "env"?`, "nonsense": "known are command, env"} {
		if got := suggest(word, known); got != want {
			t.Errorf("%s: %s", word, got)
		}
	}
}
