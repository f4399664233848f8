package channel_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
)

type event struct {
	Name string
	Data map[string]any
}

func TestThereAndBack(t *testing.T) {
	d := domain(t)
	a := set[event](t, d, "events", &channel.Options{Label: "of the host"})
	b := get[event](t, d, "events", nil)
	sends(t, a, event{"started", map[string]any{"n": uint64(1)}}, event{Name: "second"})
	sends(t, b, event{Name: "back"})
	for _, want := range []string{"started", "second"} {
		if e, err := b.Receive(soon(t)); err != nil || e.Name != want {
			t.Fatalf("%v, %v", e, err)
		}
	}
	if e, err := a.TryReceive(); err != nil || e.Name != "back" {
		t.Fatalf("%v, %v", e, err)
	}
	_, err := a.TryReceive()
	is(t, "nothing there", err, shiplap.ErrEmpty)
	s, err := a.Stats()
	ok(t, err)
	if s.AtoB.Sent != 2 || s.AtoB.Received != 2 || s.BtoA.Sent != 1 || s.A.State != "held" || s.B.State != "held" || len(s.B.Pids) != 1 {
		t.Errorf("%+v", s)
	}
	if a.Side() != channel.SideA || b.Side() != channel.SideB || b.Name() != "events" || !strings.Contains(b.String(), `side B of channel "events"`) {
		t.Error(a, b)
	}
}

func TestNames(t *testing.T) {
	d := domain(t)
	set[int](t, d, "x", nil)
	_, err := channel.Set[int](d, "x", nil)
	is(t, "a name twice", err, shiplap.ErrExist)
	_, err = channel.Get[int](d, "y", nil)
	is(t, "no such name", err, shiplap.ErrNotExist)
	_, err = channel.Get[string](d, "x", nil)
	is(t, "another type", err, shiplap.ErrIncompatible)
	if !strings.Contains(err.Error(), "fixed:<i8") || !strings.Contains(err.Error(), "cbor:str") {
		t.Errorf("it does not show both: %v", err)
	}
	_, err = channel.Get[int](d, "x", &channel.Options{Side: "C"})
	is(t, "a third side", err, shiplap.ErrName)
	_, err = channel.Get[int](d, "x", &channel.Options{Workers: -1})
	is(t, "negative workers", err, shiplap.ErrTooLarge)
	_, err = channel.Set[int](d, "z", &channel.Options{Capacity: -1})
	is(t, "negative capacity", err, shiplap.ErrTooLarge)
	_, err = channel.Set[chan int](d, "z", nil)
	if err == nil {
		t.Error("a Go channel was accepted as a message")
	}
	own := closing[int](t)(channel.SetOrGetOwn[int](d, "x", nil))
	made := closing[int](t)(channel.SetOrGetOwn[int](d, "new", nil))
	if own.Side() != channel.SideA || made.Side() != channel.SideA {
		t.Error(own, made)
	}
	all, err := channel.List(d)
	ok(t, err)
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"new", "x"}) || all[1].A.Opened != 2 || all[1].B.State != "free" {
		t.Errorf("%v: %+v", names, all)
	}
	if one, err := channel.StatsOf(d, "x"); err != nil || one.String() != all[1].String() {
		t.Errorf("%v, %v", one, err)
	}
}

func TestBeforeAnybodyCame(t *testing.T) {
	d := domain(t)
	a := set[[]byte](t, d, "c", &channel.Options{Capacity: 4096})
	_, err := a.TryReceive()
	is(t, "receive", err, shiplap.ErrEmpty)
	ctx, cancel := context.WithTimeout(bg, time.Millisecond)
	defer cancel()
	_, err = a.Receive(ctx)
	is(t, "receive", err, context.DeadlineExceeded)
	n := 0
	for err = a.TrySend(make([]byte, 500)); err == nil; err = a.TrySend(make([]byte, 500)) {
		n++
	}
	is(t, "full", err, shiplap.ErrFull)
	is(t, "full", a.Send(ctx, make([]byte, 500)), context.DeadlineExceeded)
	is(t, "too long", a.TrySend(make([]byte, 5000)), shiplap.ErrTooLarge)
	b := get[[]byte](t, d, "c", nil)
	for range n {
		if m, err := b.TryReceive(); err != nil || len(m) != 500 {
			t.Fatal(len(m), err)
		}
	}
}

