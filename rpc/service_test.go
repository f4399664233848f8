package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/rpc"
)

type pair struct{ A, B int64 }

type person struct {
	Name  string
	Likes []string
}

// service is what tests call: in this process, or in a peer.
type service struct {
	running atomic.Int64 // functions that wait
	most    atomic.Int64
	ended   atomic.Int64 // of these, those whose context ended
	called  atomic.Int64
	log     logged
}

// logged is what the service logged.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var errOdd = errors.New("odd")

func (v *service) setup(s *rpc.Server) error {
	return errors.Join(
		rpc.Handle(s, "add", func(_ context.Context, p pair) (int64, error) { return p.A + p.B, nil }),
		rpc.Handle(s, "greet", func(_ context.Context, p person) (string, error) {
			return fmt.Sprintf("hello %s, who likes %d things", p.Name, len(p.Likes)), nil
		}),
		rpc.Handle(s, "echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil }),
		rpc.Handle(s, "sleep", func(ctx context.Context, ms int64) (int64, error) {
			n := v.running.Add(1)
			defer v.running.Add(-1)
			for most := v.most.Load(); n > most && !v.most.CompareAndSwap(most, n); most = v.most.Load() {
			}
			select {
			case <-ctx.Done():
				v.ended.Add(1)
				return 0, context.Cause(ctx)
			case <-time.After(time.Duration(ms) * time.Millisecond):
				return ms, nil
			}
		}),
		rpc.Handle(s, "fail", func(_ context.Context, kind string) (int, error) {
			switch kind {
			case "own":
				return 0, &rpc.Error{Code: "teapot", Message: "short and stout", Data: []byte{1, 2}}
			case "wrapped":
				return 0, fmt.Errorf("around it: %w", &rpc.Error{Code: "teapot", Message: "short and stout"})
			case "sentinel":
				return 0, fmt.Errorf("the thing %q: %w", "x", shiplap.ErrNotExist)
			case "plain":
				return 0, errOdd
			case "panic":
				panic("oh no")
			case "goexit":
				runtime.Goexit()
			case "nil":
				return 0, (*rpc.Error)(nil)
			}
			return 7, nil
		}),
		rpc.Handle(s, "deadline", func(ctx context.Context, _ struct{}) (time.Duration, error) {
			d, set := ctx.Deadline()
			if !set {
				return 0, nil
			}
			return time.Until(d), nil
		}),
		rpc.Handle(s, "count", func(context.Context, struct{}) (int64, error) { return v.called.Add(1), nil }),
		rpc.Handle(s, "block", func(context.Context, int64) (int64, error) {
			// It looks at no context, and takes a while.
			time.Sleep(20 * time.Millisecond)
			return v.called.Add(1), nil
		}),
	)
}

func serve(t testing.TB, d *shiplap.Domain, opt *rpc.Options) (*rpc.Server, *service) {
	t.Helper()
	v := &service{}
	if opt == nil {
		opt = &rpc.Options{}
	}
	opt.Setup = v.setup
	opt.Logger = slog.New(slog.NewTextHandler(&v.log, nil))
	return closing[*rpc.Server](t)(rpc.Serve(bg, d, "s", opt)), v
}

func call[Req, Resp any](t testing.TB, c *rpc.Client, method string, req Req) Resp {
	t.Helper()
	resp, err := rpc.Call[Req, Resp](soon(t), c, method, req)
	ok(t, err)
	return resp
}

func TestCalls(t *testing.T) {
	d := domain(t)
	s, _ := serve(t, d, nil)
	c := dial(t, d)
	for i := range int64(100) {
		if n := call[pair, int64](t, c, "add", pair{i, 2}); n != i+2 {
			t.Errorf("%d + 2 = %d", i, n)
		}
	}
	if g := call[person, string](t, c, "greet", person{"Ann", []string{"a", "b"}}); g != "hello Ann, who likes 2 things" {
		t.Error(g)
	}
	if b := call[[]byte, []byte](t, c, "echo", []byte("bytes")); string(b) != "bytes" {
		t.Error(b)
	}
	if b := call[[]byte, []byte](t, c, "echo", nil); len(b) != 0 {
		t.Error(b)
	}
	for _, st := range []string{s.String(), c.String(), s.Stats().String(), c.Stats().String(), s.Service(), c.Service()} {
		if st == "" {
			t.Error("no text")
		}
	}
	if !eventually(func() bool { return s.Stats().Running == 0 }) {
		t.Errorf("%+v", s.Stats())
	}
	if st := s.Stats(); st.Calls != 103 || st.Connections != 1 {
		t.Errorf("%+v", st)
	}
	if st := c.Stats(); st.Open != 0 || st.Calls != 103+3 {
		t.Errorf("%+v", st)
	}
}

func TestErrors(t *testing.T) {
	d := domain(t)
	s, v := serve(t, d, nil)
	c := dial(t, d)
	fail := func(kind string) (*rpc.Error, error) {
		_, err := rpc.Call[string, int](soon(t), c, "fail", kind)
		var e *rpc.Error
		if !errors.As(err, &e) {
			t.Fatalf("%s: %v", kind, err)
		}
		return e, err
	}
	if e, _ := fail("own"); e.Code != "teapot" || e.Message != "short and stout" || string(e.Data) != "\x01\x02" {
		t.Errorf("%+v", e)
	}
	if e, _ := fail("wrapped"); e.Code != "teapot" || e.Message != "around it: short and stout (teapot)" {
		t.Errorf("%+v", e)
	}
	e, err := fail("sentinel")
	is(t, "a sentinel", err, shiplap.ErrNotExist)
	if e.Code != "not_exist" || errors.Is(err, shiplap.ErrExist) || e.Error() != `the thing "x": file does not exist` {
		t.Errorf("%+v", e)
	}
	if e, err := fail("plain"); e.Code != "" || e.Message != "odd" || errors.Is(err, errOdd) {
		t.Errorf("%+v", e)
	}
	for _, kind := range []string{"panic", "goexit", "panic", "goexit"} {
		if e, _ := fail(kind); e.Code != rpc.CodePanic {
			t.Errorf("%s: %+v", kind, e)
		}
	}
	if st := s.Stats(); st.Panics != 4 {
		t.Errorf("%+v", st)
	}
	for _, part := range []string{"oh no", "service=s", "method=fail", "service_test.go"} {
		if !strings.Contains(v.log.String(), part) {
			t.Errorf("%q is not logged", part)
		}
	}
	if n := call[string, int](t, c, "fail", ""); n != 7 {
		t.Error(n)
	}
	_, err = rpc.Call[int, int](soon(t), c, "nothing", 1)
	is(t, "no such method", err, shiplap.ErrNotExist)
	_, err = rpc.Call[chan int, int](soon(t), c, "add", nil)
	if err == nil {
		t.Error("a channel was sent")
	}
	_, err = rpc.Dial(soon(t), d, "nobody", nil)
	is(t, "no such service", err, shiplap.ErrNotExist)
	ok(t, c.Close())
	_, err = rpc.Call[pair, int64](soon(t), c, "add", pair{})
	is(t, "closed", err, shiplap.ErrClosed)
	is(t, "closed twice", c.Close(), shiplap.ErrClosed)
}

// Types that differ are shown, both sides, and the connection goes on.
func TestTypesThatDiffer(t *testing.T) {
	type pair32 struct{ A, B int32 }
	d := domain(t)
	serve(t, d, nil)
	c := dial(t, d)
	for range 2 {
		_, err := rpc.Call[pair32, int64](soon(t), c, "add", pair32{1, 2})
		is(t, "another request", err, shiplap.ErrIncompatible)
		for _, part := range []string{"A:<i8@0", "A:<i4@0", `"add"`} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%v does not show %s", err, part)
			}
		}
		_, err = rpc.Call[pair, string](soon(t), c, "add", pair{1, 2})
		is(t, "another reply", err, shiplap.ErrIncompatible)
	}
	if n := call[pair, int64](t, c, "add", pair{1, 2}); n != 3 {
		t.Error(n)
	}
	j := closing[*rpc.Client](t)(rpc.Dial(soon(t), d, "s", &rpc.Options{Codec: rpc.JSON}))
	_, err := rpc.Call[pair, int64](soon(t), j, "add", pair{1, 2})
	is(t, "another codec", err, shiplap.ErrIncompatible)
}

