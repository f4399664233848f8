package layouttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/topic"
)

func topicIn(t testing.TB, dir string, args ...string) *process {
	t.Helper()
	return start(t, program(t, "topic", dir, "t", args...))
}

func policies(t *testing.T, f func(t *testing.T, p topic.Policy)) {
	for _, p := range []topic.Policy{topic.Block, topic.Overwrite} {
		t.Run(p.String(), func(t *testing.T) { f(t, p) })
	}
}

const someLines = 30_000

func TestTopicGoToC(t *testing.T) {
	dir := shmDir(t)
	tp := newTopic(t, join(t, dir), topic.Options{Capacity: 1 << 15})
	for i := range 10 { // of these a newcomer gets three
		ok(t, tp.Publish(bg, line(i)))
	}
	one, two := topicIn(t, dir, "subscribe", "0", "3"), topicIn(t, dir, "subscribe", "0", "0")
	one.says("subscribed")
	two.says("subscribed")
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 10; i < someLines; i++ {
			if err := tp.Publish(limited(t), line(i)); err != nil {
				t.Error(err)
				return
			}
		}
		if err := tp.CloseTopic(); err != nil {
			t.Error(err)
		}
	})
	var all []byte
	wg.Go(func() { all, _ = io.ReadAll(two.out) })
	one.lines(7, someLines)
	wg.Wait()
	one.done()
	two.done()
	if want, err := io.ReadAll(pour(10, someLines)); err != nil || !bytes.Equal(all, want) {
		t.Errorf("the second subscriber got %d bytes; %d are wanted", len(all), len(want))
	}
}

// pour gives lines to a client.
func pour(from, to int) io.Reader {
	var b bytes.Buffer
	for i := from; i < to; i++ {
		b.Write(append(line(i), '\n'))
	}
	return &b
}

func publishIn(t testing.TB, dir string, from, to int, args ...string) *process {
	t.Helper()
	cmd := program(t, "topic", dir, "t", append([]string{"publish"}, args...)...)
	cmd.Stdin = pour(from, to)
	return start(t, cmd)
}

func TestTopicCToGo(t *testing.T) {
	dir := shmDir(t)
	tp := newTopic(t, join(t, dir), topic.Options{Capacity: 1 << 15})
	s := subscribe(t, tp, 0)
	c := publishIn(t, dir, 0, someLines)
	var b []byte
	for i := range someLines {
		var err error
		if b, err = s.Receive(limited(t), b[:0]); err != nil || !bytes.Equal(b, line(i)) {
			t.Fatalf("message %d: %.80q, %v", i, b, err)
		}
	}
	c.says("published")
	c.done()
	topicIn(t, dir, "close").done()
	if b, err := s.Receive(limited(t), nil); !errors.Is(err, shiplap.ErrClosed) {
		t.Errorf("%q, %v", b, err)
	}
	if st, err := tp.Stats(); err != nil || st.Published != someLines {
		t.Errorf("%+v, %v", st, err)
	}
}

// A reader of a topic that overwrites learns exactly how much is gone: each language reads what the other one publishes.
func TestTopicLagged(t *testing.T) {
	dir := shmDir(t)
	tp := newTopic(t, join(t, dir), topic.Options{Capacity: 4096, Policy: topic.Overwrite})
	c := topicIn(t, dir, "subscribe", "0", "0")
	c.says("subscribed")
	for i := range someLines {
		ok(t, tp.Publish(bg, line(i)))
	}
	ok(t, tp.CloseTopic())
	out, err := io.ReadAll(c.out)
	ok(t, err)
	ok(t, c.Wait())
	next, gone, whole := 0, 0, 0
	for l := range strings.Lines(string(out)) {
		l = strings.TrimSuffix(l, "\n")
		if n, ok := strings.CutPrefix(l, "lagged "); ok {
			k, err := strconv.Atoi(n)
			if err != nil {
				t.Fatal(err)
			}
			next += k
			gone += k
			continue
		}
		if l != string(line(next)) {
			t.Fatalf("%.80q is message %d", l, next)
		}
		next++
		whole++
	}
	if next != someLines {
		t.Errorf("the last one is %d", next)
	}
	t.Logf("C read %d, %d were gone", whole, gone)

	dir = shmDir(t)
	tp = newTopic(t, join(t, dir), topic.Options{Capacity: 4096, Policy: topic.Overwrite})
	s := subscribe(t, tp, 0)
	p := publishIn(t, dir, 0, someLines)
	p.says("published")
	p.done()
	ok(t, tp.CloseTopic())
	next, gone, whole = 0, 0, 0
	for {
		b, err := s.Receive(limited(t), nil)
		var lag topic.ErrLagged
		if errors.As(err, &lag) {
			next += int(lag.N)
			gone += int(lag.N)
			continue
		}
		if errors.Is(err, shiplap.ErrClosed) {
			break
		}
		ok(t, err)
		if !bytes.Equal(b, line(next)) {
			t.Fatalf("%.80q is message %d", b, next)
		}
		next++
		whole++
	}
	if next != someLines {
		t.Errorf("the last one is %d", next)
	}
	t.Logf("Go read %d, %d were gone", whole, gone)
}

