package layouttest

import (
	"errors"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/topic"
)

func newTopic(t testing.TB, d *shiplap.Domain, opt topic.Options) *topic.Raw {
	t.Helper()
	opt.Wait = shiplap.WaitSleep
	tp, err := topic.CreateRaw(d, "t", &opt)
	ok(t, err)
	t.Cleanup(func() { ok(t, tp.Close()) })
	return tp
}

func subscribe(t testing.TB, tp *topic.Raw, last int) *topic.RawSubscription {
	t.Helper()
	s, err := tp.Subscribe(&topic.SubOptions{Last: last})
	ok(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, shiplap.ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

func topicSizes(slots, area int) variables { return variables{"slots": 128 * slots, "area": area} }

// topicImage checks the header and returns the image without it.
func topicImage(t *testing.T, d *shiplap.Domain, policy, slots, area int) []byte {
	t.Helper()
	img := file(t, d, "t")
	compare(t, "header", img, 0, object.HeaderSize, 0, headerWant(self(t, d), want{"kind": 13, "size": 8192 + 128*slots + area,
		"label": "x", "label length": 1, "lock count": 1, "event count": 2}))
	entries(t, img, map[string]int{"publisher": at(t, "topic", "publisher lock").off}, []string{"publisher"},
		[]int{at(t, "topic", "published").off, at(t, "topic", "room").off}, "topicparams",
		map[string]int{"area": area, "policy": policy, "subscribers": slots})
	clear(img[:object.HeaderSize])
	return img
}

// topicRecord checks a record at an offset of the area.
func topicRecord(t *testing.T, img []byte, at int, payload string, number int) {
	t.Helper()
	h := get(t, "headerbits").bits(t, "Bits")
	n := (len(payload) + 7) &^ 7
	compare(t, "topicrecord", img, at, 16+n, n, want{"payload": payload, "record number": number,
		"record header": int(h["length"].put(uint64(len(payload))) | h["valid"].put(1) | h["number"].put(uint64(number)))})
}

func TestTopicObject(t *testing.T) {
	d := join(t, shmDir(t))
	tp := newTopic(t, d, topic.Options{Capacity: 4096, Subscribers: 33, Label: "x"})
	gone := subscribe(t, tp, 0)
	s := subscribe(t, tp, 0)
	ok(t, gone.Close())
	for _, m := range []string{"abc", "0123456789", ""} {
		ok(t, tp.Publish(bg, []byte(m)))
	}
	if b, err := s.Receive(bg, nil); err != nil || string(b) != "abc" {
		t.Errorf("%q, %v", b, err)
	}
	vars := topicSizes(64, 4096)
	img := topicImage(t, d, 0, 64, 4096)
	w := want{"publisher lock": "", "published": 0, "published sleeps": 0, "published entries": "", "room": 0, "room sleeps": 0,
		"room entries": "", "tail": 24 + 32 + 16, "freed": 0,
		"bytes": 13, "busy": 0, "floor": 0, "used": 2, "subscriber slots": skip{}, "topic area": skip{}}
	compareWith(t, "topic", img, 0, len(img), vars, w)
	slots, area := atWith(t, "topic", "subscriber slots", vars).off, atWith(t, "topic", "topic area", vars).off
	me := want{"subscriber token": int(self(t, d).Token), "cursor": 24, "cursor number": 1, "missed": 0, "first number": 0, "subscriber since": recent}
	compare(t, "subscriber", img, slots+128, 128, 0, me)
	if tok := at(t, "subscriber", "subscriber token"); word(img[slots+tok.off:][:4]) != 0 {
		t.Error("the slot of one who left is not free")
	}
	topicRecord(t, img, area, "abc", 0)
	topicRecord(t, img, area+24, "0123456789", 1)
	topicRecord(t, img, area+56, "", 2)
	if got := string(img[area+72:][:16]); got != u64s(0, 3) {
		t.Errorf("I1: %q at the end", got)
	}

	// Until it is full: then the records before the cursor may go, and those behind may not.
	for tp.TryPublish(make([]byte, 500)) == nil {
	}
	img = topicImage(t, d, 0, 64, 4096)
	w["tail"], w["bytes"] = 72+7*520, 13+7*500
	compareWith(t, "topic", img, 0, len(img), vars, w)
	for range 2 {
		if _, err := s.Receive(bg, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Receive(bg, nil); err != nil {
		t.Fatal(err)
	}
	ok(t, tp.TryPublish(make([]byte, 500)))
	img = topicImage(t, d, 0, 64, 4096)
	w["tail"], w["bytes"], w["freed"], w["floor"] = 72+8*520, 13+8*500, 72+520, 72+520
	compareWith(t, "topic", img, 0, len(img), vars, w)
	ok(t, tp.CloseTopic())
	if st := at(t, "header", "state"); word(file(t, d, "t")[st.off:][:4]) != get(t, "state").bits(t, "Bit")["closed"].put(1) {
		t.Error("the topic is not closed")
	}
}

func TestTopicOverwritten(t *testing.T) {
	d := join(t, shmDir(t))
	tp := newTopic(t, d, topic.Options{Capacity: 4096, Subscribers: 1, Label: "x", Policy: topic.Overwrite})
	s := subscribe(t, tp, 0)
	body := strings.Repeat("y", 240) // 16 records of 256 bytes, and no room for the two words behind the last one
	for range 100 {
		ok(t, tp.Publish(bg, []byte(body)))
	}
	vars := topicSizes(32, 4096)
	slots, area := atWith(t, "topic", "subscriber slots", vars).off, atWith(t, "topic", "topic area", vars).off
	img := topicImage(t, d, 1, 32, 4096)
	floor := word(img[at(t, "topic", "floor").off:][:8])
	compareWith(t, "topic", img, 0, len(img), vars, want{"publisher lock": "", "published": 0, "published sleeps": 0,
		"published entries": "", "room": 0, "room sleeps": 0, "room entries": "", "tail": 100 * 256, "freed": int(floor), "bytes": 24000, "busy": 0, "floor": check(func(v uint64) error { return nil }),
		"used": 1, "subscriber slots": skip{}, "topic area": skip{}})
	if floor%256 != 0 || floor > 100*256 || floor+4096 < 100*256+16 {
		t.Errorf("floor is %d", floor)
	}
	for p := floor; p < 100*256; p += 256 {
		topicRecord(t, img, area+int(p%4096), body, int(p/256))
	}
	if got := string(img[area+100*256%4096:][:16]); got != u64s(0, 100) {
		t.Errorf("I1: %q at the end", got)
	}
	var lag topic.ErrLagged
	if _, err := s.Receive(bg, nil); !errors.As(err, &lag) || lag.N != floor/256 {
		t.Errorf("%v; %d messages are gone", err, floor/256)
	}
	img = file(t, d, "t")
	compare(t, "subscriber", img, slots, 128, 0, want{"subscriber token": int(self(t, d).Token), "cursor": int(floor),
		"cursor number": int(floor / 256), "missed": int(floor / 256), "first number": 0, "subscriber since": recent})
}

// Where the words of an event and of busy are shows in what the code does with them.
func TestTopicEvents(t *testing.T) {
	d := join(t, shmDir(t))
	tp := newTopic(t, d, topic.Options{Capacity: 4096, Label: "x"})
	s := subscribe(t, tp, 0)
	field := func(name string) uint64 {
		f := at(t, "topic", name)
		return word(file(t, d, "t")[f.off:][:f.size])
	}
	got := make(chan string, 1)
	go func() {
		b, err := s.Receive(limited(t), nil)
		if err != nil {
			t.Error(err)
		}
		got <- string(b)
	}()
	eventually(t, "a subscriber sleeps", func() bool { return field("published")&2 != 0 && field("published sleeps") > 0 })
	bellEntry(t, d, file(t, d, "t")[at(t, "topic", "published entries").off:])
	ok(t, tp.Publish(bg, []byte("abc")))
	if b := <-got; b != "abc" {
		t.Error(b)
	}
	for tp.TryPublish(make([]byte, 500)) == nil {
	}
	done := make(chan error, 1)
	go func() { done <- tp.Publish(limited(t), make([]byte, 500)) }()
	eventually(t, "a publisher sleeps", func() bool { return field("room")&2 != 0 && field("room sleeps") > 0 })
	for range 2 {
		_, err := s.Receive(bg, nil)
		ok(t, err)
	}
	ok(t, <-done)
}
