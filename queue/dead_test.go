package queue_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/queue"
)

// limited makes a queue with a limit, and dead letters.
func limited(t testing.TB, opt queue.Options) (d *shiplap.Domain, q *queue.Raw) {
	t.Helper()
	opt.Ack, opt.DeadLetters, opt.Capacity = true, "dead", 4096
	if opt.MaxDeliveries == 0 {
		opt.MaxDeliveries = 2
	}
	return raw(t, &opt)
}

// fail receives a message and gives it back.
func fail(t testing.TB, q *queue.Raw, want string, count int) {
	t.Helper()
	d, err := q.TryReceive()
	ok(t, err)
	if string(d.Body) != want || d.Count != count {
		t.Fatalf("%q for the %d. time; want %q, %d", d.Body, d.Count, want, count)
	}
	ok(t, d.Nack())
}

// letters takes all that is in a queue.
func letters(t testing.TB, d *shiplap.Domain, name string) (all []string) {
	t.Helper()
	q, err := queue.OpenRaw(d, name, nil)
	ok(t, err)
	defer q.Close()
	for {
		b, err := q.TryGet(nil)
		if errors.Is(err, shiplap.ErrEmpty) {
			return all
		}
		ok(t, err)
		all = append(all, string(b))
	}
}

func counts(t testing.TB, q *queue.Raw) (s queue.Stats) {
	t.Helper()
	s, err := q.Stats()
	ok(t, err)
	return s
}

// A message that was handed out too often goes to the dead letters.
func TestDeadLetters(t *testing.T) {
	d, q := limited(t, queue.Options{})
	ok(t, q.TryPut([]byte("bad")))
	ok(t, q.TryPut([]byte("good")))
	fail(t, q, "bad", 1)
	fail(t, q, "bad", 2)
	m, err := q.TryReceive()
	ok(t, err)
	if string(m.Body) != "good" || m.Count != 1 {
		t.Fatalf("%q, %d", m.Body, m.Count)
	}
	ok(t, m.Ack())
	_, err = q.TryReceive()
	is(t, "nothing is left", err, shiplap.ErrEmpty)
	if got := letters(t, d, "dead"); len(got) != 1 || got[0] != "bad" {
		t.Errorf("dead letters: %q", got)
	}
	if s := counts(t, q); s.DeadLetters != 1 || s.Dropped != 0 || s.Depth != 0 {
		t.Errorf("%+v", s)
	}
}

// Without dead letters it is dropped and counted.
func TestDropped(t *testing.T) {
	_, q := raw(t, &queue.Options{Ack: true, MaxDeliveries: 1})
	ok(t, q.TryPut([]byte("bad")))
	fail(t, q, "bad", 1)
	_, err := q.TryReceive()
	is(t, "nothing is left", err, shiplap.ErrEmpty)
	if s := counts(t, q); s.DeadLetters != 0 || s.Dropped != 1 || s.Depth != 0 {
		t.Errorf("%+v", s)
	}
}

// While the dead letters are full, the message stays, and others are handed out.
func TestDeadLettersFull(t *testing.T) {
	d, q := limited(t, queue.Options{MaxDeliveries: 1})
	ok(t, q.TryPut(make([]byte, 2000)))
	big, err := q.TryReceive()
	ok(t, err)
	dead, err := queue.OpenRaw(d, "dead", nil)
	ok(t, err)
	defer dead.Close()
	for err = nil; err == nil; err = dead.TryPut(make([]byte, 1000)) {
	}
	is(t, "fill", err, shiplap.ErrFull)
	ok(t, big.Nack())
	ok(t, q.TryPut([]byte("good")))
	m, err := q.TryReceive()
	ok(t, err)
	if string(m.Body) != "good" {
		t.Fatalf("%d bytes", len(m.Body))
	}
	ok(t, m.Ack())
	_, err = q.TryReceive()
	is(t, "nothing can be had", err, shiplap.ErrEmpty)
	if s := counts(t, q); s.DeadLetters != 0 || s.Depth != 2 && s.Depth != 1 {
		t.Errorf("%+v", s)
	}
	got := make(chan error)
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	go func() {
		_, err := q.Receive(ctx)
		got <- err
	}()
	for range 4 {
		_, err = dead.TryGet(nil)
		ok(t, err)
	}
	if !eventually(func() bool { return counts(t, q).DeadLetters == 1 }) {
		t.Error("it stays for ever")
	}
	cancel()
	<-got
}

// A queue of dead letters that is taken away is made again.
func TestDeadLettersRemoved(t *testing.T) {
	d, q := limited(t, queue.Options{MaxDeliveries: 1})
	for _, what := range []string{"one", "two"} {
		ok(t, q.TryPut([]byte(what)))
		fail(t, q, what, 1)
		_, err := q.TryReceive()
		is(t, "empty", err, shiplap.ErrEmpty)
		if got := letters(t, d, "dead"); len(got) != 1 || got[0] != what {
			t.Errorf("%q", got)
		}
		ok(t, d.Remove(bg, "dead"))
	}
}

