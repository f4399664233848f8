package channel_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
	"github.com/shiplap-ipc/shiplap/internal/peertest"
)

// Whoever waits to receive from a process that is killed learns of it, and of one that closes.
func TestKilledWhileReceiving(t *testing.T) {
	d := domain(t)
	a := set[int](t, d, "c", nil)
	for range 2 { // the second comes in place of the first
		p := peertest.Start(t, d, "hold", "c")
		p.Says("has it")
		blocked := make(chan error)
		go func() { _, err := a.Receive(soon(t)); blocked <- err }()
		eventually(t, "nobody waits", func() bool { s, err := a.Stats(); return err == nil && s.BtoA.ReceiveWaits > 0 })
		p.Kill()
		is(t, "receive", <-blocked, shiplap.ErrPeerGone)
		is(t, "send", a.Send(soon(t), 1), shiplap.ErrPeerGone)
		_, err := a.TryReceive()
		is(t, "try to receive", err, shiplap.ErrPeerGone)
		if s, err := a.Stats(); err != nil || s.B.State != "dead" || len(s.B.Pids) != 0 {
			t.Errorf("%+v, %v", s.B, err)
		}
	}
	p := peertest.Start(t, d, "hold", "c")
	p.Says("has it")
	p.Ends()
	if _, err := a.Receive(soon(t)); err != io.EOF {
		t.Errorf("receive from one who closed it: %v", err)
	}
}

// A death is remembered by who gets the slot of the dead one in the table, for the other side.
func TestDeathOutlivesTheSlot(t *testing.T) {
	d := domain(t)
	a := set[int](t, d, "c", nil)
	p := peertest.Start(t, d, "hold", "c")
	p.Says("has it")
	p.Kill()
	_, err := d.Sweep(bg, false)
	ok(t, err)
	q := peertest.Start(t, d, "own", "c") // gets the slot that is free now
	q.Says("has it")
	_, err = a.Receive(soon(t))
	is(t, "receive", err, shiplap.ErrPeerGone)
	if s, err := a.Stats(); err != nil || s.B.State != "dead" || len(s.A.Pids) != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	q.Ends()
}

func TestKilledWhileSendWaits(t *testing.T) {
	d := domain(t)
	a := set[int](t, d, "c", &channel.Options{Capacity: 4096})
	p := peertest.Start(t, d, "hold", "c")
	p.Says("has it")
	done := make(chan error)
	go func() {
		var err error
		for err == nil {
			err = a.Send(soon(t), 1)
		}
		done <- err
	}()
	eventually(t, "nobody waits", func() bool { s, err := a.Stats(); return err == nil && s.AtoB.SendWaits > 0 })
	p.Kill()
	is(t, "send", <-done, shiplap.ErrPeerGone)
	b := get[int](t, d, "c", nil) // the messages are still there
	receives(t, b, 1)
}

// The last of several matters.
func TestOneOfTwoKilled(t *testing.T) {
	d := domain(t)
	a := set[int](t, d, "c", nil)
	p, q := peertest.Start(t, d, "receive", "c"), peertest.Start(t, d, "hold", "c")
	p.Says("has it")
	q.Says("has it")
	blocked := make(chan error)
	go func() { _, err := a.Receive(soon(t)); blocked <- err }()
	q.Kill()
	sends(t, a, 7)
	p.Says("7")
	select {
	case err := <-blocked:
		t.Fatal("one is there:", err)
	default:
	}
	p.Ends()
	is(t, "receive", <-blocked, shiplap.ErrPeerGone) // what the dead one wanted to say nobody knows
}

// What was sent before a death is received.
func TestDrainsTheDead(t *testing.T) {
	d := domain(t)
	a := set[int](t, d, "c", &channel.Options{Capacity: 4096})
	p := peertest.Start(t, d, "send", "c")
	p.Says("going")
	receives(t, a, 0)
	eventually(t, "it is not full", func() bool { s, err := a.Stats(); return err == nil && s.BtoA.SendWaits > 0 })
	p.Kill()
	for want := 1; ; want++ {
		v, err := a.Receive(soon(t))
		if errors.Is(err, shiplap.ErrPeerGone) {
			if want < 200 {
				t.Errorf("only %d messages", want)
			}
			break
		}
		if err != nil || v != want {
			t.Fatal(v, err)
		}
	}
}

// Two processes receive: each message comes once, and a stopped one keeps none back.
func TestTwoReceivingProcesses(t *testing.T) {
	d := domain(t)
	a := set[int](t, d, "c", nil)
	p, q := peertest.Start(t, d, "receive", "c"), peertest.Start(t, d, "receive", "c")
	p.Says("has it")
	q.Says("has it")
	const n = 500
	for i := range n {
		sends(t, a, i)
	}
	ok(t, a.Close())
	var all []int
	for _, r := range []*peertest.Peer{p, q} {
		last := -1
		for {
			line := r.Line()
			if line == "end" {
				break
			}
			v, err := strconv.Atoi(line)
			if err != nil || v <= last {
				t.Fatalf("%q after %d", line, last)
			}
			last = v
			all = append(all, v)
		}
		r.Ends()
	}
	slices.Sort(all)
	for i := range n {
		if len(all) != n || all[i] != i {
			t.Fatalf("%d messages: %v", len(all), all)
		}
	}
}

