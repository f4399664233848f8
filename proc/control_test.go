package proc_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/proc"
)

// remote is a process that has its sibling restarted.
func remote(ctx context.Context, self *proc.Child) error {
	c, err := proc.Dial(ctx, self.Domain(), self.Manager())
	if err != nil {
		return err
	}
	defer c.Close()
	states, err := c.Restart(ctx, "sibling")
	for _, s := range states {
		fmt.Println(s.Name, s.Phase)
	}
	return err
}

func TestOrdersFromOutside(t *testing.T) {
	b := manage(t, &proc.Options{Name: "host"})
	b.add(proc.Spec{Name: "sibling", Func: "sleep", Ready: proc.ReadyWord}, proc.Spec{Name: "remote", Func: "remote"},
		proc.Spec{Name: "fails", Command: sh("exit 3"), Ready: proc.ReadyExit})
	all, err := proc.Managers(b.d)
	ok(t, err)
	if !slices.Equal(all, []string{"host"}) {
		t.Errorf("managers %q", all)
	}
	c, err := proc.Dial(bg, b.d, "host")
	ok(t, err)
	defer c.Close()
	ctx := limit(t)
	if _, err := c.Start(ctx, "sibling"); err != nil {
		t.Fatal(err)
	}
	pid := b.state("sibling").Pid
	ok(t, b.Start(ctx, "remote"))
	ok(t, b.Wait(ctx, "remote"))
	if got := b.heard("remote"); !slices.Equal(got, []string{"sibling running", "remote running", "fails stopped"}) {
		t.Errorf("%q", got)
	}
	if now := b.state("sibling").Pid; now == pid || now == 0 {
		t.Errorf("pid %d, then %d", pid, now)
	}
	states, err := c.Signal(ctx, syscall.SIGKILL, "sibling")
	ok(t, err)
	if len(states) != 3 {
		t.Errorf("%v", states)
	}
	b.see("sibling", proc.EventFailed, 1)
	_, err = c.Start(ctx, "fails")
	is(t, err, proc.ErrFailed)
	if !strings.Contains(err.Error(), "exit code 3") {
		t.Error(err)
	}
	_, err = c.Stop(ctx, "nobody")
	is(t, err, shiplap.ErrNotExist)
	_, err = c.Signal(ctx, 77, "sibling")
	if err == nil || !strings.Contains(err.Error(), "signal 77") {
		t.Error(err)
	}
	states, err = c.States(ctx)
	ok(t, err)
	if s := states[2]; s.Name != "fails" || s.Last == nil || s.Last.Code != 3 || s.Phase != proc.Failed {
		t.Errorf("%v", s)
	}
	_, err = c.Stop(ctx)
	ok(t, err)
	ok(t, b.Close())
	_, err = c.States(ctx)
	is(t, err, shiplap.ErrPeerGone)
	_, err = proc.Dial(bg, b.d, "host")
	is(t, err, shiplap.ErrNotExist)
	_, err = proc.Dial(bg, b.d, "")
	is(t, err, shiplap.ErrNotExist)
}

// A call that was given up does not confuse the next one.
func TestCallGivenUp(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "slow", Command: sh("sleep 1000"), Ready: proc.ReadyWord, ReadyTimeout: -1}, proc.Spec{Name: "x", Func: "sleep"})
	c, err := proc.Dial(bg, b.d, "")
	ok(t, err)
	defer c.Close()
	ctx, cancel := context.WithCancel(bg)
	b.OnBeforeStart(func(string) { cancel() })
	_, err = c.Start(ctx, "slow")
	is(t, err, context.Canceled)
	b.see("slow", proc.EventStarting, 1)
	ok(t, b.Stop(limit(t), "slow")) // which ends the call
	_, err = c.Stop(limit(t), "nobody")
	is(t, err, shiplap.ErrNotExist)
}

func TestNames(t *testing.T) {
	b := manage(t, nil)
	_, err := proc.New(b.d, nil)
	is(t, err, shiplap.ErrExist)
	other, err := proc.New(b.d, &proc.Options{Name: "other"})
	ok(t, err)
	defer other.Close()
	hidden, err := proc.New(b.d, &proc.Options{Private: true})
	ok(t, err)
	defer hidden.Close()
	all, err := proc.Managers(b.d)
	ok(t, err)
	if !slices.Equal(all, []string{"main", "other"}) {
		t.Errorf("%q", all)
	}
}

// Many hands at once: nothing hangs, and in the end all is at rest.
func TestManyHands(t *testing.T) {
	b := manage(t, nil)
	for i := range 4 {
		s := proc.Spec{Name: fmt.Sprint("p", i), Command: sh("sleep 1000"), Restart: proc.Always, Backoff: proc.Backoff{First: time.Millisecond}}
		if i > 0 {
			s.After = []string{"p0"}
		}
		b.add(s)
	}
	ctx := limit(t)
	done := make(chan error)
	for i := range 8 {
		go func() {
			for j := range 10 {
				name := fmt.Sprint("p", (i+j)%4)
				var err error
				switch (i + j) % 5 {
				case 0:
					err = b.Start(ctx, name)
				case 1:
					err = b.Stop(ctx, name)
				case 2:
					err = b.Restart(ctx, name)
				case 3:
					err = b.StartAll(ctx)
				case 4:
					_ = b.Signal(name, syscall.SIGKILL)
				}
				if ctx.Err() != nil {
					done <- fmt.Errorf("it hangs: %w", err)
					return
				}
				if err != nil && !errors.Is(err, shiplap.ErrClosed) && !errors.Is(err, proc.ErrFailed) { // stopped meanwhile
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	ok(t, b.StopAll(ctx))
	for _, s := range b.States() {
		if !s.Phase.AtRest() || s.Pid != 0 {
			t.Errorf("%v", s)
		}
	}
}
