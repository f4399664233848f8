package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/lock"
	"github.com/shiplap-ipc/shiplap/shared"
)

// story is a shiplap that runs a shell, whose lines are read.
type story struct {
	*proc
	in  *os.File
	out *bufio.Reader
}

func (s *tool) story(args ...string) *story {
	s.t.Helper()
	return s.in(&syscall.SysProcAttr{}, nil, args...)
}

func (p *story) says(want string) {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if line != want+"\n" {
		p.t.Fatalf("it says %q (%v), want %q; %s", line, err, want, p.stderr.String())
	}
}

// silent waits until nobody has its output open any more.
func (p *story) silent() {
	p.t.Helper()
	if rest, err := io.ReadAll(p.out); err != nil || len(rest) > 0 {
		p.t.Errorf("it still says %q, %v", rest, err)
	}
}

const echo = `echo ready; exec cat`

func (s *tool) waitersOf(name string, n int) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d wait for %s", n, name), func(d *shiplap.Domain) bool {
		locks, err := d.Locks(name)
		return err == nil && len(locks) > 0 && len(locks[len(locks)-1].Waiters) == n
	})
}

// Kill shiplap lock in the middle: its command dies, the next one gets the lock and is told.
func TestLockKilled(t *testing.T) {
	for _, flags := range [][]string{{"deploy"}, {"deploy", "--rw"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			s := newTool(t)
			run := func(script string) []string {
				return append(append([]string{"lock"}, flags...), "--", "sh", "-c", script)
			}
			victim := s.story(run(echo)...)
			victim.says("ready")
			next := s.story(run(`echo "damaged: $SHIPLAP_LOCK_DAMAGED"`)...)
			s.waitersOf("deploy", 1)
			victim.Process.Kill()
			victim.ends(-1)
			victim.silent()
			next.says("damaged: 1")
			next.ends(exitOK)
			if !strings.Contains(next.stderr.String(), "owner died") {
				t.Errorf("the next one was told %q", next.stderr.String())
			}
			after := s.story(run(`echo "damaged: $SHIPLAP_LOCK_DAMAGED"`)...)
			after.says("damaged: ")
			after.ends(exitOK)
			s.left("deploy")
		})
	}
}

func TestLockKilledCommandGoesOn(t *testing.T) {
	s := newTool(t)
	victim := s.story("lock", "deploy", "--no-kill", "--", "sh", "-c", "exec 2>/dev/null; "+echo)
	victim.says("ready")
	victim.Process.Kill()
	victim.ends(-1)
	s.run("lock", "deploy", "--", "true")
	fmt.Fprintln(victim.in, "I live")
	victim.says("I live")
	victim.in.Close()
	victim.silent()
}

// A reader that is killed leaves nothing to repair.
func TestLockSharedKilled(t *testing.T) {
	s := newTool(t)
	victim := s.story("lock", "index", "--shared", "--", "sh", "-c", echo)
	victim.says("ready")
	other := s.story("lock", "index", "--shared", "--", "sh", "-c", echo)
	other.says("ready")
	next := s.story("lock", "index", "--", "sh", "-c", `echo "damaged: $SHIPLAP_LOCK_DAMAGED"`)
	s.until("the writer waits", func(d *shiplap.Domain) bool {
		locks, err := d.Locks("index")
		return err == nil && len(locks) == 1 && locks[0].Holder != nil && locks[0].Holder.Pid == next.Process.Pid
	})
	victim.Process.Kill()
	victim.ends(-1)
	other.in.Close()
	other.ends(exitOK)
	next.says("damaged: ")
	next.ends(exitOK)
	s.run("sweep")
	s.left("index")
}

