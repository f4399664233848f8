package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/rpc"
)

type sumRequest struct{ A, B int }

type greeting struct {
	Text string `json:"text"`
}

// serve makes this test the service "calc". What happens to the method sleep is told on the channel.
func (s *tool) serve() (slept chan string) {
	s.t.Helper()
	d := s.domain()
	slept = make(chan string, 4)
	srv, err := rpc.Serve(context.Background(), d, "calc", &rpc.Options{Setup: func(srv *rpc.Server) error { return methods(srv, slept) }})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { srv.Close(); d.Close() })
	return slept
}

func methods(srv *rpc.Server, slept chan<- string) error {
	return errors.Join(
		rpc.Handle(srv, "add", func(_ context.Context, r sumRequest) (int, error) { return r.A + r.B, nil }),
		rpc.Handle(srv, "greet", func(_ context.Context, name string) (greeting, error) {
			return greeting{"hello <" + name + ">"}, nil
		}),
		rpc.Handle(srv, "nothing", func(context.Context, any) (any, error) { return nil, nil }),
		rpc.Handle(srv, "refuse", func(context.Context, any) (int, error) {
			return 0, &rpc.Error{Code: "out_of_stock", Message: "none left", Data: []byte("x")}
		}),
		rpc.Handle(srv, "missing", func(context.Context, any) (int, error) { return 0, fmt.Errorf("file: %w", shiplap.ErrNotExist) }),
		rpc.Handle(srv, "sleep", func(ctx context.Context, _ any) (int, error) {
			slept <- "begun"
			<-ctx.Done()
			slept <- ctx.Err().Error()
			return 0, ctx.Err()
		}))
}

// call runs shiplap call, and compares its exit code.
func (s *tool) call(code int, args ...string) (stdout, stderr string) {
	s.t.Helper()
	var out strings.Builder
	p := s.start(nil, &out, append([]string{"call"}, args...)...)
	p.ends(code)
	return out.String(), p.stderr.String()
}

func TestCall(t *testing.T) {
	s := newTool(t)
	s.serve()
	for _, tt := range []struct {
		args string
		code int
		want string // a regular expression of its output
		says string // and of its errors
	}{
		{"", 0, `^SERVICE +PID +AGE +COMMAND\ncalc +\d+ .*\n$`, ""},
		{"--json", 0, `"name": "calc"`, ""},
		{"calc", 0, `(?s)^METHOD +REQUEST +RESULT\nadd +fixed:.*\ngreet +cbor:str +cbor:`, ""},
		{"calc --json", 0, `"name": "add"`, ""},
		{`calc add {"A":2,"B":3}`, 0, `^5\n$`, ""},
		{`calc greet "you"`, 0, `^{"text":"hello <you>"}\n$`, ""},
		{`calc nothing`, 0, `^null\n$`, ""},
		{`calc nothing [1,2]`, 0, `^null\n$`, ""},
		{`calc add "x"`, 1, `^$`, `(?s)code invalid.*next: shiplap call --dir \S+ calc shows the types`},
		{`calc refuse`, 1, `^$`, `"refuse" of service "calc": none left \(code out_of_stock\)`},
		{`calc refuse --json`, 1, `(?s)"code": "out_of_stock".*"message": "none left"`, `none left`},
		{`calc missing`, 1, `^$`, `file: .*\(code not_exist\)`},
		{`calc typo`, 3, `^$`, `has no method "typo"`},
		{`calcs`, 3, `^$`, `service "calcs": nobody serves it`},
		{`calc sleep --timeout 20ms`, 4, `^$`, `no result within 20ms`},
	} {
		t.Run(tt.args, func(t *testing.T) {
			s := &tool{t, s.dir}
			out, says := s.call(tt.code, strings.Fields(tt.args)...)
			if !regexp.MustCompile(tt.want).MatchString(out) {
				t.Errorf("it writes %q, want %s", out, tt.want)
			}
			if tt.says == "" != (says == "") || !regexp.MustCompile(tt.says).MatchString(says) {
				t.Errorf("it says %q, want %s", says, tt.says)
			}
		})
	}
	if got := s.run("__complete", "call", "calc", ""); !strings.Contains(got, "greet\n") {
		t.Errorf("completed: %q", got)
	}
	if got := s.run("__complete", "call", ""); !strings.HasPrefix(got, "calc\n") {
		t.Errorf("completed: %q", got)
	}
}

// Ctrl-C, and the death of the caller, reach the function.
func TestCallCancelled(t *testing.T) {
	for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGKILL} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			s := newTool(t)
			slept := s.serve()
			p := s.start(nil, nil, "call", "calc", "sleep")
			if got := <-slept; got != "begun" {
				t.Fatal(got)
			}
			p.Process.Signal(sig)
			code := exitSignalled + int(sig)
			if sig == unix.SIGKILL {
				code = -1
			}
			p.ends(code)
			if got := <-slept; got != context.Canceled.Error() {
				t.Errorf("the function's context ended with %q", got)
			}
		})
	}
}

// TestCallService is no test: as a process of its own it serves until it is killed.
func TestCallService(t *testing.T) {
	dir := os.Getenv("SHIPLAP_TEST_SERVICE")
	if dir == "" {
		t.Skip("a service of other tests")
	}
	s := &tool{t, dir}
	slept := s.serve()
	for what := range slept {
		fmt.Println(what)
	}
}

// The death of the process that serves is an end, never a hang.
func TestCallServiceKilled(t *testing.T) {
	s := newTool(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	service := exec.Command(exe, "-test.run=^TestCallService$")
	service.Env = append(os.Environ(), "SHIPLAP_TEST_SERVICE="+s.dir)
	service.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := service.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { service.Process.Kill(); service.Wait() }()
	s.until("it serves", func(d *shiplap.Domain) bool {
		all, err := rpc.Services(d)
		return err == nil && len(all) == 1 && all[0].Pid == service.Process.Pid
	})
	p := s.start(nil, nil, "call", "calc", "sleep")
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "begun"; {
	}
	service.Process.Kill()
	p.ends(exitEnded)
	if !strings.Contains(p.stderr.String(), "its process died") {
		t.Errorf("it says %q", p.stderr.String())
	}
	if out, _ := s.call(exitOK); out != "" {
		t.Errorf("services are still listed: %s", out)
	}
}