func TestUntyped(t *testing.T) {
	d := domain(t)
	serve(t, d, nil)
	c := dial(t, d)
	for _, one := range []struct{ method, req, want string }{
		{"add", `{"A": 40, "B": 2}`, "42"},
		{"greet", `{"Name":"Bo","Likes":["x"]}`, `"hello Bo, who likes 1 things"`},
		{"echo", `"aGk="`, `"aGk="`},
		{"count", "", "1"},
	} {
		b, err := c.CallJSON(soon(t), one.method, []byte(one.req))
		if err != nil || string(b) != one.want {
			t.Errorf("%s: %s (%v); %s is wanted", one.method, b, err, one.want)
		}
	}
	_, err := c.CallJSON(soon(t), "add", []byte(`{"A": "x"}`))
	var e *rpc.Error
	if !errors.As(err, &e) || e.Code != rpc.CodeInvalid {
		t.Errorf("not a pair: %v", err)
	}
	_, err = c.CallJSON(soon(t), "nothing", nil)
	is(t, "no such method", err, shiplap.ErrNotExist)
	b, err := c.CallRaw(soon(t), "add", append([]byte{1, 15: 0}, nil...))
	if err != nil || len(b) != 8 || b[0] != 1 {
		t.Errorf("%x, %v", b, err)
	}
	if _, err = c.CallRaw(soon(t), "add", []byte{1}); !errors.As(err, &e) || e.Code != rpc.CodeInvalid {
		t.Errorf("not a pair: %v", err)
	}
	list, err := c.Methods(soon(t))
	ok(t, err)
	names := []string{}
	for _, m := range list {
		names = append(names, m.Name)
	}
	if !slices.Equal(names, []string{"add", "block", "count", "deadline", "echo", "fail", "greet", "sleep"}) ||
		list[0].Request != "fixed:{A:<i8@0,B:<i8@8;size=16,align=8}" || list[0].Response != "fixed:<i8" {
		t.Errorf("%+v", list)
	}
}

