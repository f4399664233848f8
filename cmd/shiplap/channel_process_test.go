package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
)

// channelUntil looks at a channel again and again until something holds.
func (s *tool) channelUntil(what, name string, holds func(channel.Stats) bool) {
	s.t.Helper()
	s.until(what, func(d *shiplap.Domain) bool {
		st, err := channel.StatsOf(d, name)
		return err == nil && holds(st)
	})
}

// at waits until a process has side A of the channel chat open, or side B.
func (s *tool) at(side string, p *proc) {
	s.t.Helper()
	s.channelUntil(fmt.Sprintf("pid %d is at side %s", p.Process.Pid, side), "chat", func(st channel.Stats) bool {
		who := st.A
		if side == "B" {
			who = st.B
		}
		return len(who.Pids) == 1 && who.Pids[0] == p.Process.Pid
	})
}

// Lines go over as they come; when the sender closes its side the receiver ends.
func TestChannelTalk(t *testing.T) {
	s := newTool(t)
	recv := s.story("channel", "recv", "chat", "--create")
	s.at("A", recv.proc)
	send := s.story("channel", "send", "chat")
	for i := range 3 {
		fmt.Fprintf(send.in, "line %d\n", i)
		recv.says(fmt.Sprintf("line %d", i))
	}
	s.at("B", send.proc)
	got := s.run("channel", "ls")
	if want := fmt.Sprintf("pid %d", send.Process.Pid); !strings.Contains(got, want) {
		t.Errorf("%s is not shown:\n%s", want, got)
	}
	send.in.Close()
	send.ends(exitOK)
	recv.ends(exitOK)
	recv.silent()
	s.left("chat")
}

// When the receiver is killed the sender is told.
func TestChannelReceiverKilled(t *testing.T) {
	s := newTool(t)
	recv := s.story("channel", "recv", "chat", "--create")
	s.at("A", recv.proc)
	send := s.story("channel", "send", "chat")
	fmt.Fprintln(send.in, "one")
	recv.says("one")
	recv.Process.Kill()
	recv.ends(-1)
	go func() { // until it is told, which takes the kernel a moment
		for err := error(nil); err == nil; time.Sleep(time.Millisecond) {
			_, err = fmt.Fprintln(send.in, "two")
		}
	}()
	send.ends(exitEnded)
	if said := send.stderr.String(); !strings.Contains(said, "peer is gone") || !strings.Contains(said, "sent before that") {
		t.Errorf("it says %q", said)
	}
	if got := s.run("channel", "ls"); !strings.Contains(got, "dead") {
		t.Errorf("the dead side is not shown:\n%s", got)
	}
}

// When the sender is killed the receiver writes what was sent, and is told; one that follows waits for the next.
func TestChannelSenderKilled(t *testing.T) {
	s := newTool(t)
	send := s.story("channel", "send", "chat", "--create")
	s.at("A", send.proc)
	recv := s.story("channel", "recv", "chat")
	fmt.Fprintln(send.in, "one")
	recv.says("one")
	send.Process.Kill()
	send.ends(-1)
	recv.ends(exitEnded)
	if said := recv.stderr.String(); !strings.Contains(said, "a process died") || !strings.Contains(said, "after 1 message") {
		t.Errorf("it says %q", said)
	}
	follows := s.story("channel", "recv", "chat", "--follow")
	for i := range 3 {
		s.run("channel", "send", "chat", "--side", "A", "--wait", fmt.Sprintf("again %d", i))
		follows.says(fmt.Sprintf("again %d", i))
	}
	follows.Process.Signal(unix.SIGINT)
	follows.ends(exitSignalled + int(unix.SIGINT))
	s.left("chat")
}

// One that waits ends with the first who comes.
func TestChannelWait(t *testing.T) {
	s := newTool(t)
	s.run("channel", "send", "chat", "--create", "first")
	if got := s.run("channel", "recv", "chat"); got != "first\n" {
		t.Fatalf("%q", got)
	}
	recv := s.story("channel", "recv", "chat", "--wait")
	s.at("B", recv.proc)
	s.run("channel", "send", "chat", "--side", "A", "second", "third")
	recv.says("second")
	recv.says("third")
	recv.ends(exitOK)
	s.left("chat")
}

// While it waits a signal ends it.
func TestChannelInterrupted(t *testing.T) {
	for _, args := range []string{"channel recv chat --create", "channel recv chat --create --follow", "channel send chat --create --wait x", "channel send chat --create"} {
		t.Run(args, func(t *testing.T) {
			s := newTool(t)
			p := s.story(strings.Fields(args)...)
			s.at("A", p.proc)
			p.Process.Signal(unix.SIGTERM)
			p.ends(exitSignalled + int(unix.SIGTERM))
			s.left("chat")
		})
	}
}

// A channel of a program: its messages are JSON here.
func TestChannelTyped(t *testing.T) {
	s := newTool(t)
	d := s.domain()
	defer d.Close()
	c, err := channel.Set[any](d, "bot-active", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s.run("channel", "send", "bot-active", `{"op": "restart", "n": [1, 2.5]}`, `"text"`)
	for _, want := range []string{"map[n:[1 2.5] op:restart]", "text"} {
		if got, err := c.Receive(t.Context()); err != nil || fmt.Sprint(got) != want {
			t.Errorf("a program reads %v (%v), want %s", got, err, want)
		}
	}
	if err := c.Send(t.Context(), map[string]any{"state": "ready"}); err == nil {
		t.Error("sent to nobody")
	}
	recv := s.story("channel", "recv", "bot-active", "--wait", "--count", "1", "--json")
	if err := c.WaitPeer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(t.Context(), map[string]any{"state": "ready"}); err != nil {
		t.Fatal(err)
	}
	recv.says(`{"message":{"state":"ready"}}`)
	recv.ends(exitOK)
	bad := s.start(nil, nil, "channel", "send", "bot-active", "text")
	bad.ends(exitUsage)
	if !strings.Contains(bad.stderr.String(), `"text" is no JSON`) {
		t.Errorf("it says %q", bad.stderr.String())
	}
}
