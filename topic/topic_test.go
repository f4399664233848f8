package topic_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/topic"
)

type tick struct {
	N    uint64
	Name [8]byte
}

type news struct {
	Title string
	Tags  []string
}

// roundTrip publishes values in every way and receives them in every way.
func roundTrip[T any](t *testing.T, opt *topic.Options, vs ...T) {
	t.Helper()
	d := domain(t)
	tp := closing[*topic.Topic[T]](t)(topic.OpenOrCreate[T](d, "t", opt))
	same := closing[*topic.Topic[T]](t)(topic.OpenOrCreate[T](d, "t", opt))
	s := closing[*topic.Subscription[T]](t)(same.Subscribe(nil))
	ctx := soon(t)
	for _, v := range vs {
		ok(t, tp.Publish(ctx, v))
		ok(t, tp.TryPublish(v))
	}
	n, err := tp.PublishMany(ctx, vs)
	ok(t, err)
	p := closing[*topic.Publisher[T]](t)(tp.Publisher(ctx))
	for _, v := range vs {
		ok(t, p.Publish(ctx, v))
		ok(t, p.TryPublish(v))
	}
	k, err := p.PublishMany(ctx, vs)
	ok(t, err)
	if n != len(vs) || k != n {
		t.Errorf("%d and %d of %d published", n, k, len(vs))
	}
	expect := func(v T, err error, want T) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(v, want) {
			t.Fatalf("received %+v (%v); %+v is wanted", v, err, want)
		}
	}
	for range 2 { // of the topic, and of the publisher
		for _, v := range vs {
			got, err := s.Receive(ctx)
			expect(got, err, v)
			got, err = s.TryReceive()
			expect(got, err, v)
		}
		for _, v := range vs {
			var into T
			err := s.ReceiveInto(ctx, &into)
			expect(into, err, v)
		}
	}
	_, err = s.TryReceive()
	is(t, "nothing is there", err, shiplap.ErrEmpty)
	is(t, "behind a publisher", tp.TryPublish(vs[0]), shiplap.ErrBusy)
	ok(t, p.TryPublish(vs[0]))
	ok(t, tp.CloseTopic())
	got := 0
	for v, err := range s.All(ctx) {
		expect(v, err, vs[0])
		got++
	}
	if got != 1 {
		t.Errorf("%d left", got)
	}
	st, err := s.Stats()
	ok(t, err)
	if total := 6*len(vs) + 1; int(st.Published) != total || !st.Closed || len(st.Subscribers) != 1 || int(st.Subscribers[0].Received) != total {
		t.Errorf("%d published: %+v", total, st)
	}
}

func TestTyped(t *testing.T) {
	t.Run("fixed", func(t *testing.T) { roundTrip(t, nil, tick{1, [8]byte{'a'}}, tick{2, [8]byte{'b'}}) })
	t.Run("cbor", func(t *testing.T) {
		roundTrip(t, nil, news{"a", []string{"x", "y"}}, news{Title: "b"}, news{})
	})
	t.Run("json", func(t *testing.T) { roundTrip(t, &topic.Options{Codec: topic.JSON}, news{"a", []string{"x"}}) })
	t.Run("bytes", func(t *testing.T) { roundTrip(t, nil, []byte("one"), bytes.Repeat([]byte("x"), 1001)) })
	t.Run("text", func(t *testing.T) { roundTrip(t, nil, "one", "", "three") })
	t.Run("overwrite", func(t *testing.T) {
		roundTrip(t, &topic.Options{Policy: topic.Overwrite}, news{"a", []string{"x", "y"}}, news{Title: "b"})
	})
}

func TestNames(t *testing.T) {
	d := domain(t)
	a := closing[*topic.Topic[tick]](t)(topic.Create[tick](d, "t", &topic.Options{Label: "ticks", Policy: topic.Overwrite}))
	_, err := topic.Create[tick](d, "t", nil)
	is(t, "create twice", err, shiplap.ErrExist)
	_, err = topic.CreateRaw(d, "t", nil)
	is(t, "create twice", err, shiplap.ErrExist)
	_, err = topic.Open[news](d, "t", nil)
	is(t, "another type", err, shiplap.ErrIncompatible)
	if err == nil || !strings.Contains(err.Error(), "N:<u8") || !strings.Contains(err.Error(), "Title") {
		t.Errorf("%v does not show both types", err)
	}
	_, err = topic.Open[tick](d, "other", nil)
	is(t, "nothing there", err, shiplap.ErrNotExist)
	_, err = topic.Create[chan int](d, "u", nil)
	if err == nil {
		t.Error("a topic of channels")
	}
	for _, opt := range []topic.Options{{Capacity: -1}, {Capacity: 1 << 40}, {Subscribers: -1}, {Subscribers: topic.MaxSubscribers + 1}} {
		_, err = topic.CreateRaw(d, "u", &opt)
		is(t, "too large", err, shiplap.ErrTooLarge)
	}
	_, err = topic.CreateRaw(d, "u", &topic.Options{Policy: 9})
	is(t, "a policy of its own", err, shiplap.ErrUnsupported)
	st, err := a.Stats()
	ok(t, err)
	if st.Name != "t" || st.Policy != "overwrite" || st.Capacity != topic.DefaultCapacity || st.MaxSubscribers != topic.DefaultSubscribers || st.Slowest != nil {
		t.Errorf("%+v", st)
	}
	for _, s := range []string{a.String(), a.Raw().String(), st.String(), a.Name(), a.Policy().String()} {
		if s == "" {
			t.Error("no text")
		}
	}
	in, err := d.Stat("t")
	ok(t, err)
	if in.Kind != "topic" || in.Label != "ticks" {
		t.Errorf("%+v", in)
	}
	ok(t, d.Remove(bg, "t"))
	is(t, "removed", a.Publish(bg, tick{}), shiplap.ErrRemoved)
	_, err = a.Raw().Subscribe(nil)
	is(t, "removed", err, shiplap.ErrRemoved)
}