func TestNames(t *testing.T) {
	d := domain(t)
	s, _ := serve(t, d, nil)
	is(t, "twice", rpc.Handle(s, "add", func(context.Context, int) (int, error) { return 0, nil }), shiplap.ErrExist)
	for _, name := range []string{"", "a\nb", "\xff", "rpc.x", string(make([]byte, 200))} {
		is(t, "a bad name", rpc.Handle(s, name, func(context.Context, int) (int, error) { return 0, nil }), shiplap.ErrName)
	}
	if rpc.Handle(s, "channel", func(context.Context, chan int) (int, error) { return 0, nil }) == nil ||
		rpc.Handle(s, "channel", func(context.Context, int) (chan int, error) { return nil, nil }) == nil {
		t.Error("channels go")
	}
	_, err := rpc.Serve(bg, d, "s", nil)
	is(t, "two services of one name", err, shiplap.ErrExist)
	_, err = rpc.Serve(bg, d, "a/b", nil)
	is(t, "a bad name", err, shiplap.ErrName)
	_, err = rpc.Serve(bg, d, "x", &rpc.Options{Setup: func(*rpc.Server) error { return errOdd }})
	is(t, "its setup failed", err, errOdd)
	closing[*rpc.Server](t)(rpc.Serve(bg, d, "b", nil))
	list, err := rpc.Services(d)
	ok(t, err)
	if len(list) != 2 || list[0].Name != "b" || list[1].Name != "s" || list[0].Pid == 0 || list[0].String() == "" {
		t.Errorf("%+v", list)
	}
	ok(t, s.Close())
	is(t, "closed twice", s.Close(), shiplap.ErrClosed)
	if list, err = rpc.Services(d); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	serve(t, d, nil)
}

