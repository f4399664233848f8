package proc_test

import (
	"context"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/pipe"
	"github.com/shiplap-ipc/shiplap/proc"
)

// held are two processes, of which "second" starts after "first" and does not stop before letGo.
func held(t *testing.T) (b *boss, stopping <-chan struct{}, letGo func()) {
	t.Helper()
	b = manage(t, nil)
	b.add(proc.Spec{Name: "first", Func: "sleep", Ready: proc.ReadyWord},
		proc.Spec{Name: "second", Func: "sleep", Ready: proc.ReadyWord, After: []string{"first"}})
	asked, goOn := make(chan struct{}, 10), make(chan struct{})
	b.OnBeforeShutdown(func(name string) {
		if name == "second" {
			asked <- struct{}{}
			<-goOn
		}
	})
	open := true
	letGo = func() {
		if open {
			close(goOn)
		}
		open = false
	}
	t.Cleanup(letGo)
	ok(t, b.StartAll(limit(t)))
	return b, asked, letGo
}

// A caller that gives up waiting for a stop has told all of them to stop.
func TestStopGivenUp(t *testing.T) {
	b, stopping, letGo := held(t)
	ctx, cancel := context.WithCancel(bg)
	go func() { <-stopping; cancel() }()
	is(t, b.StopAll(ctx), context.Canceled)
	letGo()
	b.see("first", proc.EventStopped, 1)
	b.see("second", proc.EventStopped, 1)
}

// A caller that gives up waiting for a restart has had them restarted.
func TestRestartGivenUp(t *testing.T) {
	b, stopping, letGo := held(t)
	ctx, cancel := context.WithCancel(bg)
	go func() { <-stopping; cancel() }()
	is(t, b.Restart(ctx), context.Canceled)
	letGo()
	b.see("first", proc.EventReady, 2)
	b.see("second", proc.EventReady, 2)
}

// What somebody else wants afterwards counts more than what a call wanted that was given up.
func TestGivenUpAndOvertaken(t *testing.T) {
	b, stopping, letGo := held(t)
	ctx, cancel := context.WithCancel(bg)
	go func() { <-stopping; cancel() }()
	is(t, b.StopAll(ctx), context.Canceled)
	ok(t, b.Start(limit(t), "first")) // it runs, and "second" is still stopping
	letGo()
	b.see("second", proc.EventStopped, 1)
	ok(t, b.Start(limit(t), "second"))
	if s := b.state("first"); s.Phase != proc.Running {
		t.Errorf("first is %s", s.Phase)
	}
}

// A start that is given up while the process is coming to rest starts it all the same.
func TestStartGivenUp(t *testing.T) {
	b, stopping, letGo := held(t)
	stopped := make(chan error, 1)
	go func() { stopped <- b.Stop(limit(t), "second") }()
	<-stopping
	ctx, cancel := context.WithCancel(bg)
	cancel()
	is(t, b.Start(ctx, "second"), context.Canceled)
	letGo()
	ok(t, <-stopped)
	b.see("second", proc.EventReady, 2)
}

// The order of a caller that is gone is carried out; nobody waits on for that caller.
func TestCallerGone(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "slow", Command: sh("sleep 1000"), Ready: proc.ReadyWord, ReadyTimeout: -1})
	c, err := proc.Dial(limit(t), b.d, "")
	ok(t, err)
	ctx, cancel := context.WithCancel(bg)
	b.OnBeforeStart(func(string) { cancel() })
	_, err = c.Start(ctx, "slow")
	is(t, err, context.Canceled)
	ok(t, c.Close())
	b.see("slow", proc.EventStarting, 1)
	if !eventually(func() bool {
		all, err := b.d.List()
		ok(t, err)
		for _, o := range all {
			if strings.HasPrefix(o.Name, "main.control~") {
				return false
			}
		}
		return true
	}) {
		t.Error("the manager keeps the connection of a caller that is gone")
	}
	if s := b.state("slow"); s.Pid == 0 {
		t.Errorf("slow is %s", s.Phase)
	}
}

// The caller makes the pipe, of any size; an order has a longest length.
func TestOrderTooLong(t *testing.T) {
	b := manage(t, nil)
	e, err := pipe.Dial(limit(t), b.d, "main.control", &pipe.Options{Capacity: 32 << 20})
	ok(t, err)
	defer e.Close()
	ok(t, e.Send(limit(t), []byte(`{"id":1,"op":"states","names":["`+strings.Repeat("x", 8<<20)+`"]}`)))
	if answer, err := e.Recv(limit(t), nil); err == nil {
		t.Errorf("an order of 8 MiB was answered by %.100q", answer)
	}
	c, err := proc.Dial(limit(t), b.d, "")
	ok(t, err)
	defer c.Close()
	_, err = c.States(limit(t))
	ok(t, err)
}

// Three processes that start after each other never run, and keep nobody from closing their manager.
func TestCloseCircle(t *testing.T) {
	b := manage(t, nil)
	b.add(proc.Spec{Name: "a", Func: "sleep", After: []string{"c"}}, proc.Spec{Name: "b", Func: "sleep", After: []string{"a"}},
		proc.Spec{Name: "c", Func: "sleep", After: []string{"b"}})
	is(t, b.StartAll(limit(t)), shiplap.ErrConflict)
	ok(t, b.StopAll(limit(t)))
	ok(t, b.Close())
}
