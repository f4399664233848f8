package row

import (
	"errors"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/futex"
)

// The owners of these tests tell of no death at all: what ends the waits is that everything is asked again.

func topicEnded(t *testing.T, what string, f func() error, meanwhile func()) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		if d, m, _ := futex.Sleepers(); d+m >= 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%s: it does not sleep", what)
		}
	}
	meanwhile()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: no end", what)
		return nil
	}
}

// A subscriber that holds a publisher up dies.
func TestLaggardDiesUntold(t *testing.T) {
	w := newTopicWorld(MinArea, false, 4)
	slow, err := w.open(7).Subscribe(0)
	must(t, err)
	f := w.open(1)
	for err == nil {
		err = f.TryPut(numbered(1, 200))
	}
	if err != errs.ErrFull {
		t.Fatal(err)
	}
	_ = slow
	err = topicEnded(t, "publish", func() error { return f.Put(bg, numbered(2, 200)) }, func() { w.dead.Store(uint32(7), true) })
	must(t, err)
}

// A publisher dies while it is busy in a closed topic: its subscribers learn that nothing will come.
func TestTopicBusyProducerDies(t *testing.T) {
	w := newTopicWorld(MinArea, false, 4)
	p := w.open(7)
	if ok, _ := p.ProducerLock.TryLock(); !ok {
		t.Fatal("the lock is taken")
	}
	p.busy.StoreRelease(1)
	s, err := w.open(8).Subscribe(0)
	must(t, err)
	p.Close()
	err = topicEnded(t, "get", func() error { _, err := s.Get(bg, nil); return err }, func() { w.dead.Store(uint32(7), true) })
	if !errors.Is(err, errs.ErrClosed) {
		t.Error(err)
	}
}