// Thousands of calls over one connection, of all sizes, and in any order.
func TestConcurrentCalls(t *testing.T) {
	const n = 4000
	d := domain(t)
	s, v := serve(t, d, &rpc.Options{Concurrency: 50})
	c := dial(t, d)
	var wg sync.WaitGroup
	for i := range int64(n) {
		wg.Go(func() {
			switch i % 4 {
			case 0:
				if r, err := rpc.Call[pair, int64](soon(t), c, "add", pair{i, 1}); err != nil || r != i+1 {
					t.Error(r, err)
				}
			case 1:
				if r, err := rpc.Call[int64, int64](soon(t), c, "sleep", i%20); err != nil || r != i%20 {
					t.Error(r, err)
				}
			case 2:
				b := make([]byte, i*10)
				b[0] = byte(i)
				r, err := rpc.Call[[]byte, []byte](soon(t), c, "echo", b)
				if err != nil || !slices.Equal(r, b) {
					t.Error(len(r), len(b), err)
				}
			case 3:
				ctx, cancel := context.WithTimeout(soon(t), time.Duration(i%7)*time.Millisecond)
				defer cancel()
				if r, err := rpc.Call[int64, int64](ctx, c, "sleep", i%9); err == nil && r != i%9 || err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(r, err)
				}
			}
		})
	}
	wg.Wait()
	if m := v.most.Load(); m > 50 || m < 10 {
		t.Errorf("%d functions at a time, 50 may", m)
	}
	if !eventually(func() bool { return c.Stats().Open == 0 && s.Stats().Running == 0 && s.Stats().Queued == 0 }) {
		t.Errorf("%+v, %+v", c.Stats(), s.Stats())
	}
}

// A quick call does not wait for slow ones that came before.
func TestOutOfOrder(t *testing.T) {
	d := domain(t)
	_, v := serve(t, d, nil)
	c := dial(t, d)
	ctx, cancel := context.WithCancel(bg)
	got := make(chan error, 3)
	for range cap(got) {
		go func() { _, err := rpc.Call[int64, int64](ctx, c, "sleep", 3600_000); got <- err }()
	}
	for range 10 {
		call[pair, int64](t, c, "add", pair{1, 2})
	}
	if !eventually(func() bool { return v.running.Load() == 3 }) {
		t.Error("not all run")
	}
	call[pair, int64](t, c, "add", pair{1, 2})
	cancel()
	for range cap(got) {
		is(t, "cancelled", <-got, context.Canceled)
	}
	if !eventually(func() bool { return v.ended.Load() == 3 }) {
		t.Error("the cancel did not arrive")
	}
}

func TestDeadline(t *testing.T) {
	d := domain(t)
	_, v := serve(t, d, nil)
	c := dial(t, d)
	if left := call[struct{}, time.Duration](t, c, "deadline", struct{}{}); left <= 20*time.Second || left > 30*time.Second {
		t.Errorf("%v are left of 30 s", left)
	}
	if left, err := rpc.Call[struct{}, time.Duration](bg, c, "deadline", struct{}{}); err != nil || left != 0 {
		t.Errorf("%v are left of nothing (%v)", left, err)
	}
	ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
	defer cancel()
	_, err := rpc.Call[int64, int64](ctx, c, "sleep", 3600_000)
	is(t, "late", err, context.DeadlineExceeded)
	if !eventually(func() bool { return v.ended.Load() == 1 && c.Stats().Open == 0 }) {
		t.Error("the function goes on")
	}
	_, err = rpc.Call[pair, int64](ctx, c, "add", pair{})
	is(t, "late already", err, context.DeadlineExceeded)
}