// in starts shiplap in a session or process group of its own.
func (s *tool) in(attr *syscall.SysProcAttr, tty *os.File, args ...string) *story {
	s.t.Helper()
	attr.Pdeathsig = syscall.SIGKILL
	p := &proc{Cmd: exec.Command("shiplap", append([]string{"--dir", s.dir}, args...)...), t: s.t}
	p.WaitDelay = hangBound
	p.SysProcAttr, p.Stdin, p.Stdout, p.Stderr = attr, tty, tty, &p.stderr
	st := &story{proc: p}
	if tty == nil {
		r, w, err := os.Pipe()
		if err != nil {
			s.t.Fatal(err)
		}
		defer w.Close()
		s.t.Cleanup(func() { r.Close() })
		r.SetReadDeadline(time.Now().Add(hangBound))
		p.Stdout, st.out = w, bufio.NewReader(r)
		if p.Stdin, st.in, err = os.Pipe(); err != nil {
			s.t.Fatal(err)
		}
		defer p.Stdin.(*os.File).Close()
		s.t.Cleanup(func() { st.in.Close() })
	}
	if err := p.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if !p.waited {
			p.Process.Kill()
			p.Wait()
		}
	})
	return st
}

// counting counts SIGINT, and ends with 10 + that number at any other.
const counting = `n=0
	trap 'n=$((n + 1)); echo "int $n"' INT
	trap 'exit $((10 + n))' TERM HUP USR1 USR2 QUIT
	echo ready
	while :; do read -r line; [ -z "$line" ] || echo "$line"; done`

// newlines keeps a shell from sleeping in read with a trap to run: it may have looked just before the signal.
func newlines(to *os.File) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-tick.C:
				to.Write([]byte("\n"))
			case <-end:
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}

// What comes to us goes to the command, and its end is ours.
func TestLockSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGQUIT} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			s := newTool(t)
			p := s.in(&syscall.SysProcAttr{Setpgid: true}, nil, "lock", "deploy", "--", "sh", "-c", counting)
			defer newlines(p.in)()
			p.says("ready")
			p.Process.Signal(unix.SIGINT)
			p.says("int 1")
			p.Process.Signal(sig)
			p.ends(11)
			s.left("deploy")
		})
	}
	t.Run("deadly", func(t *testing.T) {
		s := newTool(t)
		p := s.in(&syscall.SysProcAttr{Setpgid: true}, nil, "lock", "deploy", "--", "sh", "-c", echo)
		p.says("ready")
		p.Process.Signal(unix.SIGTERM)
		p.ends(143)
		s.run("lock", "deploy", "--", "true")
		s.left("deploy")
	})
}

const ctrlC = "\x03"

// Ctrl-C at a terminal reaches the command, and the lock is held until that ends.
func TestLockAtTerminal(t *testing.T) {
	keys, tty := terminal(t)
	s := newTool(t)
	p := s.in(&syscall.SysProcAttr{Setsid: true, Setctty: true}, tty, "lock", "deploy", "--", "sh", "-c", "stty -echo -onlcr; "+counting)
	tty.Close()
	p.out = bufio.NewReader(keys)
	p.says("ready")
	defer newlines(keys)()
	for i := range 3 {
		if _, err := keys.WriteString(ctrlC); err != nil {
			t.Fatal(err)
		}
		p.says(fmt.Sprintf("int %d", i+1))
	}
	p.Process.Signal(unix.SIGUSR1)
	p.ends(13)
	s.left("deploy")
}

// Ctrl-C is not passed on by us as well: a command that the terminal does not send it to gets none.
func TestLockInterruptsOnce(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip(err)
	}
	keys, tty := terminal(t)
	s := newTool(t)
	p := s.in(&syscall.SysProcAttr{Setsid: true, Setctty: true}, tty,
		"lock", "deploy", "--", "sh", "-c", "stty -echo -onlcr; exec setsid sh -c '"+strings.ReplaceAll(counting, "'", `'\''`)+"'")
	tty.Close()
	p.out = bufio.NewReader(keys)
	p.says("ready")
	// When the line arrives, the signal before it is on its way; and of two signals a process, and a shell, takes
	// the one with the lower number first.
	if _, err := keys.WriteString(ctrlC + "after\n"); err != nil {
		t.Fatal(err)
	}
	p.says("after")
	defer newlines(keys)()
	p.Process.Signal(unix.SIGUSR1)
	p.ends(10)
	s.left("deploy")
}

