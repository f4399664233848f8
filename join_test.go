package shiplap_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/killtest"
)

// TestJoinBesideOneWhoRemoves: a process that was stopped while it had the names locked keeps nobody from joining,
// though there is something to sweep.
func TestJoinBesideOneWhoRemoves(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "shiplap-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	trial := &killtest.Trial{Dir: dir}
	state, err := withDead(trial)
	if err != nil {
		t.Fatal(err)
	}
	w := state.(*world)
	defer w.Close()
	f, err := os.OpenFile(filepath.Join(w.d.Dir(), "#members"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const nameLock = 4096 + 1024*128
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: nameLock, Len: 1}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- intactJoin(dir) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it does not join")
		f.Close() // lets it go on
		<-done
	}
}

// intactJoin joins as everybody does, with a sweep.
func intactJoin(dir string) error {
	d, err := shiplap.Join("some", &shiplap.Options{Dir: dir})
	if err != nil {
		return err
	}
	return d.Close()
}
