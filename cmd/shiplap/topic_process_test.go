package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/topic"
)

// topicUntil looks at a topic again and again until something holds.
func (s *tool) topicUntil(what, name string, holds func(topic.Stats) bool) {
	s.t.Helper()
	s.until(what, func(d *shiplap.Domain) bool {
		st, err := topic.StatsOf(d, name)
		return err == nil && holds(st)
	})
}

func (s *tool) subscribers(name string, n int) {
	s.t.Helper()
	s.topicUntil(fmt.Sprintf("%d subscribe", n), name, func(st topic.Stats) bool { return len(st.Subscribers) == n })
}

// stopped stops a process, and waits until it is.
func (s *tool) stopped(p *proc) {
	s.t.Helper()
	p.Process.Signal(unix.SIGSTOP)
	s.until("it is stopped", func(*shiplap.Domain) bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
		text := string(b)
		return err == nil && strings.HasPrefix(text[strings.LastIndexByte(text, ')')+1:], " T")
	})
}

// Everybody gets everything, until the topic is closed.
func TestTopicPubSub(t *testing.T) {
	s := newTool(t)
	s.run("topic", "create", "news")
	a, b := s.story("topic", "sub", "news"), s.story("topic", "sub", "news", "--json")
	s.subscribers("news", 2)
	s.run("topic", "pub", "news", "one", "two")
	a.says("one")
	b.says(`{"message":"one"}`)
	a.says("two")
	b.says(`{"message":"two"}`)
	pub := s.story("topic", "pub", "news") // lines are published as they come
	fmt.Fprintln(pub.in, "three")
	a.says("three")
	pub.in.Close()
	pub.ends(exitOK)
	c := s.story("topic", "sub", "news")
	s.subscribers("news", 3)
	c.Process.Signal(unix.SIGINT)
	c.ends(exitSignalled + int(unix.SIGINT))
	s.run("topic", "close", "news")
	a.ends(exitOK)
	b.says(`{"message":"three"}`)
	b.ends(exitOK)
	s.left("news")
}

// A subscriber that is stopped holds up publishers, and is named; when it is killed they go on.
func TestTopicSubscriberStopped(t *testing.T) {
	s := newTool(t)
	s.run("topic", "create", "news", "--capacity", "4K")
	sub := s.story("topic", "sub", "news")
	s.subscribers("news", 1)
	s.stopped(sub.proc)
	many := strings.NewReader(string(lines(1000)))
	pub := s.start(many, nil, "topic", "pub", "news", "--timeout", "20ms")
	pub.ends(exitTimeout)
	who := fmt.Sprintf("pid %d", sub.Process.Pid)
	if said := pub.stderr.String(); !strings.Contains(said, "full for all of 20ms; "+who+" is ") {
		t.Errorf("it says %q", said)
	}
	for _, args := range [][]string{{"topic", "stat", "news"}, {"stat", "news"}} {
		if got := s.run(args...); !regexp.MustCompile(`(?m)^slowest +` + who + `: `).MatchString(got) {
			t.Errorf("%v:\n%s", args, got)
		}
	}
	waits := s.start(strings.NewReader(string(lines(1000))), nil, "topic", "pub", "news")
	s.topicUntil("it waits", "news", func(st topic.Stats) bool { return st.PublishWaits > 0 })
	sub.Process.Kill()
	sub.ends(-1)
	waits.ends(exitOK)
	s.run("sweep")
	s.left("news")
}

// A subscriber that is too slow for a topic that overwrites is told what it missed: nothing is lost unsaid.
func TestTopicLag(t *testing.T) {
	const n = 1000
	s := newTool(t)
	s.run("topic", "create", "ticks", "--capacity", "4K", "--overwrite")
	var out strings.Builder
	sub := s.start(nil, &out, "topic", "sub", "ticks", "--json")
	s.subscribers("ticks", 1)
	s.stopped(sub)
	s.start(strings.NewReader(string(lines(n))), nil, "topic", "pub", "ticks").ends(exitOK)
	if got := s.run("topic", "stat", "ticks"); !strings.Contains(got, "1,000 messages behind") {
		t.Errorf("it is shown as\n%s", got)
	}
	s.run("topic", "close", "ticks")
	sub.Process.Signal(unix.SIGCONT)
	sub.ends(exitOK)
	received := strings.Count(out.String(), `{"message":"line `)
	var missed int
	if _, err := fmt.Sscanf(out.String(), `{"missed":%d}`, &missed); err != nil || received+missed != n || missed == 0 {
		t.Errorf("of %d messages %d came and %d were missed (%v)", n, received, missed, err)
	}
	if said := sub.stderr.String(); !strings.Contains(said, fmt.Sprintf("too slow: %d messages missed", missed)) {
		t.Errorf("it says %q", said)
	}
}

// What a program publishes in CBOR is read, and written, as JSON.
func TestTopicTyped(t *testing.T) {
	type event struct {
		Name string         `json:"name"`
		Data map[string]any `json:"data"`
	}
	s := newTool(t)
	d := s.domain()
	defer d.Close()
	events, err := topic.Create[event](d, "events", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	sub, err := events.Subscribe(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if err := events.Publish(t.Context(), event{"begun", map[string]any{"pid": 7}}); err != nil {
		t.Fatal(err)
	}
	if got, want := s.run("topic", "sub", "events", "--last", "1", "--count", "1"), `{"data":{"pid":7},"name":"begun"}`+"\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	s.run("topic", "pub", "events", `{"name": "ended", "data": {"code": 3}}`)
	bad := s.start(nil, nil, "topic", "pub", "events", `{"nam": "ended"}`)
	bad.ends(exitUsage)
	if !strings.Contains(bad.stderr.String(), `there is no field "nam"; there are data, name`) {
		t.Errorf("it says %q", bad.stderr.String())
	}
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e, err := sub.Receive(t.Context()); err != nil || e.Name != "ended" || fmt.Sprint(e.Data["code"]) != "3" {
		t.Errorf("a program reads %+v (%v)", e, err)
	}
}