// What waits for other calls to return can be cancelled, and too many are refused.
func TestQueue(t *testing.T) {
	d := domain(t)
	s, v := serve(t, d, &rpc.Options{Concurrency: 2, Queue: 3})
	c := dial(t, d)
	running, stop := context.WithCancel(bg)
	waiting, cancel := context.WithCancel(bg)
	got := make(chan error, 5)
	sleeping := func(ctx context.Context) {
		_, err := rpc.Call[int64, int64](ctx, c, "sleep", 3600_000)
		got <- err
	}
	for range 2 {
		go sleeping(running)
	}
	if !eventually(func() bool { return v.running.Load() == 2 }) {
		t.Fatal("they do not run")
	}
	for range 3 {
		go sleeping(waiting)
	}
	if !eventually(func() bool { return s.Stats().Queued == 3 }) {
		t.Fatalf("%+v", s.Stats())
	}
	_, err := rpc.Call[pair, int64](soon(t), c, "add", pair{})
	is(t, "too many", err, shiplap.ErrBusy)
	cancel()
	for range 3 {
		is(t, "cancelled", <-got, context.Canceled)
	}
	if !eventually(func() bool { return s.Stats().Queued == 0 && c.Stats().Open == 2 }) {
		t.Fatalf("%+v", s.Stats())
	}
	next := make(chan int64)
	go func() { next <- call[pair, int64](t, c, "add", pair{1, 2}) }()
	if !eventually(func() bool { return s.Stats().Queued == 1 }) {
		t.Fatalf("%+v", s.Stats())
	}
	stop()
	if n := <-next; n != 3 {
		t.Error(n)
	}
	for range 2 {
		<-got
	}
	if v.most.Load() != 2 || s.Stats().Refused != 1 {
		t.Errorf("%d at a time, %+v", v.most.Load(), s.Stats())
	}
}

// Messages longer than a connection's memory go in pieces; those longer than allowed are refused, and it goes on.
func TestBigMessages(t *testing.T) {
	d := domain(t)
	serve(t, d, &rpc.Options{MaxMessage: 8 << 20})
	c := closing[*rpc.Client](t)(rpc.Dial(soon(t), d, "s", &rpc.Options{Capacity: 4096}))
	for _, n := range []int{900, 1000, 1001, 4096, 100_000, 5 << 20, 8 << 20} {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i >> 3)
		}
		if r := call[[]byte, []byte](t, c, "echo", b); !slices.Equal(r, b) {
			t.Errorf("%d bytes came back as %d others", n, len(r))
		}
	}
	_, err := rpc.Call[[]byte, []byte](soon(t), c, "echo", make([]byte, 8<<20+1))
	is(t, "too long for the service", err, shiplap.ErrTooLarge)
	small := closing[*rpc.Client](t)(rpc.Dial(soon(t), d, "s", &rpc.Options{MaxMessage: 1000}))
	_, err = rpc.Call[[]byte, []byte](soon(t), small, "echo", make([]byte, 1001))
	is(t, "too long for the client", err, shiplap.ErrTooLarge)
	if b := call[[]byte, []byte](t, c, "echo", []byte("on")); string(b) != "on" {
		t.Error(b)
	}
	var wg sync.WaitGroup // many at once, both ways, through 4096 bytes
	for i := range 20 {
		wg.Go(func() {
			b := make([]byte, 200_000+i)
			b[len(b)-1] = byte(i)
			if r, err := rpc.Call[[]byte, []byte](soon(t), c, "echo", b); err != nil || !slices.Equal(r, b) {
				t.Error(len(r), err)
			}
		})
	}
	wg.Wait()
}

// Callers that give up in the middle of everything, again and again.
func TestCancelStorm(t *testing.T) {
	d := domain(t)
	s, v := serve(t, d, &rpc.Options{Concurrency: 4})
	c := closing[*rpc.Client](t)(rpc.Dial(soon(t), d, "s", &rpc.Options{Capacity: 8192}))
	var wg sync.WaitGroup
	for i := range 2000 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(bg)
			time.AfterFunc(time.Duration(i%50)*100*time.Microsecond, cancel)
			var err error
			if i%2 == 0 {
				_, err = rpc.Call[int64, int64](ctx, c, "sleep", 3600_000)
			} else {
				_, err = rpc.Call[[]byte, []byte](ctx, c, "echo", make([]byte, 30_000))
			}
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := call[pair, int64](t, c, "add", pair{1, 2}); n != 3 {
		t.Error(n)
	}
	if !eventually(func() bool { return c.Stats().Open == 0 && v.running.Load() == 0 && s.Stats().Running == 0 }) {
		t.Errorf("%+v, %+v", c.Stats(), s.Stats())
	}
}

