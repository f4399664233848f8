package peertest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

// TestMain is peer or test run; the latter must leave nothing behind.
func TestMain(m *testing.M) {
	roles.Run(&shiplap.Options{NoSweep: true})
	leaktest.Main(m)
}

// arg has what JSON or a shell might change.
type arg struct {
	Text   string
	Number int
}

var roles = Roles[arg]{
	"answer": func(d *shiplap.Domain, a arg) error {
		Say(os.Getpid(), d.Dir())
		Say("arg", a.Number, a.Text)
		for s := Hear(); s != ""; s = Hear() {
			Say("you said", s)
		}
		Say("bye")
		return nil
	},
	"wait": func(*shiplap.Domain, arg) error {
		end := StdinEnds()
		Say("here")
		<-end
		return nil
	},
	"chatter": func(*shiplap.Domain, arg) error { // until it is killed
		for i := 0; ; i++ {
			Say(i)
		}
	},
	"fail":  func(*shiplap.Domain, arg) error { return errors.New("as it must") },
	"half":  func(*shiplap.Domain, arg) error { Say(1); _, err := fmt.Print("2"); return err },
	"large": func(_ *shiplap.Domain, a arg) error { Say(strings.Repeat("x", a.Number)); return nil },
}

func domain(t *testing.T, name string) *shiplap.Domain {
	t.Helper()
	d, err := shiplap.Join(name, &shiplap.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// failing is a test that may fail.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Fatalf(format string, a ...any) { f.said = fmt.Sprintf(format, a...); panic(f) }
func (f *failing) Error(a ...any)                 { f.said = fmt.Sprint(a...) }

// fails checks that the call fails the peer's test, with words in the message.
func fails(t *testing.T, p *Peer, call func(), words ...string) {
	t.Helper()
	f := &failing{TB: t}
	p.t = f
	func() {
		defer func() {
			if r := recover(); r != nil && r != any(f) {
				panic(r)
			}
		}()
		call()
	}()
	for _, w := range words {
		if !strings.Contains(f.said, w) {
			t.Errorf("%q does not have %q", f.said, w)
		}
	}
	p.t = t
}

func TestAnswers(t *testing.T) {
	for _, name := range []string{"", "another"} {
		d := domain(t, name)
		p := Start(t, d, "answer", arg{"a \"b\"\n$c ü", -7})
		p.Says(fmt.Sprint(p.Pid(), " ", d.Dir()))
		if s := p.Reports("arg"); s != "-7 a \"b\"" {
			t.Errorf("%q", s)
		}
		p.Says("$c ü")
		p.Tell("x")
		p.Says("you said x")
		p.Tell("y")
		if s := p.Line(); s != "you said y" {
			t.Errorf("%q", s)
		}
		if m, err := d.Members(); err != nil || len(m) != 2 {
			t.Errorf("members: %v, %v", m, err)
		}
		p.Ends()
		p.Says("bye") // also when it is gone
		if all := p.Lines(); len(all) != 6 || all[5] != "bye" {
			t.Errorf("%q", all)
		}
	}
}

// TestNotWhatIsWanted: the message has what it said, all of it.
func TestNotWhatIsWanted(t *testing.T) {
	d := domain(t, "")
	for what, call := range map[string]func(p *Peer){
		`"other"`:   func(p *Peer) { p.Says("other") },
		`"he"`:      func(p *Peer) { p.Says("he") }, // the line, not its beginning
		`"other …"`: func(p *Peer) { p.Reports("other") },
	} {
		p := Start(t, d, "wait", arg{"", 7})
		fails(t, p, func() { call(p) }, `peer "wait" {"Text":"","Number":7}`, what, `says "here"`)
	}
	for what, call := range map[string]func(p *Peer){
		`"more"`:   func(p *Peer) { p.Says("more") },
		`"more …"`: func(p *Peer) { p.Reports("more") },
		`another`:  func(p *Peer) { p.Line() },
	} {
		p := Start(t, d, "wait", nil)
		p.Says("here")
		p.CloseStdin()
		fails(t, p, func() { call(p) }, what, "ended", `["here"]`)
		p = Start(t, d, "wait", nil)
		p.Says("here")
		p.Signal(syscall.SIGKILL)
		fails(t, p, func() { call(p) }, what, "killed", `["here"]`)
	}
}

// TestFails: who fails has status 1, and says why.
func TestFails(t *testing.T) {
	d := domain(t, "")
	for role, words := range map[string][]string{
		"fail":    {`peer "fail" {"Text":"z","Number":0}: as it must`},
		"unknown": {`peer "unknown"`, "no such role"},
	} {
		file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
		if err != nil {
			t.Fatal(err)
		}
		stderr := os.Stderr
		os.Stderr = file
		p := Start(t, d, role, arg{Text: "z"})
		os.Stderr = stderr
		err = p.Wait()
		if err == nil || !strings.Contains(err.Error(), `peer "`+role+`"`) || !strings.Contains(err.Error(), "exit status 1") {
			t.Error(err)
		}
		fails(t, p, p.Ends, "exit status 1")
		_, err = file.Seek(0, io.SeekStart)
		b, e := io.ReadAll(file)
		if err := errors.Join(err, e, file.Close()); err != nil {
			t.Fatal(err)
		}
		for _, w := range words {
			if !strings.Contains(string(b), w) {
				t.Errorf("%q does not have %q", b, w)
			}
		}
	}
	p := Start(t, d, "wait", "not what the roles take")
	if err := p.Wait(); err == nil {
		t.Error("an argument of another type")
	}
}

// TestKilled: what a killed peer said is whole, and nothing of it is left.
func TestKilled(t *testing.T) {
	d := domain(t, "")
	p := Start(t, d, "chatter", nil)
	p.Says("0")
	p.Kill()
	p.Kill()
	p.Signal(syscall.SIGCONT)
	p.Tell("who listens?")
	for i, n := range p.Numbers() {
		if i != n {
			t.Fatalf("number %d is %d", i, n)
		}
	}
	if n := len(p.Numbers()); n == 0 || n != len(p.Lines()) {
		t.Errorf("%d numbers, %d lines", n, len(p.Lines()))
	}
	if err := p.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Error(err)
	}
	if kids := leaktest.Children(); len(kids) > 0 {
		t.Errorf("children: %v", kids)
	}
}

// TestKilledAtTheEnd: a peer that its test forgets does not live on.
func TestKilledAtTheEnd(t *testing.T) {
	d := domain(t, "")
	t.Run("forgets", func(t *testing.T) {
		Start(t, d, "chatter", nil)
		p := Start(t, d, "wait", nil)
		p.Says("here")
		p.Stop()
	})
	if kids := leaktest.Children(); len(kids) > 0 {
		t.Errorf("children: %v", kids)
	}
}

func TestStopped(t *testing.T) {
	d := domain(t, "")
	p := Start(t, d, "chatter", nil)
	p.Says("0")
	for range 50 {
		p.Stop()
		p.Stop() // it is
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.Pid()))
		if err != nil || len(threads) == 0 {
			t.Fatal(threads, err)
		}
		for _, file := range threads {
			if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), ") T ") {
				t.Fatalf("%q, %v", b, err)
			}
		}
		p.Signal(syscall.SIGCONT)
		p.Line()
	}
	p.Stop()
	p.Kill()
	fails(t, p, p.Stop, `peer "chatter"`, "does not stop")
	p = Start(t, d, "wait", nil)
	p.Signal(syscall.SIGKILL) // it may be dead before the stop, or not
	fails(t, p, p.Stop, "does not stop")
}

func TestLinesOfAllSizes(t *testing.T) {
	d := domain(t, "")
	p := Start(t, d, "large", arg{Number: 1 << 22})
	if n := len(p.Line()); n != 1<<22 {
		t.Errorf("%d bytes", n)
	}
	p.Ends()
	p = Start(t, d, "half", nil)
	p.Ends()
	if all := p.Lines(); !slices.Equal(all, []string{"1"}) {
		t.Errorf("%q", all)
	}
}

// TestManyWait: each may ask for the end.
func TestManyWait(t *testing.T) {
	p := Start(t, domain(t, ""), "wait", nil)
	got := make(chan error, 5)
	for range cap(got) {
		go func() { got <- p.Wait() }()
	}
	p.CloseStdin()
	for range cap(got) {
		if err := <-got; err != nil {
			t.Error(err)
		}
	}
}