// A passive handle is told of the death, and goes on with the process that is started again.
func TestPassiveEndRestarted(t *testing.T) {
	d := domain(t)
	told, begun := make(chan error, 5), make(chan bool, 5)
	a := set[int](t, d, "c", &channel.Options{Capacity: 4096, OnGone: func(err error) { told <- err }})
	_, err := a.OnReceive(func(context.Context, int) { begun <- true }, func(v int) bool { return v == 0 })
	ok(t, err)
	for range 2 {
		p := peertest.Start(t, d, "send", "c")
		<-begun
		p.Kill()
		is(t, "told", <-told, shiplap.ErrPeerGone)
	}
}

// A handler of another process that blocks for ever.
func TestHandlerOfAnotherBlocks(t *testing.T) {
	d := domain(t)
	a, other := set[int](t, d, "c", &channel.Options{Capacity: 4096}), set[int](t, d, "other", nil)
	p, q := peertest.Start(t, d, "block", "c"), peertest.Start(t, d, "receive", "other")
	p.Says("has it")
	q.Says("has it")
	sends(t, a, 1)
	p.Says("blocked")
	var err error
	for err == nil {
		err = a.TrySend(2)
	}
	is(t, "send to one who is blocked", err, shiplap.ErrFull)
	sends(t, other, 1)
	q.Says("1")
	p.Kill()
	eventually(t, "its death is not known", func() bool { return errors.Is(a.TrySend(3), shiplap.ErrPeerGone) })
}

// A stopped process is not gone.
func TestStopped(t *testing.T) {
	d := domain(t)
	a := set[int](t, d, "c", nil)
	p := peertest.Start(t, d, "receive", "c")
	p.Says("has it")
	p.Stop()
	ctx, cancel := context.WithTimeout(bg, 300*time.Millisecond)
	defer cancel()
	_, err := a.Receive(ctx)
	is(t, "receive from a stopped process", err, context.DeadlineExceeded)
	sends(t, a, 1, 2)
	p.Signal(syscall.SIGCONT)
	p.Says("1")
	p.Says("2")
	p.Ends()
}

// A reply channel goes through a third process, and works between the first and the last.
func TestChannelThroughChannel(t *testing.T) {
	d := domain(t)
	first := set[parcel](t, d, "1", nil)
	set[parcel](t, d, "2", nil)
	p := peertest.Start(t, d, "forward", "1")
	p.Says("has it")
	q := peertest.Start(t, d, "reply", "2")
	q.Says("has it")
	for _, last := range []bool{false, true} {
		reply := closing[string](t)(channel.Anonymous[string](d, nil))
		ref, err := reply.Ref(channel.SideB)
		ok(t, err)
		sends(t, first, parcel{"hello", ref})
		receives(t, reply, "re: hello,1")
		if last {
			p.Kill() // who was in between is needed no more
		}
		sends(t, reply, "thanks")
		q.Says("thanks")
		if _, err := reply.Receive(soon(t)); err != io.EOF {
			t.Error(err)
		}
		ok(t, reply.Close())
	}
}

// The maker gives both sides away and closes his handle: the two others talk.
func TestBothSidesGivenAway(t *testing.T) {
	d := domain(t)
	to := set[parcel](t, d, "1", nil)
	q := peertest.Start(t, d, "reply", "1")
	q.Says("has it")
	c, err := channel.Anonymous[string](d, nil)
	ok(t, err)
	ref, err := c.Ref(channel.SideB)
	ok(t, err)
	mine, err := c.Ref(channel.SideA)
	ok(t, err)
	q.Stop() // it cannot have opened it when we close
	sends(t, to, parcel{"hello", ref})
	ok(t, c.Close())
	q.Signal(syscall.SIGCONT)
	a := closing[string](t)(mine.Open(d, nil))
	receives(t, a, "re: hello")
	sends(t, a, "thanks")
	q.Says("thanks")
	ok(t, to.Close())
	q.Ends()
}

// A reference whose maker died leads nowhere, and says so.
func TestMakerOfRefKilled(t *testing.T) {
	d := domain(t)
	to := set[parcel](t, d, "1", nil)
	p := peertest.Start(t, d, "lend", "1")
	name := p.Line()
	b := get[parcel](t, d, "1", nil)
	m, err := b.Receive(soon(t))
	ok(t, err)
	p.Kill()
	_, err = d.Sweep(bg, false)
	ok(t, err)
	_, err = m.Reply.Open(d, nil)
	is(t, "open", err, shiplap.ErrNotExist)
	_, err = d.Stat(name)
	is(t, "stat", err, shiplap.ErrNotExist)

	p = peertest.Start(t, d, "lend", "1") // and one that is opened in time
	p.Line()
	m, err = b.Receive(soon(t))
	ok(t, err)
	far := closing[string](t)(m.Reply.Open(d, nil))
	p.Kill()
	_, err = far.Receive(soon(t))
	is(t, "receive from the dead maker", err, shiplap.ErrPeerGone)
	ok(t, to.Close())
}