// terminal makes a terminal: what is written to keys is typed at it.
func terminal(t *testing.T) (keys, tty *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals can be made: %v", err)
	}
	t.Cleanup(func() { keys.Close() })
	c, err := keys.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	e := c.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err == nil && e == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil || e != nil {
		t.Skipf("no terminals can be made: %v", errors.Join(err, e))
	}
	return keys, tty
}

// While it waits for the lock a signal ends it, with nothing run.
func TestLockInterruptedWait(t *testing.T) {
	for _, args := range []string{"lock deploy", "lock deploy --timeout 1h", "sem run gpu"} {
		t.Run(args, func(t *testing.T) {
			s := newTool(t)
			s.run("sem", "create", "gpu", "--permits", "1")
			both := s.story("lock", "deploy", "--", "shiplap", "--dir", s.dir, "sem", "run", "gpu", "--", "sh", "-c", echo)
			both.says("ready")
			waiter := s.story(append(strings.Fields(args), "--", "echo", "ran")...)
			s.until("it waits", func(d *shiplap.Domain) bool {
				locks, _ := d.Locks("")
				for _, l := range locks {
					for _, w := range l.Waiters {
						if w.Pid == waiter.Process.Pid {
							return true
						}
					}
					if l.Lock == "queue" && l.Holder != nil && l.Holder.Pid == waiter.Process.Pid {
						return true
					}
				}
				return false
			})
			waiter.Process.Signal(syscall.SIGTERM)
			waiter.ends(143)
			waiter.silent()
			both.in.Close()
			both.ends(exitOK)
			s.left("deploy", "gpu")
		})
	}
}

