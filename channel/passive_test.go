package channel_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/channel"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

var quiet = slog.New(slog.DiscardHandler)

// A handle receives in one way.
func TestActiveOrPassive(t *testing.T) {
	a, b := pair[int](t, nil)
	_, err := a.TryReceive()
	is(t, "active", err, shiplap.ErrEmpty)
	_, err = a.OnReceive(func(context.Context, int) {})
	is(t, "active handle with handler", err, shiplap.ErrConflict)
	cancel, err := b.OnReceive(func(context.Context, int) {})
	ok(t, err)
	cancel()
	_, err = b.Receive(bg)
	is(t, "receive of a passive handle", err, shiplap.ErrConflict)
	_, err = b.TryReceive()
	is(t, "receive of a passive handle", err, shiplap.ErrConflict)
}

// As in a bot host: of a channel for anything, one handler wants strings only.
func TestFilters(t *testing.T) {
	a, b := pair[any](t, nil)
	got := make(chan string, 10)
	text := func(v any) bool { _, yes := v.(string); return yes }
	_, err := b.OnReceive(func(_ context.Context, v any) { got <- "text " + v.(string) }, text)
	ok(t, err)
	short := func(v any) bool { return len(v.(string)) < 4 }
	cancel, err := b.OnReceive(func(_ context.Context, v any) { got <- "short " + v.(string) }, text, short)
	ok(t, err)
	sends(t, a, any(7), any("abc"), any([]any{"x"}), any("abcd"), nil)
	for _, want := range []string{"text abc", "short abc", "text abcd"} {
		if s := <-got; s != want {
			t.Errorf("got %q, %q is wanted", s, want)
		}
	}
	eventually(t, "what nobody wants is not counted", func() bool { s, err := a.Stats(); return err == nil && s.AtoB.Dropped == 3 })
	cancel()
	other, err := b.OnUnmatched(func(_ context.Context, v any) { got <- fmt.Sprint("other ", v) })
	ok(t, err)
	sends(t, a, any("abc"), any(map[string]any{"n": 1}))
	for _, want := range []string{"text abc", "other map[n:1]"} {
		if s := <-got; s != want {
			t.Errorf("got %q, %q is wanted", s, want)
		}
	}
	other()
}

// What comes while nobody wants anything stays for the next handler.
func TestCancelledHandler(t *testing.T) {
	a, b := pair[int](t, nil)
	got := make(chan int, 10)
	cancel, err := b.OnReceive(func(_ context.Context, v int) { got <- v })
	ok(t, err)
	sends(t, a, 1)
	<-got
	before := runtime.NumGoroutine()
	cancel()
	cancel()
	eventually(t, "the worker stays", func() bool { return runtime.NumGoroutine() < before })
	sends(t, a, 2)
	_, err = b.OnReceive(func(_ context.Context, v int) { got <- 10 * v })
	ok(t, err)
	if v := <-got; v != 20 {
		t.Error(v)
	}
}

