package rpc

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/pipe"
)

// frames is a client that sends what it likes, through a pipe of its own size.
func frames(t *testing.T, opt *Options) *pipe.End {
	t.Helper()
	d, err := shiplap.Join("", &shiplap.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	opt.Setup = func(s *Server) error {
		return Handle(s, "x", func(_ context.Context, b []byte) (int, error) { return len(b), nil })
	}
	s, err := Serve(context.Background(), d, "s", opt)
	if err != nil {
		t.Fatal(err)
	}
	e, err := pipe.Dial(context.Background(), d, prefix+"s", &pipe.Options{Capacity: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(e.Close(), s.Close(), d.Close()); err != nil {
			t.Error(err)
		}
	})
	must(t, e, messageOf(frame{kind: kindBind, id: 1},
		encode(nil, bindRequest{version, "x", "", "", modeRaw})[headerSize:]))
	if f := answer(t, e); f.kind != kindBound {
		t.Fatalf("a bind was answered by kind %d", f.kind)
	}
	return e
}

func must(t *testing.T, e *pipe.End, msg []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := e.Send(ctx, msg); err != nil {
		t.Fatal(err)
	}
}

func answer(t *testing.T, e *pipe.End) frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	b, err := e.Recv(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parseFrame(b)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A client makes the pipe, of any size: that a request comes in one piece does not make it shorter.
func TestLongRequestInOnePiece(t *testing.T) {
	e := frames(t, &Options{MaxMessage: 1000})
	must(t, e, messageOf(frame{kind: kindCall, id: 2}, make([]byte, 1001)))
	f := answer(t, e)
	why := &Error{}
	if f.kind != kindFail || decode(f.payload, why) != nil || !errors.Is(why, errs.ErrTooLarge) {
		t.Errorf("a request of 1001 bytes, where 1000 go, was answered by kind %d, %v", f.kind, why)
	}
	must(t, e, messageOf(frame{kind: kindCall, id: 3}, make([]byte, 1000)))
	if f := answer(t, e); f.kind != kindResult {
		t.Errorf("a request of 1000 bytes was answered by kind %d", f.kind)
	}
}

// A service ends the connection of a client that begins calls and completes none: each beginning takes
// memory.
func TestBeginningsOnly(t *testing.T) {
	e := frames(t, &Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var err error
	for n := uint64(0); n < 4*mostParts && err == nil; n++ {
		err = e.Send(ctx, messageOf(frame{kind: kindCall, id: n + 2, more: true}, nil))
	}
	if !errors.Is(err, errs.ErrPeerGone) {
		t.Errorf("after %d beginnings: %v; %v is wanted", 4*mostParts, err, errs.ErrPeerGone)
	}
}

// A frame that is longer than any that the service takes ends the connection before it is copied.
func TestFrameTooLong(t *testing.T) {
	e := frames(t, &Options{MaxMessage: 1000})
	must(t, e, messageOf(frame{kind: kindCall, id: 2}, make([]byte, mostPiece+1)))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if b, err := e.Recv(ctx, nil); err != io.EOF {
		t.Errorf("a frame with %d bytes was answered by %d bytes, %v", mostPiece+1, len(b), err)
	}
}

// A reply of more than the caller takes is an error also where it comes in one piece.
func TestLongReplyInOnePiece(t *testing.T) {
	a, b := pairOfEnds(t)
	c := &Client{name: "s", opt: (&Options{MaxMessage: 1000}).filled(), end: a, piece: pieces(a),
		sending: make(chan struct{}, 1)}
	go func() {
		for n := 1001; n >= 1000; n-- {
			msg, err := b.Recv(context.Background(), nil)
			if err != nil {
				return
			}
			f, _ := parseFrame(msg)
			_ = b.Send(context.Background(), messageOf(frame{kind: kindResult, id: f.id}, make([]byte, n)))
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := c.do(ctx, frame{kind: kindCall}, startFrame(nil)); !errors.Is(err, errs.ErrTooLarge) {
		t.Errorf("a reply of 1001 bytes, where 1000 go: %v", err)
	}
	p, err := c.do(ctx, frame{kind: kindCall}, startFrame(nil))
	if err != nil || len(p.payload) != 1000 {
		t.Errorf("a reply of 1000 bytes: %v", err)
	}
}

// A connection may end when its reader has taken a call, and not begun it: the function's context is
// over then.
func TestConnectionEndsBeforeCall(t *testing.T) {
	_, b := pairOfEnds(t)
	s := &Server{name: "s", opt: (&Options{}).filled(), ctx: context.Background(), done: make(chan struct{}),
		methods: map[string]*method{}, conns: map[*conn]struct{}{}}
	s.gate.most = 1
	if err := Handle(s, "x", func(ctx context.Context, _ int64) (int, error) {
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Second):
			t.Error("the function's context goes on after the connection")
		}
		return 0, nil
	}); err != nil {
		t.Fatal(err)
	}
	c := &conn{s: s, end: b, piece: pieces(b), calls: map[uint64]*served{}}
	sc := &served{c: c, id: 2, bound: bound{s.methods["x"], modeRaw}, payload: make([]byte, 8)}
	sc.parent = s.ctx
	s.gate.enter()
	c.shut()
	_, _ = c.startHere(sc)
	close(s.done)
	s.wg.Wait()
}