// A subscriber in the other language dies with a topic full: whoever publishes goes on, and its slot is free.
func TestTopicSubscribersDie(t *testing.T) {
	dir := shmDir(t)
	d := join(t, dir)
	tp := newTopic(t, d, topic.Options{Capacity: 4096})
	c := topicIn(t, dir, "hold", "2")
	c.says("subscribed")
	for i := range 2 {
		ok(t, tp.Publish(bg, line(i)))
	}
	c.lines(0, 2)
	c.says("held")
	for tp.TryPublish(make([]byte, 100)) == nil {
	}
	if err := tp.TryPublish(make([]byte, 100)); !errors.Is(err, shiplap.ErrFull) {
		t.Error(err)
	}
	done := make(chan error, 1)
	go func() { done <- tp.Publish(limited(t), make([]byte, 100)) }()
	c.kill()
	ok(t, <-done)

	g := goPeer(t, dir, "t", "topic", 0)
	g.says("held")
	p := publishIn(t, dir, 0, 1000)
	eventually(t, "C waits for room", func() bool {
		f := at(t, "topic", "room sleeps")
		return word(file(t, d, "t")[f.off:][:f.size]) > 0
	})
	g.kill()
	p.says("published")
	p.done()
	st, err := tp.Stats()
	ok(t, err)
	if len(st.Subscribers) != 0 {
		t.Errorf("%+v", st)
	}
}

// C dies in the place of each of its stores of a publication; the message is there or it is not, and from some store on
// it always is. Go goes on, and so does C.
func TestTopicCDies(t *testing.T) {
	policies(t, func(t *testing.T, policy topic.Policy) {
		dir := shmDir(t)
		tp := newTopic(t, join(t, dir), topic.Options{Capacity: 4096, Policy: policy})
		s := subscribe(t, tp, 0)
		committed, places := false, 0
		text := strings.Repeat("z", 61) // of C; the rest wraps at all places
		for died := true; died; places++ {
			for range 3 { // thrice, elsewhere in the area
				cmd := program(t, "topic", dir, "t", "publish", fmt.Sprint(places))
				cmd.Stdin = strings.NewReader(text)
				c := start(t, cmd)
				_, err := io.Copy(io.Discard, c.out)
				ok(t, err)
				died = c.Wait() != nil
				if places%2 == 0 {
					ok(t, tp.Publish(limited(t), line(places)))
				} else {
					p := publishIn(t, dir, places, places+1)
					p.says("published")
					p.done()
				}
				b, err := s.Receive(limited(t), nil)
				ok(t, err)
				there := string(b) == text
				if there {
					b, err = s.Receive(limited(t), nil)
					ok(t, err)
				}
				if !bytes.Equal(b, line(places)) || committed && !there || !died && !there {
					t.Fatalf("at store %d: %.80q, committed: %v, there: %v", places, b, committed, there)
				}
				committed = there
			}
		}
		t.Logf("%d places", places)
	})
}

// C dies busy; the topic is closed afterwards, and has ended for subscribers of both languages.
func TestTopicCDiesBusyAndClosed(t *testing.T) {
	dir := shmDir(t)
	d := join(t, dir)
	tp := newTopic(t, d, topic.Options{Capacity: 4096})
	s := subscribe(t, tp, 0)
	c := topicIn(t, dir, "subscribe", "0", "0")
	c.says("subscribed")
	cmd := program(t, "topic", dir, "t", "publish", "3") // two words behind it, busy, and not the header
	cmd.Stdin = strings.NewReader("\n")
	p := start(t, cmd)
	if _, err := io.Copy(io.Discard, p.out); err != nil || p.Wait() == nil {
		t.Fatal("it lives", err)
	}
	if f := at(t, "topic", "busy"); word(file(t, d, "t")[f.off:][:4]) != 1 {
		t.Error("it did not die busy")
	}
	ok(t, tp.CloseTopic())
	c.done()
	if b, err := s.Receive(limited(t), nil); !errors.Is(err, shiplap.ErrClosed) {
		t.Errorf("%q, %v", b, err)
	}
}

// topicPeer subscribes, and never reads.
func topicPeer(d *shiplap.Domain, name string) error {
	tp, err := topic.OpenRaw(d, name, nil)
	if err == nil {
		_, err = tp.Subscribe(nil)
	}
	if err != nil {
		return err
	}
	return forever("held")
}
