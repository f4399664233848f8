package rpc_test

import (
	"context"
	"math/rand/v2"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/rpc"
)

// How a peer dies.
const (
	plainly = iota
	forking // killed while it starts programs, whose forks hold its descriptors for a moment
	byExec  // it becomes another program, and lives on
	waysOfDeath
)

var deathNames = [waysOfDeath]string{"plainly", "forking", "by exec"}

// startPrograms runs programs in loops.
func startPrograms() {
	for range 2 {
		go func() {
			for {
				_ = exec.Command("true").Run()
			}
		}()
	}
}

// live does until the end what makes that way of death.
func live(way int) {
	if way == forking {
		startPrograms()
	}
	peertest.Say("here")
	peertest.Hear()
	if way == byExec {
		_ = syscall.Exec("/bin/sleep", []string{"sleep", "1000"}, nil)
	}
}

// serveAndDie serves until it dies.
func serveAndDie(d *shiplap.Domain, way int) error {
	v := &service{}
	s, err := rpc.Serve(bg, d, "s", &rpc.Options{Setup: v.setup})
	if err != nil {
		return err
	}
	live(way)
	return s.Close()
}

// callAndDie calls what does not return until it dies.
func callAndDie(d *shiplap.Domain, way int) error {
	c, err := rpc.Dial(bg, d, "s", nil)
	if err != nil {
		return err
	}
	go func() { _, _ = rpc.Call[int64, int64](bg, c, "sleep", 3600_000) }()
	live(way)
	return c.Close()
}

func die(p *peertest.Peer, way int) {
	time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond) // any moment will do
	if way == byExec {
		p.Tell("exec")
	} else {
		p.Kill()
	}
}

func deathRounds() int {
	if testing.Short() {
		return 5
	}
	return 25
}

// forEachDeath runs rounds, and logs how long it took until the other side knew.
func forEachDeath(t *testing.T, round func(t *testing.T, way int) time.Duration) {
	for way, name := range deathNames {
		t.Run(name, func(t *testing.T) {
			var worst time.Duration
			for range deathRounds() {
				worst = max(worst, round(t, way))
				if t.Failed() {
					return
				}
			}
			t.Logf("%d rounds, worst %v", deathRounds(), worst)
		})
	}
}

// However a service dies, its callers are told.
func TestCalleeDies(t *testing.T) {
	forEachDeath(t, func(t *testing.T, way int) time.Duration {
		d := domain(t)
		p := peertest.Start(t, d, "serve and die", way)
		p.Says("here")
		c, err := rpc.Dial(soon(t), d, "s", nil)
		ok(t, err)
		defer c.Close()
		call[pair, int64](t, c, "add", pair{1, 2})
		ctx, cancel := context.WithTimeout(bg, 20*time.Second)
		defer cancel()
		got := make(chan error, 1)
		go func() { _, err := rpc.Call[int64, int64](ctx, c, "sleep", 3600_000); got <- err }()
		die(p, way)
		start := time.Now()
		is(t, "the call", <-got, shiplap.ErrPeerGone)
		took := time.Since(start)
		p.Kill()
		return took
	})
}

// However a caller dies, the context of the function ends, and so does the connection.
func TestCallerDies(t *testing.T) {
	d := domain(t)
	s, v := serve(t, d, nil)
	forEachDeath(t, func(t *testing.T, way int) time.Duration {
		ended := v.ended.Load()
		p := peertest.Start(t, d, "call and die", way)
		p.Says("here")
		if !eventually(func() bool { return v.running.Load() == 1 }) {
			t.Fatal("it does not run")
		}
		die(p, way)
		start := time.Now()
		if !eventually(func() bool { return v.ended.Load() == ended+1 && s.Stats().Connections == 0 }) {
			t.Errorf("%d ended, %+v", v.ended.Load()-ended, s.Stats())
		}
		took := time.Since(start)
		p.Kill()
		return took
	})
}