func TestEphemeral(t *testing.T) {
	d := domain(t)
	a := closing[*topic.Raw](t)(topic.CreateRaw(d, "t", &topic.Options{Ephemeral: true}))
	ok(t, a.Close())
	_, err := topic.OpenRaw(d, "t", nil)
	is(t, "its last user is gone", err, shiplap.ErrNotExist)
}

// Everything that waits ends when its handle, the topic's handle or the topic ends.
func TestEnds(t *testing.T) {
	for _, c := range []struct {
		what string
		end  func(d *shiplap.Domain, r *topic.Raw, s *topic.RawSubscription, p *topic.RawPublisher) error
		want error
	}{
		{"handle", func(_ *shiplap.Domain, _ *topic.Raw, s *topic.RawSubscription, p *topic.RawPublisher) error {
			return errors.Join(s.Close(), p.Close())
		}, shiplap.ErrClosed},
		{"topic's handle", func(_ *shiplap.Domain, r *topic.Raw, _ *topic.RawSubscription, _ *topic.RawPublisher) error {
			return r.Close()
		}, shiplap.ErrClosed},
		{"topic", func(_ *shiplap.Domain, r *topic.Raw, _ *topic.RawSubscription, _ *topic.RawPublisher) error {
			return r.CloseTopic()
		}, shiplap.ErrClosed},
		{"removal", func(d *shiplap.Domain, _ *topic.Raw, _ *topic.RawSubscription, _ *topic.RawPublisher) error {
			return d.Remove(bg, "t")
		}, shiplap.ErrRemoved},
	} {
		d, r := raw(t, &topic.Options{Capacity: 4096})
		idle, slow := subscribe(t, r, 0), subscribe(t, r, 0)
		p := closing[*topic.RawPublisher](t)(r.Publisher(soon(t)))
		ok(t, p.Publish(bg, message(1, 4000)))
		if _, err := idle.Receive(bg, nil); err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 3)
		go func() { _, err := idle.Receive(bg, nil); got <- err }()
		go func() { got <- p.Publish(bg, message(2, 4000)) }()
		go func() { got <- r.Publish(soon(t), message(3, 100)) }() // behind p
		waits := func() bool {
			st, err := r.Stats()
			ok(t, err)
			return st.PublishWaits > 0 && st.ReceiveWaits > 0
		}
		if !eventually(waits) {
			t.Fatal("nobody waits")
		}
		ok(t, c.end(d, r, idle, p))
		if c.what == "handle" {
			if b, err := slow.Receive(soon(t), nil); err != nil || len(b) != 4000 { // makes room for the third
				t.Error(len(b), err)
			}
		}
		n := 0
		for range 3 {
			if err := <-got; !errors.Is(err, c.want) && !(strings.HasSuffix(c.what, "handle") && err == nil) {
				t.Errorf("%s: %v", c.what, err)
			} else if err == nil {
				n++
			}
		}
		if n != 0 && c.what != "handle" && c.what != "topic's handle" {
			t.Errorf("%s: %d went on", c.what, n)
		}
		if c.what == "handle" {
			_, err := idle.TryReceive(nil)
			is(t, "closed", err, shiplap.ErrClosed)
			is(t, "closed twice", idle.Close(), shiplap.ErrClosed)
			is(t, "closed twice", p.Close(), shiplap.ErrClosed)
			is(t, "closed", p.TryPublish(nil), shiplap.ErrClosed)
			_, _, err = idle.Lag()
			is(t, "closed", err, shiplap.ErrClosed)
		}
	}
}

func TestBusy(t *testing.T) {
	_, r := raw(t, nil)
	p := closing[*topic.RawPublisher](t)(r.Publisher(bg))
	is(t, "behind an exclusive publisher", r.TryPublish(nil), shiplap.ErrBusy)
	ctx, cancel := context.WithTimeout(bg, 5*time.Millisecond)
	defer cancel()
	is(t, "behind an exclusive publisher", r.Publish(ctx, nil), context.DeadlineExceeded)
	ok(t, p.Close())
	ok(t, r.TryPublish(nil))
}

