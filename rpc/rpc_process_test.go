package rpc_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/rpc"
)

// serveUntilEnd serves until stdin ends.
func serveUntilEnd(d *shiplap.Domain, arg int) error {
	v := &service{}
	s, err := rpc.Serve(bg, d, "s", &rpc.Options{Setup: v.setup, Wait: shiplap.WaitMode(arg)})
	if err != nil {
		return err
	}
	peertest.Say("serving")
	<-peertest.StdinEnds()
	return s.Close()
}

// callAndWait calls what does not return.
func callAndWait(d *shiplap.Domain, _ int) error {
	c, err := rpc.Dial(bg, d, "s", nil)
	if err != nil {
		return err
	}
	if _, err := rpc.Call[pair, int64](bg, c, "add", pair{1, 2}); err != nil {
		return err
	}
	peertest.Say("calling")
	_, err = rpc.Call[int64, int64](bg, c, "sleep", 3600_000)
	return err
}

// callMany calls from several goroutines until stdin ends.
func callMany(d *shiplap.Domain, _ int) error {
	stop := peertest.StdinEnds()
	c, err := rpc.Dial(bg, d, "s", nil)
	if err != nil {
		return err
	}
	defer c.Close()
	peertest.Say("calling")
	got := make(chan error, 8)
	for i := range int64(cap(got)) {
		go func() {
			for n := int64(0); ; n++ {
				select {
				case <-stop:
					got <- nil
					return
				default:
				}
				r, err := rpc.Call[pair, int64](bg, c, "add", pair{n, i})
				if err == nil && r != n+i {
					err = errors.New("another's reply")
				}
				if err != nil {
					got <- err
					return
				}
			}
		}()
	}
	for range cap(got) {
		err = errors.Join(err, <-got)
	}
	return err
}

func TestCalleeKilled(t *testing.T) {
	d := domain(t)
	p := peertest.Start(t, d, "serve", 0)
	p.Says("serving")
	c := dial(t, d)
	if n := call[pair, int64](t, c, "add", pair{1, 2}); n != 3 {
		t.Error(n)
	}
	list, err := rpc.Services(d)
	ok(t, err)
	if len(list) != 1 || list[0].Pid != p.Pid() {
		t.Errorf("%+v, pid %d", list, p.Pid())
	}
	got := make(chan error, 10)
	for range cap(got) {
		go func() { _, err := rpc.Call[int64, int64](bg, c, "sleep", 3600_000); got <- err }()
	}
	if !eventually(func() bool { return c.Stats().Open == cap(got) }) {
		t.Fatal("they do not run")
	}
	p.Kill()
	for range cap(got) {
		err := <-got
		is(t, "its calls", err, shiplap.ErrPeerGone)
		if err == nil || !strings.Contains(err.Error(), "died") {
			t.Error(err)
		}
	}
	_, err = rpc.Call[pair, int64](bg, c, "add", pair{})
	is(t, "after it", err, shiplap.ErrPeerGone)
	if list, err := rpc.Services(d); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	_, err = rpc.Dial(soon(t), d, "s", nil)
	is(t, "nobody serves", err, shiplap.ErrPeerGone)
	serve(t, d, nil) // the name is free
	c = dial(t, d)
	call[pair, int64](t, c, "add", pair{1, 2})
}

// The callee dies before it ever answered anything.
func TestCalleeKilledEarly(t *testing.T) {
	d := domain(t)
	p := peertest.Start(t, d, "serve", 0)
	p.Says("serving")
	p.Stop()
	c := dial(t, d)
	got := make(chan error, 3)
	for range cap(got) {
		go func() { _, err := rpc.Call[pair, int64](bg, c, "add", pair{}); got <- err }()
	}
	if !eventually(func() bool { return c.Stats().Open == 3 }) {
		t.Fatal("they do not call")
	}
	p.Kill()
	for range cap(got) {
		is(t, "its calls", <-got, shiplap.ErrPeerGone)
	}
}

func TestCallerKilled(t *testing.T) {
	d := domain(t)
	s, v := serve(t, d, nil)
	p := peertest.Start(t, d, "call", 0)
	p.Says("calling")
	if !eventually(func() bool { return v.running.Load() == 1 }) {
		t.Fatal("it does not run")
	}
	p.Kill()
	if !eventually(func() bool { return v.ended.Load() == 1 && s.Stats().Connections == 0 && s.Stats().Running == 0 }) {
		t.Errorf("%d ended, %+v", v.ended.Load(), s.Stats())
	}
	call[pair, int64](t, dial(t, d), "add", pair{1, 2})
}

// A stopped callee: calls end at their deadlines, also those that cannot even be sent; it goes on when it does.
func TestCalleeStopped(t *testing.T) {
	d := domain(t)
	p := peertest.Start(t, d, "serve", 0)
	p.Says("serving")
	c := closing[*rpc.Client](t)(rpc.Dial(soon(t), d, "s", &rpc.Options{Capacity: 4096}))
	call[[]byte, []byte](t, c, "echo", nil)
	p.Stop()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(bg, time.Duration(20+i%10)*time.Millisecond)
			defer cancel()
			_, err := rpc.Call[[]byte, []byte](ctx, c, "echo", make([]byte, 300*(i%10)))
			is(t, "a stopped callee", err, context.DeadlineExceeded)
		})
	}
	wg.Wait()
	p.Signal(syscall.SIGCONT)
	if b := call[[]byte, []byte](t, c, "echo", []byte("on")); string(b) != "on" {
		t.Error(b)
	}
	if !eventually(func() bool { return c.Stats().Open == 0 }) {
		t.Errorf("%+v", c.Stats())
	}
	p.Ends()
}

// Callers die at random beside others, whose calls are all answered.
func TestCallersKilledAtRandom(t *testing.T) {
	d := domain(t)
	s, _ := serve(t, d, nil)
	var peers []*peertest.Peer
	for range 3 {
		peers = append(peers, peertest.Start(t, d, "calls", 0))
	}
	round := time.Second
	if testing.Short() {
		round /= 4
	}
	c := dial(t, d)
	for end := time.Now().Add(round); time.Now().Before(end); {
		i := rand.IntN(len(peers))
		peers[i].Says("calling")
		for range 50 {
			call[pair, int64](t, c, "add", pair{1, 2})
		}
		peers[i].Kill()
		peers[i] = peertest.Start(t, d, "calls", 0)
	}
	for _, p := range peers {
		p.Ends()
	}
	if !eventually(func() bool { return s.Stats().Connections == 1 && s.Stats().Running == 0 }) {
		t.Errorf("%+v", s.Stats())
	}
}

// The second of two services of one name is refused, also in another process.
func TestTwoServices(t *testing.T) {
	d := domain(t)
	p := peertest.Start(t, d, "serve", 0)
	p.Says("serving")
	_, err := rpc.Serve(bg, d, "s", nil)
	is(t, "a second", err, shiplap.ErrExist)
	p.Ends()
	serve(t, d, nil)
}
