package queue_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
	"github.com/shiplap-ipc/shiplap/queue"
)

// comeAndGo opens, makes, uses, closes and removes queues at random, forever.
func comeAndGo(d *shiplap.Domain, seed int) error {
	peertest.Say("going")
	r := rand.New(rand.NewPCG(uint64(seed), 3))
	for {
		if err := comeAndGoOnce(d, r); err != nil {
			return err
		}
	}
}

func comeAndGoOnce(d *shiplap.Domain, r *rand.Rand) error {
	name := fmt.Sprint("n", r.IntN(5))
	q, err := queue.OpenOrCreate[int64](d, name, &queue.Options{Capacity: 4096, Ephemeral: r.IntN(2) == 0, Ack: r.IntN(2) == 0})
	if err != nil {
		return fmt.Errorf("open or create: %w", err)
	}
	for range r.IntN(4) {
		if err := q.TryPut(1); err != nil && !expected(err) {
			return fmt.Errorf("put: %w", err)
		}
		if _, err := q.TryGet(); err != nil && !expected(err) {
			return fmt.Errorf("get: %w", err)
		}
	}
	if r.IntN(4) == 0 {
		if err := d.Remove(bg, name); err != nil && !errors.Is(err, shiplap.ErrNotExist) {
			return fmt.Errorf("remove: %w", err)
		}
	}
	if err := q.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// expected are the errors that others' doings explain.
func expected(err error) bool {
	for _, e := range []error{shiplap.ErrFull, shiplap.ErrEmpty, shiplap.ErrBusy, shiplap.ErrRemoved} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// TestNothingIsLeftBehind: 2000 opens, closes and kills at random leave no file, descriptor, thread or goroutine.
func TestNothingIsLeftBehind(t *testing.T) {
	d := join(t, shmDir(t))
	r := rand.New(rand.NewPCG(1, 2))
	ok(t, comeAndGoOnce(d, r)) // what comes once
	goroutines, files, tasks := runtime.NumGoroutine(), descriptors(), threads(t)
	rounds, peers := 2000, []*peertest.Peer(nil)
	if testing.Short() {
		rounds = 200
	}
	kills := 0
	for i := range rounds {
		switch {
		case i%40 == 0:
			p := peertest.Start(t, d, "coming and going", i)
			p.Says("going")
			peers = append(peers, p)
		case i%40 == 39:
			p := peers[len(peers)-1]
			p.Kill()
			kills++
		}
		ok(t, comeAndGoOnce(d, r))
	}
	for _, p := range peers {
		p.Kill()
	}
	_, err := d.Sweep(bg, false)
	ok(t, err)
	for i := range 5 {
		if err := d.Remove(bg, fmt.Sprint("n", i)); err != nil && !errors.Is(err, shiplap.ErrNotExist) {
			t.Error(err)
		}
	}
	list, err := os.ReadDir(d.Dir())
	ok(t, err)
	if len(list) != 1 {
		t.Errorf("files: %v", list)
	}
	if m, err := d.Members(); err != nil || len(m) != 1 {
		t.Errorf("members: %v (%v)", m, err)
	}
	if !eventually(func() bool { return runtime.NumGoroutine() <= goroutines && descriptors() <= files }) {
		t.Errorf("%d goroutines, %d before; %d descriptors, %d before: %v", runtime.NumGoroutine(), goroutines, descriptors(), files, openFiles())
	}
	if n := threads(t); n > tasks+10 { // the runtime keeps threads, but not one an operation
		t.Errorf("%d threads, %d before", n, tasks)
	}
	t.Logf("%d opens and closes here, %d kills of others that did the same", rounds, kills)
}