// Twenty at a time add one to a number in a file: none is lost.
func TestLockCounts(t *testing.T) {
	const n = 20
	s := newTool(t)
	file := filepath.Join(t.TempDir(), "count")
	if err := os.WriteFile(file, []byte("0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var all []*proc
	for range n {
		p := s.start(nil, nil, "lock", "count", "--", "sh", "-c", `read -r x <"$0"; echo $((x + 1)) >"$0"`, file)
		all = append(all, p)
	}
	for _, p := range all {
		p.ends(exitOK)
	}
	b, err := os.ReadFile(file)
	if got := strings.TrimSpace(string(b)); err != nil || got != strconv.Itoa(n) {
		t.Errorf("the file says %q, %v, want %d", got, err, n)
	}
	s.left("count")
}

// Never more run than there are permits, also while some are killed.
func TestSemaphoreBounds(t *testing.T) {
	const permits, n = 3, 24
	s := newTool(t)
	s.run("sem", "create", "gpu", "--permits", strconv.Itoa(permits))
	file := filepath.Join(t.TempDir(), "log")
	var all []*proc
	for range n {
		all = append(all, s.start(nil, nil, "sem", "run", "gpu", "--", "sh", "-c", `echo + >>"$0"; ls / >/dev/null; echo - >>"$0"`, file))
	}
	for _, p := range all {
		p.ends(exitOK)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	inside, most, ran := 0, 0, 0
	for _, l := range strings.Fields(string(b)) {
		if l == "-" {
			inside--
			continue
		}
		ran++
		inside++
		most = max(most, inside)
	}
	if ran != n || inside != 0 || most > permits {
		t.Errorf("%d ran, %d are inside at the end, %d were at most", ran, inside, most)
	}
	s.left("gpu")
}

func TestSemaphoreKilled(t *testing.T) {
	s := newTool(t)
	s.run("sem", "create", "gpu", "--permits", "2")
	victim := s.story("sem", "run", "gpu", "-p", "2", "--", "sh", "-c", echo)
	victim.says("ready")
	next := s.story("sem", "run", "gpu", "--", "echo", "mine")
	s.until("the next one waits", func(d *shiplap.Domain) bool {
		locks, err := d.Locks("gpu")
		return err == nil && len(locks) == 2 && locks[1].Holder != nil && locks[1].Holder.Pid == next.Process.Pid
	})
	victim.Process.Kill()
	victim.ends(-1)
	victim.silent()
	next.says("mine")
	next.ends(exitOK)
	if out := s.run("sem", "stat", "gpu"); !strings.Contains(out, "2 of 2 available") {
		t.Error(out)
	}
	s.left("gpu")
}

// stat shows each kind of package lock, and who of those it names is dead.
func TestStatOfLocks(t *testing.T) {
	s := newTool(t)
	d := s.domain()
	defer d.Close()
	ctx := t.Context()
	event, err := lock.CreateEvent(d, "event", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer event.Close()
	cond, err := lock.CreateCond(d, "cond", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cond.Close()
	barrier, err := lock.CreateBarrier(d, "barrier", 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer barrier.Close()
	if err := errors.Join(event.Set(), cond.Broadcast()); err != nil {
		t.Fatal(err)
	}
	broken := make(chan error, 1)
	go func() {
		_, err := barrier.Wait(ctx)
		broken <- err
	}()
	s.until("one waits at the barrier", func(*shiplap.Domain) bool {
		st, err := barrier.Stats()
		return err == nil && st.Waiting == 1
	})
	s.shows("event", `state +set; set 1 times`)
	s.shows("cond", `signals +1\n`, `waits +0\n`)
	s.shows("barrier", `state +whole\n`, fmt.Sprintf(`waiting +1 of 3: pid %d\n`, os.Getpid()))
	if err := barrier.Abort(); err != nil {
		t.Fatal(err)
	}
	if err := <-broken; !errors.Is(err, lock.ErrBroken) {
		t.Error(err)
	}
	s.shows("barrier", `state +broken`)

	s.run("sem", "create", "gpu", "--permits", "2")
	for _, args := range [][]string{{"lock", "plain"}, {"lock", "read", "--shared"}, {"lock", "written", "--rw"}, {"sem", "run", "gpu", "-p", "2"}} {
		victim := s.story(append(args, "--", "sh", "-c", echo)...)
		victim.says("ready")
		victim.Process.Kill()
		victim.ends(-1)
	}
	const dead = `(pid \d+ \(dead\)|dead)\n` // without a pid once the member is swept
	s.shows("plain", "held by +"+dead, "waiting +no process")
	s.shows("read", "written by +nobody", "read by +"+dead)
	s.shows("written", "written by +"+dead, "read by +nobody")
	s.shows("gpu", "permits +0 of 2", "held by +2 by "+dead)
	for _, name := range []string{"event", "cond", "barrier"} {
		if out := s.run("stat", name, "--json"); !strings.Contains(out, fmt.Sprintf("    %q: {", name)) {
			t.Error(out)
		}
	}
}

// shows fails unless stat shows lines that match.
func (s *tool) shows(name string, patterns ...string) {
	s.t.Helper()
	out := s.run("stat", name)
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(out) {
			s.t.Errorf("no %q in\n%s", p, out)
		}
	}
}

func TestStatOfShared(t *testing.T) {
	s := newTool(t)
	d := s.domain()
	defer d.Close()
	a, err := shared.CreateArray[int16](d, "frames", []int{4, 6}, &shared.ArrayOptions{Frames: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	s.shows("frames", `shape +4x6\n`, `dtype +'<i2'\n`, `frames +3; nothing is published yet\n`, `lock held by +nobody\n`)
	if _, err := a.Publish(t.Context(), func([]int16) error { return nil }); err != nil {
		t.Fatal(err)
	}
	s.shows("frames", `frames +3; the latest is version 1\n`)
	v, err := shared.CreateValue(d, "value", 1.5, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := v.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.shows("value", fmt.Sprintf(`lock held by +pid %d\n`, os.Getpid()))
	if err := v.Unlock(); err != nil {
		t.Fatal(err)
	}
	u, err := shared.CreateValue(d, "unlocked", true, &shared.Options{Unlocked: true})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	s.shows("unlocked", `lock +made without\n`)
}