// A handler that panics, or ends its goroutine, is logged and does not stop the rest.
func TestHandlerPanics(t *testing.T) {
	var log bytes.Buffer
	var mu sync.Mutex
	logger := slog.New(slog.NewTextHandler(&lockedWriter{&mu, &log}, nil))
	d := domain(t)
	a := set[int](t, d, "c", nil)
	b := get[int](t, d, "c", &channel.Options{Logger: logger})
	got := make(chan int, 10)
	_, err := b.OnReceive(func(context.Context, int) { panic("ouch") })
	ok(t, err)
	_, err = b.OnReceive(func(context.Context, int) {}, func(int) bool { panic("in a filter") })
	ok(t, err)
	_, err = b.OnReceive(func(_ context.Context, v int) { got <- v })
	ok(t, err)
	_, err = b.OnReceive(func(_ context.Context, v int) { runtime.Goexit() })
	ok(t, err)
	sends(t, a, 1, 2, 3)
	for want := 1; want <= 3; want++ {
		if v := <-got; v != want {
			t.Errorf("got %d, %d is wanted", v, want)
		}
	}
	eventually(t, "not logged", func() bool {
		mu.Lock()
		defer mu.Unlock()
		s := log.String()
		return strings.Count(s, "ouch") >= 3 && strings.Count(s, "in a filter") >= 3 && strings.Count(s, "ended its goroutine") >= 3 && strings.Contains(s, "channel=c side=B")
	})
	ok(t, b.Close())
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// A handler that blocks for ever holds up its own channel, and nothing else. Its context ends with the handle.
func TestHandlerBlocks(t *testing.T) {
	d := domain(t)
	a1, a2 := set[int](t, d, "1", &channel.Options{Capacity: 4096}), set[int](t, d, "2", &channel.Options{Capacity: 4096})
	b1, b2 := get[int](t, d, "1", nil), get[int](t, d, "2", nil)
	blocked, ended := make(chan bool), make(chan bool)
	_, err := b1.OnReceive(func(ctx context.Context, v int) {
		blocked <- true
		<-ctx.Done()
		close(ended)
	})
	ok(t, err)
	sum := 0
	done := make(chan bool)
	_, err = b2.OnReceive(func(_ context.Context, v int) {
		if sum += v; v == 0 {
			close(done)
		}
	})
	ok(t, err)
	sends(t, a1, 1)
	<-blocked
	for err = nil; err == nil; err = a1.TrySend(2) {
	}
	is(t, "the channel of a blocked handler", err, shiplap.ErrFull)
	for range 1000 {
		sends(t, a2, 1)
	}
	sends(t, a2, 0)
	<-done
	if sum != 1000 {
		t.Error(sum)
	}
	ok(t, b1.Close())
	<-ended
}

// In order with one worker, side by side with more.
func TestWorkers(t *testing.T) {
	a, b := pair[int](t, &channel.Options{Workers: 3})
	meet := make(chan bool)
	var met atomic.Int32
	_, err := b.OnReceive(func(context.Context, int) {
		if met.Add(1) == 3 {
			close(meet)
		}
		<-meet
	})
	ok(t, err)
	sends(t, a, 1, 2, 3)
	<-meet
	a1, b1 := pair[int](t, nil)
	var got []int
	done := make(chan bool)
	_, err = b1.OnReceive(func(_ context.Context, v int) {
		if got = append(got, v); v == 99 {
			close(done)
		}
	})
	ok(t, err)
	for v := range 100 {
		sends(t, a1, v)
	}
	<-done
	if !slices.IsSorted(got) {
		t.Error(got)
	}
}

// A passive handle is told that the other side is gone, and goes on with the next who comes.
func TestPassiveEnd(t *testing.T) {
	d := domain(t)
	told, got := make(chan error, 5), make(chan int, 5)
	a := set[int](t, d, "c", &channel.Options{Workers: 2, OnGone: func(err error) { told <- err }})
	_, err := a.OnReceive(func(_ context.Context, v int) { got <- v })
	ok(t, err)
	for round := range 3 {
		b := get[int](t, d, "c", nil)
		if round > 0 {
			sends(t, b, round)
		} else {
			ok(t, a.WaitPeer(soon(t)))
		}
		ok(t, b.Close())
		if round > 0 {
			if v := <-got; v != round {
				t.Error(v)
			}
		}
		if err := <-told; err != io.EOF {
			t.Error(err)
		}
	}
	if len(told) > 0 {
		t.Error("told more than once:", <-told)
	}
}

func TestUndecodable(t *testing.T) {
	d := domain(t)
	a, err := channel.Set[string](d, "c", nil)
	ok(t, err)
	b := get[string](t, d, "c", &channel.Options{Logger: quiet})
	got := make(chan string)
	_, err = b.OnReceive(func(_ context.Context, v string) { got <- v })
	ok(t, err)
	ok(t, a.Raw().Send(bg, []byte{0xff}))
	sends(t, a, "fine")
	if s := <-got; s != "fine" {
		t.Error(s)
	}
	if s, err := a.Stats(); err != nil || s.AtoB.Dropped != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	ok(t, a.Close())
}

// Thousands of passive channels cost a goroutine each, and few threads.
func TestThousandsOfPassiveChannels(t *testing.T) {
	n := 2000
	if testing.Short() {
		n = 300
	}
	d := domain(t)
	goroutines := runtime.NumGoroutine()
	var sum atomic.Int64
	as := make([]*channel.Channel[int], n)
	for i := range as {
		opt := &channel.Options{Capacity: 4096, Ephemeral: true}
		as[i] = set[int](t, d, strconv.Itoa(i), opt)
		b := get[int](t, d, strconv.Itoa(i), nil)
		_, err := b.OnReceive(func(_ context.Context, v int) { sum.Add(int64(v)) })
		ok(t, err)
	}
	for round := range 3 {
		for _, a := range as {
			sends(t, a, 1)
		}
		eventually(t, "messages are missing", func() bool { return sum.Load() == int64((round+1)*n) })
	}
	if g := runtime.NumGoroutine() - goroutines; g > n+n/100+50 {
		t.Errorf("%d goroutines for %d channels", g, n)
	}
	if th := threads(t); th > 120 {
		t.Errorf("%d threads", th)
	}
}

func threads(t testing.TB) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	ok(t, err)
	return len(tasks)
}

// A reference survives both codecs, and its type says what it refers to.
func TestRefCodecs(t *testing.T) {
	type request struct {
		Text  string
		Reply channel.Ref[int]
	}
	for _, codec := range []schema.Codec{channel.CBOR, channel.JSON} {
		d := domain(t)
		a := set[request](t, d, "c", &channel.Options{Codec: codec})
		b := get[request](t, d, "c", &channel.Options{Codec: codec})
		reply := closing[int](t)(channel.Anonymous[int](d, nil))
		ref, err := reply.Ref(channel.SideB)
		ok(t, err)
		sends(t, a, request{"how much?", ref})
		r, err := b.Receive(soon(t))
		ok(t, err)
		if r.Reply != ref {
			t.Errorf("%+v came as %+v", ref, r.Reply)
		}
		far := closing[int](t)(r.Reply.Open(d, nil))
		sends(t, far, 42)
		receives(t, reply, 42)
		wrong := channel.Ref[string](r.Reply)
		_, err = wrong.Open(d, nil)
		is(t, "as another type", err, shiplap.ErrIncompatible)
	}
}

// A handler may close its own handle, and take itself away.
func TestHandlerCloses(t *testing.T) {
	a, b := pair[int](t, nil)
	done := make(chan error)
	var cancel func()
	ready := make(chan bool)
	cancel, err := b.OnReceive(func(ctx context.Context, v int) {
		<-ready
		cancel()
		err := b.Close()
		if ctx.Err() == nil {
			t.Error("the context goes on")
		}
		done <- err
	})
	ok(t, err)
	sends(t, a, 1, 2)
	close(ready)
	ok(t, <-done)
	if v, err := a.Receive(soon(t)); err != io.EOF {
		t.Error(v, err)
	}
}
