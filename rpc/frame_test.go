package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/pipe"
)

func TestErrorsCross(t *testing.T) {
	if len(order) != len(sentinels) {
		t.Errorf("%d of %d errors are looked up", len(order), len(sentinels))
	}
	for _, code := range order {
		e := toError(fmt.Errorf("what: %w", sentinels[code]))
		if e.Code != code || !errors.Is(e, sentinels[code]) || e.Error() != "what: "+sentinels[code].Error() {
			t.Errorf("%s: %+v", code, e)
		}
		back := &Error{}
		if err := decode(encode(nil, e)[headerSize:], back); err != nil || back.Code != e.Code || back.Message != e.Message {
			t.Errorf("%+v, %v", back, err)
		}
	}
	if e := toError(io.ErrShortWrite); e.Code != "" || e.Is(nil) || e.Is(io.ErrShortWrite) {
		t.Errorf("%+v", e)
	}
	if s := (&Error{Code: "x"}).Error(); s != "error x" {
		t.Error(s)
	}
}

func TestFrames(t *testing.T) {
	f := frame{kind: kindCall, method: 7, id: 9, arg: 11}
	b := append(startFrame(nil), "payload"...)
	putHeader(b, &f)
	g, err := parseFrame(b)
	if err != nil || g.kind != f.kind || g.method != 7 || g.id != 9 || g.arg != 11 || string(g.payload) != "payload" || g.more {
		t.Errorf("%+v, %v", g, err)
	}
	for i, spoil := range []func(){
		func() { b[0] = 0 }, func() { b[0] = 99 }, func() { b[1] = 2 }, func() { b[2] = 1 }, func() { b[8] = 0 },
		func() { b[0] = byte(kindBye) }, func() { b[0], b[1] = byte(kindCancel), 1 }, func() { b = b[:23] }, func() { b = nil },
	} {
		b = append(startFrame(nil), "payload"...)
		putHeader(b, &f)
		spoil()
		if _, err := parseFrame(b); !errors.Is(err, errs.ErrCorrupt) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// pairOfEnds are the two ends of a pipe.
func pairOfEnds(t testing.TB) (a, b *pipe.End) {
	d, err := shiplap.Join("", &shiplap.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	a, err1 := pipe.Create(d, "p", &pipe.Options{Capacity: 64 << 10})
	b, err2 := pipe.Open(d, "p", nil)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Close()
		b.Close()
		d.Close()
	})
	return a, b
}

// hostileFrames is a sequence of frames cut out of any bytes.
func hostileFrames(data []byte) (msgs [][]byte) {
	for len(data) > 0 {
		n := min(int(data[0]), len(data)-1)
		msgs = append(msgs, data[1:1+n])
		data = data[1+n:]
	}
	return msgs
}

func seed(frames ...[]byte) (b []byte) {
	for _, f := range frames {
		b = append(append(b, byte(len(f))), f...)
	}
	return b
}

func messageOf(f frame, payload []byte) []byte {
	more := f.more
	b := append(startFrame(nil), payload...)
	putHeader(b, &f)
	if more {
		b[1] = flagMore
	}
	return b
}

// FuzzServer: whatever a client sends, the service answers or ends the connection, and lives.
func FuzzServer(f *testing.F) {
	binding := messageOf(frame{kind: kindBind, id: 1}, encode(nil, bindRequest{version, "x", "", "", modeJSON})[headerSize:])
	f.Add(seed(binding, messageOf(frame{kind: kindCall, id: 2}, []byte("[1,2]"))))
	f.Add(seed(binding, messageOf(frame{kind: kindCall, id: 2, more: true}, []byte("[1,2")), messageOf(frame{kind: kindCancel, id: 2}, nil)))
	f.Add(seed(binding, messageOf(frame{kind: kindCall, id: 2, more: true}, []byte("[1,2")), messageOf(frame{kind: kindCall, id: 2}, []byte("]"))))
	f.Add(seed(binding, messageOf(frame{kind: kindCall, id: 2, arg: 1 << 63}, []byte("1")), messageOf(frame{kind: kindCancel, id: 2}, nil)))
	f.Add(seed(messageOf(frame{kind: kindCall, id: 2, method: 1 << 31}, nil)))
	f.Add(seed(messageOf(frame{kind: kindBind, id: 1}, []byte{0xff})))
	f.Add(seed(messageOf(frame{kind: kindBye}, nil), nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, b := pairOfEnds(t)
		s := &Server{name: "s", opt: (&Options{MaxMessage: 1000}).filled(), ctx: context.Background(), done: make(chan struct{}),
			methods: map[string]*method{}, conns: map[*conn]struct{}{}}
		s.gate.most, s.gate.queueMost = 2, 2
		if err := Handle(s, "x", func(_ context.Context, v any) (any, error) { return v, nil }); err != nil {
			t.Fatal(err)
		}
		c := &conn{s: s, end: b, piece: pieces(b), calls: map[uint64]*served{}}
		ended := make(chan struct{})
		go func() { c.read(); close(ended) }()
		go func() { // what it answers
			for {
				if _, err := a.Recv(context.Background(), nil); err != nil {
					return
				}
			}
		}()
		for _, m := range hostileFrames(data) {
			if a.Send(context.Background(), m) != nil {
				break
			}
		}
		a.Close()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			panic("no end")
		}
		close(s.done)
		s.wg.Wait()
	})
}

// FuzzClient: whatever a service answers, calls end.
func FuzzClient(f *testing.F) {
	id := uint64(2) << 32
	f.Add(seed(messageOf(frame{kind: kindBound, id: id}, encode(nil, bindReply{})[headerSize:]), messageOf(frame{kind: kindResult, id: id + 1<<32}, []byte("xyz"))))
	f.Add(seed(messageOf(frame{kind: kindFail, id: id}, encode(nil, &Error{Code: "busy", Message: "no"})[headerSize:])))
	f.Add(seed(messageOf(frame{kind: kindBound, id: id, more: true}, nil), messageOf(frame{kind: kindFail, id: id}, nil), messageOf(frame{kind: kindBye}, nil)))
	f.Add(seed(messageOf(frame{kind: kindResult, id: id + 7}, nil)))
	f.Add(seed(messageOf(frame{kind: kindCall, id: id}, nil), nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, b := pairOfEnds(t)
		c := &Client{name: "s", opt: (&Options{MaxMessage: 1000}).filled(), sending: make(chan struct{}, 1), bound: map[bindKey]any{}, end: a, piece: pieces(a)}
		for _, m := range hostileFrames(data) {
			if b.Send(context.Background(), m) != nil {
				break
			}
		}
		b.CloseWrite()
		done := time.AfterFunc(10*time.Second, func() { panic("no end") })
		defer done.Stop()
		for range 3 {
			_, _ = c.CallRaw(context.Background(), "x", []byte("abc"))
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_, _ = Call[int, string](ctx, c, "y", 7)
		_ = c.Close()
	})
}