func TestOnMessage(t *testing.T) {
	var logged bytes.Buffer
	var mu sync.Mutex
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(writer(func(b []byte) { mu.Lock(); defer mu.Unlock(); logged.Write(b) }), nil)))
	defer slog.SetDefault(old)
	d := domain(t)
	tp := closing[*topic.Topic[int]](t)(topic.Create[int](d, "t", &topic.Options{Capacity: 4096, Policy: topic.Overwrite}))
	s := closing[*topic.Subscription[int]](t)(tp.Subscribe(nil))
	const n = 1000
	for i := range n {
		ok(t, tp.Publish(bg, i))
	}
	ok(t, tp.CloseTopic())
	var got []int
	err := s.OnMessage(soon(t), func(i int) {
		got = append(got, i)
		if i%2 == 0 {
			panic("even")
		}
	})
	ok(t, err)
	if len(got) < 50 || len(got) == n || got[len(got)-1] != n-1 || got[0] != n-len(got) {
		t.Errorf("got %d, from %v", len(got), got[:1])
	}
	for _, part := range []string{"even", "messages were overwritten", "topic=t", "topic_test.go"} {
		if !strings.Contains(logged.String(), part) {
			t.Errorf("%q is not logged", part)
		}
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	late := closing[*topic.Topic[int]](t)(topic.Create[int](d, "u", nil))
	s2 := closing[*topic.Subscription[int]](t)(late.Subscribe(nil))
	is(t, "cancelled", s2.OnMessage(ctx, func(int) {}), context.Canceled)
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

// A subscriber of a topic with Overwrite learns exactly how many it missed, and goes on with the oldest.
func TestLagged(t *testing.T) {
	_, r := raw(t, &topic.Options{Capacity: 4096, Policy: topic.Overwrite})
	s := subscribe(t, r, 0)
	for round := range 5 {
		n := 100 * (round + 1)
		for i := range n {
			ok(t, r.Publish(bg, message(i, 64)))
		}
		lag, _, err := s.Lag()
		ok(t, err)
		if int(lag) != n {
			t.Errorf("lag %d of %d", lag, n)
		}
		_, err = s.Receive(bg, nil)
		var e topic.ErrLagged
		if !errors.As(err, &e) {
			t.Fatal(err)
		}
		next := int(e.N)
		for b, err := range s.All(cancelled(t)) {
			if err != nil {
				break
			}
			i, err := number(b)
			if err != nil || i != next {
				t.Fatalf("message %d, %d is wanted (%v)", i, next, err)
			}
			next++
		}
		if next != n || e.N == 0 || n-int(e.N) < 40 {
			t.Errorf("%d missed, then up to %d of %d", e.N, next, n)
		}
		st, err := r.Stats()
		ok(t, err)
		if st.Slowest == nil || st.Slowest.Missed+st.Slowest.Received != st.Published || st.Slowest.Lag != 0 {
			t.Errorf("%+v", st)
		}
	}
}

func cancelled(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(bg)
	cancel()
	return ctx
}

func TestLateJoin(t *testing.T) {
	for _, p := range []topic.Policy{topic.Block, topic.Overwrite} {
		d := domain(t)
		tp := closing[*topic.Topic[string]](t)(topic.Create[string](d, "t", &topic.Options{Policy: p}))
		for _, s := range []string{"a", "b", "c"} {
			ok(t, tp.Publish(bg, s))
		}
		for last, want := range [][]string{{}, {"c"}, {"b", "c"}, {"a", "b", "c"}, {"a", "b", "c"}} {
			s := closing[*topic.Subscription[string]](t)(tp.Subscribe(&topic.SubOptions{Last: last}))
			got := []string{}
			for v, err := s.TryReceive(); err != shiplap.ErrEmpty; v, err = s.TryReceive() {
				ok(t, err)
				got = append(got, v)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v, the last %d: %v", p, last, got)
			}
			ok(t, s.Close())
		}
	}
}

// TestManyGoroutines: a thousand goroutines wait on one topic without a thread each.
func TestManyGoroutines(t *testing.T) {
	const n = 1000
	_, r := raw(t, &topic.Options{Subscribers: n})
	var wg sync.WaitGroup
	for range n {
		s := subscribe(t, r, 0)
		wg.Go(func() {
			b, err := s.Receive(bg, nil)
			if i, e := number(b); err != nil || e != nil || i != 7 {
				t.Errorf("%d, %v, %v", i, err, e)
			}
		})
	}
	if !eventually(func() bool { st, err := r.Stats(); ok(t, err); return st.ReceiveWaits >= n }) {
		t.Fatal("not all sleep")
	}
	if p := runtime.NumGoroutine(); p > n+150 {
		t.Errorf("%d goroutines", p)
	}
	ok(t, r.Publish(bg, message(7, 100)))
	wg.Wait()
}
