package bell_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/queue"
)

var bg = context.Background()

// sleep has goroutines wait for messages of the queue "q" until the peer is to end.
func sleep(d *shiplap.Domain, o order) error {
	q, err := queue.OpenRaw(d, "q", &queue.Options{Wait: shiplap.WaitSleep})
	if err != nil {
		return err
	}
	defer q.Close()
	ctx, cancel := context.WithCancel(bg)
	errs := make([]error, o.Sleepers)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { _, errs[i] = q.Get(ctx, nil) })
	}
	peertest.Say("waiting")
	<-peertest.StdinEnds()
	cancel()
	all.Wait()
	for _, err := range errs {
		if !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return nil
}

func idle(*shiplap.Domain, order) error {
	peertest.Say("joined")
	<-peertest.StdinEnds()
	return nil
}

func join(t *testing.T) *shiplap.Domain {
	t.Helper()
	d, err := shiplap.Join("", &shiplap.Options{Dir: t.TempDir()})
	ok(t, err)
	t.Cleanup(func() { ok(t, d.Close()) })
	return d
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until looks again and again; the bound is against hangs only.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// sleeper starts a peer and waits until it has a FIFO, whose path is returned.
func sleeper(t *testing.T, d *shiplap.Domain) (p *peertest.Peer, fifo string) {
	t.Helper()
	p = peertest.Start(t, d, "sleep", order{Sleepers: 4})
	p.Says("waiting")
	fifo = filepath.Join(d.Dir(), peertest.FIFO(memberOf(t, d, p.Pid())))
	until(t, "the peer has a FIFO", func() bool { return exists(t, fifo) })
	return p, fifo
}

func memberOf(t testing.TB, d *shiplap.Domain, pid int) shiplap.Process {
	t.Helper()
	members, err := d.Members()
	ok(t, err)
	for _, m := range members {
		if m.Pid == pid {
			return m
		}
	}
	t.Fatalf("process %d is no member", pid)
	return shiplap.Process{}
}

func exists(t testing.TB, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// TestDeletedFIFOComesBack: a process whose FIFO somebody deletes makes another one while its goroutines sleep.
func TestDeletedFIFOComesBack(t *testing.T) {
	d := join(t)
	q, err := queue.CreateRaw(d, "q", nil)
	ok(t, err)
	defer q.Close()
	p, fifo := sleeper(t, d)
	ok(t, os.Remove(fifo))
	until(t, "the FIFO is there again", func() bool { return exists(t, fifo) })
	p.Ends()
	if exists(t, fifo) {
		t.Errorf("%s stays when its owner leaves", fifo)
	}
}

// TestFIFOGoes: a process that leaves takes its FIFO along. That of a dead one goes with its slot, by a sweep or by the
// next that joins.
func TestFIFOGoes(t *testing.T) {
	d := join(t)
	q, err := queue.CreateRaw(d, "q", nil)
	ok(t, err)
	defer q.Close()
	left := func(want ...string) {
		t.Helper()
		files, err := peertest.Files(d)
		if ok(t, err); len(files) != len(want) {
			t.Errorf("left are %q, want %q", files, want)
		}
	}

	p, fifo := sleeper(t, d)
	left("q")
	p.Ends()
	if exists(t, fifo) {
		t.Errorf("%s stays when its owner leaves", fifo)
	}

	p, fifo = sleeper(t, d)
	p.Kill()
	left("q", filepath.Base(fifo)) // what is left behind by the dead counts
	_, err = d.Sweep(bg, false)
	if ok(t, err); exists(t, fifo) {
		t.Errorf("%s stays after a sweep", fifo)
	}

	p, fifo = sleeper(t, d)
	p.Kill()
	next := peertest.Start(t, d, "idle", order{})
	next.Says("joined")
	until(t, "a process that joins takes the FIFO of a dead one away", func() bool { return !exists(t, fifo) })
	next.Ends()
	left("q")
}