// What makes no sense is refused.
func TestLimitOptions(t *testing.T) {
	d := join(t, shmDir(t))
	for name, tt := range map[string]struct {
		opt  queue.Options
		want error
	}{
		"negative":    {queue.Options{Ack: true, MaxDeliveries: -1}, shiplap.ErrTooLarge},
		"huge":        {queue.Options{Ack: true, MaxDeliveries: 1 << 24}, shiplap.ErrTooLarge},
		"without ack": {queue.Options{MaxDeliveries: 1}, shiplap.ErrUnsupported},
		"no limit":    {queue.Options{Ack: true, DeadLetters: "dead"}, shiplap.ErrUnsupported},
		"itself":      {queue.Options{Ack: true, MaxDeliveries: 1, DeadLetters: "q"}, shiplap.ErrConflict},
		"long name":   {queue.Options{Ack: true, MaxDeliveries: 1, DeadLetters: strings.Repeat("x", 300)}, shiplap.ErrTooLarge},
	} {
		q, err := queue.CreateRaw(d, "q", &tt.opt)
		is(t, name, err, tt.want)
		if err == nil {
			q.Close()
			ok(t, d.Remove(bg, "q"))
		}
	}
}

// The dead letters are made with the queue; what is there already must fit.
func TestDeadLettersMade(t *testing.T) {
	d := join(t, shmDir(t))
	opt := &queue.Options{Ack: true, MaxDeliveries: 1, DeadLetters: "dead"}
	other, err := queue.Create[int](d, "dead", nil)
	ok(t, err)
	_, err = queue.CreateRaw(d, "q", opt)
	is(t, "another type", err, shiplap.ErrIncompatible)
	ok(t, other.Close())
	ok(t, d.Remove(bg, "dead"))
	q, err := queue.CreateRaw(d, "q", opt)
	ok(t, err)
	ok(t, q.Close())
	dead, err := queue.OpenRaw(d, "dead", nil)
	ok(t, err)
	defer dead.Close()
	if !dead.Ack() || dead.MaxDeliveries() != 0 || dead.DeadLetters() != "" {
		t.Errorf("%v", dead)
	}
	_, err = queue.CreateRaw(d, "q", opt)
	is(t, "twice", err, shiplap.ErrExist)
}

// A message is moved to another queue as one step.
func TestMoveTo(t *testing.T) {
	d, q := raw(t, &queue.Options{Ack: true})
	to, err := queue.CreateRaw(d, "to", &queue.Options{Ack: true})
	ok(t, err)
	defer to.Close()
	plain, err := queue.CreateRaw(d, "plain", nil)
	ok(t, err)
	defer plain.Close()
	other, err := queue.Create[int](d, "other", nil)
	ok(t, err)
	defer other.Close()
	for i, to := range []*queue.Raw{to, plain} {
		ok(t, q.TryPut(message(i, 100)))
		m, err := q.TryReceive()
		ok(t, err)
		is(t, "other type", m.MoveTo(bg, other.Raw()), shiplap.ErrIncompatible)
		is(t, "itself", m.MoveTo(bg, q), shiplap.ErrConflict)
		ok(t, m.MoveTo(bg, to))
		is(t, "twice", m.MoveTo(bg, to), shiplap.ErrConflict)
		is(t, "ack", m.Ack(), shiplap.ErrConflict)
		if got := letters(t, d, to.Name()); len(got) != 1 || got[0] != string(message(i, 100)) {
			t.Errorf("%q", got)
		}
		if s := counts(t, q); s.Depth != 0 || s.DeadLetters != 0 {
			t.Errorf("%+v", s)
		}
	}
}

// What nobody can handle goes to the dead letters at once, and so does what cannot be decoded.
func TestReject(t *testing.T) {
	d, q := limited(t, queue.Options{MaxDeliveries: 5})
	ok(t, q.TryPut([]byte("bad")))
	m, err := q.TryReceive()
	ok(t, err)
	ok(t, m.Reject(bg))
	is(t, "twice", m.Reject(bg), shiplap.ErrConflict)
	if got := letters(t, d, "dead"); len(got) != 1 || got[0] != "bad" {
		t.Errorf("%q", got)
	}
	typed, err := queue.Create[int](d, "typed", &queue.Options{Ack: true, MaxDeliveries: 5, DeadLetters: "typed.dead", Codec: queue.CBOR})
	ok(t, err)
	defer typed.Close()
	ok(t, typed.Raw().TryPut([]byte("\x63abc"))) // a text
	ok(t, typed.TryPut(7))
	ok(t, typed.CloseQueue())
	var got []int
	for m, err := range typed.Deliveries(bg) {
		ok(t, err)
		got = append(got, m.Value)
		ok(t, m.Ack())
	}
	if dead := letters(t, d, "typed.dead"); len(got) != 1 || got[0] != 7 || len(dead) != 1 || dead[0] != "\x63abc" {
		t.Errorf("%v, dead %q", got, dead)
	}
	_, plain := raw(t, &queue.Options{Ack: true})
	ok(t, plain.TryPut(nil))
	m, err = plain.TryReceive()
	ok(t, err)
	is(t, "no dead letters", m.Reject(bg), shiplap.ErrUnsupported)
}