func TestEndInOrder(t *testing.T) {
	d := domain(t)
	a := set[int](t, d, "c", nil)
	b, b2 := get[int](t, d, "c", nil), get[int](t, d, "c", nil)
	sends(t, b, 1)
	ok(t, b.Close())
	receives(t, a, 1)
	sends(t, a, 2) // b2 is there
	blocked := make(chan error)
	go func() { _, err := a.Receive(soon(t)); blocked <- err }()
	sends(t, b2, 3)
	ok(t, <-blocked)
	before, err := a.Stats()
	ok(t, err)
	go func() { _, err := a.Receive(soon(t)); blocked <- err }()
	eventually(t, "nobody waits", func() bool { s, err := a.Stats(); return err == nil && s.BtoA.ReceiveWaits > before.BtoA.ReceiveWaits })
	ok(t, b2.Close())
	if err := <-blocked; err != io.EOF {
		t.Errorf("receive when all closed: %v", err)
	}
	_, err = a.TryReceive()
	is(t, "try to receive then", err, io.EOF)
	is(t, "send then", a.Send(soon(t), 4), shiplap.ErrPeerGone)
	is(t, "try to send then", a.TrySend(4), shiplap.ErrPeerGone)
	for range a.All(bg) {
		t.Error("there is something")
	}
	if s, err := a.Stats(); err != nil || s.B.State != "closed" || s.B.Opened != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	b3 := get[int](t, d, "c", nil) // it goes on, with what nobody received
	receives(t, b3, 2)
	sends(t, b3, 5)
	sends(t, a, 6)
	receives(t, a, 5)
	receives(t, b3, 6)
	ok(t, a.Close())
	if _, err := b3.Receive(soon(t)); err != io.EOF {
		t.Error(err)
	}
}

func TestCloseEndsWaits(t *testing.T) {
	a, b := pair[[]byte](t, &channel.Options{Capacity: 4096})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { _, err := a.Receive(bg); is(t, "receive", err, shiplap.ErrClosed) })
	}
	for a.TrySend(make([]byte, 1000)) == nil {
	}
	for range 4 {
		wg.Go(func() { is(t, "send", a.Send(bg, make([]byte, 1000)), shiplap.ErrClosed) })
	}
	eventually(t, "nobody sleeps", func() bool {
		s, err := b.Stats()
		return err == nil && s.AtoB.SendWaits >= 4 && s.BtoA.ReceiveWaits >= 4
	})
	ok(t, a.Close())
	wg.Wait()
	is(t, "close again", a.Close(), shiplap.ErrClosed)
	is(t, "send", a.TrySend(nil), shiplap.ErrClosed)
	_, err := a.Stats()
	is(t, "stats", err, shiplap.ErrClosed)
	_, err = a.OnReceive(func(context.Context, []byte) {})
	is(t, "handlers", err, shiplap.ErrClosed)
}

func TestRemoved(t *testing.T) {
	d := domain(t)
	a := set[int](t, d, "c", nil)
	told := make(chan error, 1)
	b := get[int](t, d, "c", &channel.Options{OnGone: func(err error) { told <- err }, Logger: quiet})
	_, err := b.OnReceive(func(context.Context, int) {})
	ok(t, err)
	blocked := make(chan error)
	go func() { _, err := a.Receive(soon(t)); blocked <- err }()
	ok(t, d.Remove(bg, "c"))
	is(t, "receive", <-blocked, shiplap.ErrRemoved)
	is(t, "handlers", <-told, shiplap.ErrRemoved)
	is(t, "send", a.Send(bg, 1), shiplap.ErrRemoved)
}

func TestWaitPeer(t *testing.T) {
	d := domain(t)
	a := set[int](t, d, "c", nil)
	ctx, cancel := context.WithTimeout(bg, time.Millisecond)
	defer cancel()
	is(t, "nobody comes", a.WaitPeer(ctx), context.DeadlineExceeded)
	came := make(chan error)
	go func() { came <- a.WaitPeer(soon(t)) }()
	b := get[int](t, d, "c", nil)
	ok(t, <-came, a.WaitPeer(bg))
	ok(t, b.Close())
	is(t, "nobody is there", a.WaitPeer(ctx), context.DeadlineExceeded)
}