// A shutdown lets calls finish, takes no new ones, and then the callers' connection is gone.
func TestShutdown(t *testing.T) {
	d := domain(t)
	s, v := serve(t, d, nil)
	c := dial(t, d)
	got := make(chan error)
	go func() { _, err := rpc.Call[int64, int64](soon(t), c, "sleep", 100); got <- err }()
	if !eventually(func() bool { return v.running.Load() == 1 }) {
		t.Fatal("it does not run")
	}
	ended := make(chan error)
	go func() { ended <- s.Shutdown(soon(t)) }()
	if !eventually(func() bool {
		_, err := rpc.Call[pair, int64](soon(t), c, "add", pair{})
		return errors.Is(err, shiplap.ErrClosed) || errors.Is(err, shiplap.ErrPeerGone)
	}) {
		t.Error("it takes new calls")
	}
	ok(t, <-got)
	ok(t, <-ended)
	<-s.Done()
	_, err := rpc.Call[pair, int64](soon(t), c, "add", pair{})
	is(t, "after it", err, shiplap.ErrPeerGone)

	s, v = serve(t, d, nil)
	c = dial(t, d)
	go func() { _, err := rpc.Call[int64, int64](soon(t), c, "sleep", 3600_000); got <- err }()
	if !eventually(func() bool { return v.running.Load() == 1 }) {
		t.Fatal("it does not run")
	}
	ctx, cancel := context.WithTimeout(bg, 5*time.Millisecond)
	defer cancel()
	is(t, "not in time", s.Shutdown(ctx), context.DeadlineExceeded)
	is(t, "its call", <-got, shiplap.ErrPeerGone)
	if !eventually(func() bool { return v.ended.Load() == 1 }) {
		t.Error("the function goes on")
	}
}

// The end of Serve's context closes the service; its values are seen.
func TestContext(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(bg, key{}, "value"))
	d := domain(t)
	s := closing[*rpc.Server](t)(rpc.Serve(ctx, d, "s", &rpc.Options{Setup: func(s *rpc.Server) error {
		return rpc.Handle(s, "value", func(ctx context.Context, _ struct{}) (string, error) {
			child, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			stop := context.AfterFunc(ctx, func() {})
			defer stop()
			v, _ := child.Value(key{}).(string)
			return v, child.Err()
		})
	}}))
	c := dial(t, d)
	if v := call[struct{}, string](t, c, "value", struct{}{}); v != "value" {
		t.Error(v)
	}
	cancel()
	<-s.Done()
	_, err := rpc.Call[struct{}, string](soon(t), c, "value", struct{}{})
	is(t, "after it", err, shiplap.ErrPeerGone)
	_, err = rpc.Serve(ctx, d, "s", nil)
	is(t, "it has ended", err, context.Canceled)
}

// A function that looks at no context and takes long, as the first of its kind, does not keep others waiting for long.
func TestSlowFunction(t *testing.T) {
	d := domain(t)
	_, v := serve(t, d, nil)
	c := dial(t, d)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { call[int64, int64](t, c, "block", 1) })
	}
	for range 100 {
		call[pair, int64](t, c, "add", pair{1, 2})
	}
	wg.Wait()
	if n := v.called.Load(); n != 50 {
		t.Error(n)
	}
	// Methods are judged anew.
	for range 200 {
		call[struct{}, int64](t, c, "count", struct{}{})
	}
}

// A context that ends while Serve runs closes the service, or is the error.
func TestContextEndsDuringServe(t *testing.T) {
	d := domain(t)
	for range 200 {
		ctx, cancel := context.WithCancel(bg)
		go cancel()
		s, err := rpc.Serve(ctx, d, "s", nil)
		if err != nil {
			is(t, "serve", err, context.Canceled)
			continue
		}
		select {
		case <-s.Done():
		case <-soon(t).Done():
			t.Fatal("the service goes on after the end of its context")
		}
		is(t, "close", s.Close(), shiplap.ErrClosed)
	}
}