// Dead letters that are full keep nobody from what stands behind a message that cannot be decoded.
func TestUndecodableBesideFullDeadLetters(t *testing.T) {
	d := join(t, shmDir(t))
	q, err := queue.Create[int](d, "q", &queue.Options{
		Ack: true, MaxDeliveries: 3, DeadLetters: "dead", Codec: queue.CBOR, Capacity: 4096,
	})
	ok(t, err)
	defer q.Close()
	dead, err := queue.OpenRaw(d, "dead", nil)
	ok(t, err)
	defer dead.Close()
	for err = nil; err == nil; err = dead.TryPut(make([]byte, 8)) {
	}
	is(t, "fill", err, shiplap.ErrFull)
	ok(t, q.Raw().TryPut([]byte("\x63abc"))) // a text
	ok(t, q.TryPut(7))
	for m, err := range q.Deliveries(bg) {
		ok(t, err)
		if m.Value != 7 {
			t.Errorf("%d", m.Value)
		}
		ok(t, m.Ack())
		break
	}
	_, err = dead.TryGet(nil)
	ok(t, err)
	_, err = q.TryReceive() // looks at what waits
	is(t, "nothing else", err, shiplap.ErrEmpty)
	if s := counts(t, q.Raw()); s.DeadLetters != 1 || s.Depth != 0 {
		t.Errorf("%+v", s)
	}
}

// MoveTo waits for room, and for whoever has the producing side.
func TestMoveToWaits(t *testing.T) {
	d, q := raw(t, &queue.Options{Ack: true})
	to, err := queue.CreateRaw(d, "to", &queue.Options{Capacity: 4096})
	ok(t, err)
	defer to.Close()
	ok(t, q.TryPut(message(1, 3000)))
	m, err := q.TryReceive()
	ok(t, err)
	ok(t, to.TryPut(message(0, 3000)))
	ctx, cancel := context.WithCancel(bg)
	moved := make(chan error, 1)
	go func() { moved <- m.MoveTo(ctx, to) }()
	if !eventually(func() bool { return counts(t, to).PutWaits > 0 }) {
		t.Error("it does not wait")
	}
	cancel()
	is(t, "cancelled", <-moved, context.Canceled)
	go func() { moved <- m.MoveTo(bg, to) }()
	_, err = to.TryGet(nil)
	ok(t, err)
	ok(t, <-moved)
	p, err := to.Producer(bg)
	ok(t, err)
	ok(t, q.TryPut(message(2, 8)))
	m, err = q.TryReceive()
	ok(t, err)
	go func() { moved <- m.MoveTo(bg, to) }()
	if b, err := to.TryGet(nil); err != nil || len(b) != 3000 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	ok(t, p.Close())
	ok(t, <-moved)
}

// Browse shows what is there, and takes nothing.
func TestBrowse(t *testing.T) {
	for _, ack := range []bool{false, true} {
		_, q := raw(t, &queue.Options{Capacity: 4096, Ack: ack})
		if all, err := q.Browse(bg, 10); err != nil || len(all) != 0 {
			t.Errorf("of an empty queue: %v, %v", all, err)
		}
		for i := range 25 { // over the end of the ring
			ok(t, q.TryPut(message(i, 200)))
			if i < 20 {
				_, err := q.TryGet(nil)
				ok(t, err)
			}
		}
		held := 0
		if ack {
			_, err := q.TryReceive()
			ok(t, err)
			held = os.Getpid()
		}
		all, err := q.Browse(bg, 3)
		ok(t, err)
		for i, m := range all {
			if n, err := number(m.Body); err != nil || n != 20+i || i > 0 && (m.Count != 0 || m.Holder != 0) {
				t.Errorf("%d: %d, %+v, %v", i, n, m, err)
			}
		}
		if len(all) != 3 || all[0].Holder != held {
			t.Errorf("%d messages, the first is held by %d", len(all), all[0].Holder)
		}
		if all, err = q.Browse(bg, 100); err != nil || len(all) != 5 || counts(t, q).Depth != 5 {
			t.Errorf("%d messages, %v", len(all), err)
		}
		ok(t, q.CloseQueue())
		if all, err = q.Browse(bg, 100); err != nil || len(all) != 5 {
			t.Errorf("closed: %d messages, %v", len(all), err)
		}
	}
}