// Each message is received once, whoever receives.
func TestTwoActiveReceivers(t *testing.T) {
	d := domain(t)
	const n = 3000
	a := set[int](t, d, "c", &channel.Options{Capacity: 4096})
	var mu sync.Mutex
	got := map[int]int{}
	var wg sync.WaitGroup
	for range 2 {
		b := get[int](t, d, "c", nil)
		for range 2 {
			wg.Go(func() {
				for v, err := range b.All(soon(t)) {
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					got[v]++
					mu.Unlock()
				}
			})
		}
	}
	var senders sync.WaitGroup
	for s := range 2 {
		senders.Go(func() {
			for i := range n / 2 {
				if err := a.Send(soon(t), 2*i+s); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	senders.Wait()
	ok(t, a.Close())
	wg.Wait()
	for i := range n {
		if got[i] != 1 {
			t.Fatalf("message %d was received %d times", i, got[i])
		}
	}
}

// Many who do not wait, side by side: nothing is lost, whoever is busy for a moment.
func TestTryBesideOthers(t *testing.T) {
	a, b := pair[int](t, nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				for err := a.TrySend(1); err != nil; err = a.TrySend(1) {
					if !errors.Is(err, shiplap.ErrFull) && !errors.Is(err, shiplap.ErrBusy) {
						t.Error(err)
						return
					}
					runtime.Gosched()
				}
			}
		})
		wg.Go(func() {
			for range 500 {
				_, err := b.TryReceive()
				for ; err != nil; _, err = b.TryReceive() {
					if !errors.Is(err, shiplap.ErrEmpty) && !errors.Is(err, shiplap.ErrBusy) {
						t.Error(err)
						return
					}
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
}

func TestRaw(t *testing.T) {
	d := domain(t)
	a := set[string](t, d, "c", &channel.Options{Codec: channel.JSON})
	r, err := channel.OpenRaw(d, "c", nil)
	ok(t, err)
	if r.Type() != "json:str" || r.MaxMessage() != channel.DefaultCapacity-16 {
		t.Error(r.Type(), r.MaxMessage())
	}
	ok(t, r.Send(bg, []byte(`"text"`)))
	receives(t, a, "text")
	ok(t, r.Send(bg, []byte(`{`)))
	_, err = a.Receive(bg)
	is(t, "nonsense", err, shiplap.ErrCorrupt)
	sends(t, a, "back")
	if b, err := r.Receive(bg, []byte("> ")); err != nil || string(b) != `> "back"` {
		t.Errorf("%q, %v", b, err)
	}
	ok(t, r.Close())
}

// With Keep, what is sent to a side that nobody has open any more waits for the next who opens it, also when it is full.
func TestKeep(t *testing.T) {
	d := domain(t)
	a := set[[]byte](t, d, "c", &channel.Options{Capacity: 4096, Keep: true})
	b, err := channel.Get[[]byte](d, "c", nil)
	ok(t, err)
	ok(t, b.Close())
	msg := make([]byte, 1000)
	n := 0
	for ; ; n++ {
		if err = a.TrySend(msg); err != nil {
			break
		}
	}
	is(t, "a full channel", err, shiplap.ErrFull)
	sent := make(chan error)
	go func() { sent <- a.Send(soon(t), msg[:999]) }()
	eventually(t, "nobody waits", func() bool { s, err := a.Stats(); return err == nil && s.AtoB.SendWaits > 0 })
	b, err = channel.Get[[]byte](d, "c", nil)
	ok(t, err)
	for range n {
		_, err := b.Receive(soon(t))
		ok(t, err)
	}
	ok(t, <-sent)
	last, err := b.Receive(soon(t))
	ok(t, err)
	if len(last) != 999 || n == 0 {
		t.Errorf("%d bytes after %d messages", len(last), n)
	}
	ok(t, b.Close())
	_, err = a.Receive(soon(t)) // which does not change
	is(t, "receive", err, io.EOF)
}
