package pymp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// pair is two ends of a connection over a Unix socket.
func pair(t testing.TB, opts *Options) (a, b *Conn) {
	t.Helper()
	l := listen(t, "unix", socketPath(t), opts)
	dialled := make(chan error, 1)
	go func() (err error) {
		defer func() { dialled <- err }()
		a, err = Dial(within(t), "unix", l.Addr().String(), opts)
		return err
	}()
	b, err := l.Accept(within(t))
	ok(t, errors.Join(err, <-dialled))
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// raw is a peer that may say anything, and our end.
func raw(t testing.TB, opts *Options) (net.Conn, *Conn) {
	t.Helper()
	l := listen(t, "unix", socketPath(t), nil)
	peer, err := net.Dial("unix", l.Addr().String())
	ok(t, err)
	c, err := l.Accept(within(t))
	ok(t, err)
	t.Cleanup(func() { peer.Close(); c.Close() })
	o, err := opts.resolve()
	ok(t, err)
	c.opts = o
	return peer, c
}

func TestGoBothEnds(t *testing.T) {
	a, b := pair(t, &Options{AuthKey: key})
	var wg sync.WaitGroup
	const n = 200
	for _, c := range []*Conn{a, b} {
		for range 3 { // senders and receivers beside each other
			wg.Go(func() {
				for range n {
					if err := c.Send(within(t), []any{"x", strings.Repeat("y", 20_000)}); err != nil {
						t.Error(err)
					}
				}
			})
			wg.Go(func() {
				for range n {
					v, err := c.Recv(within(t))
					if l, _ := v.([]any); err != nil || len(l) != 2 {
						t.Errorf("%v, %v", v, err)
					}
				}
			})
		}
	}
	wg.Wait()
}

// inStep is a peer whose writes return when our end has read all of them, and our end.
func inStep(t testing.TB) (net.Conn, *Conn) {
	t.Helper()
	peer, stream := net.Pipe()
	c, err := NewConn(stream, nil)
	ok(t, err)
	t.Cleanup(func() { peer.Close(); c.Close() })
	return peer, c
}

// A call that is cancelled in the middle of a message loses nothing.
func TestRecvCancelled(t *testing.T) {
	peer, c := inStep(t)
	message := append(appendHeader(nil, 300_000), bytes.Repeat([]byte("z"), 300_000)...)
	why := errors.New("why")
	for _, part := range [][]byte{message[:2], message[2:4], message[4:100], message[100:200_000]} {
		ctx, cancel := context.WithCancelCause(bg)
		done := make(chan error, 1)
		go func() { _, err := c.RecvBytes(ctx); done <- err }()
		if _, err := peer.Write(part); err != nil {
			t.Fatal(err)
		}
		cancel(why)
		if err := <-done; !errors.Is(err, why) {
			t.Errorf("%v", err)
		}
	}
	go peer.Write(message[200_000:])
	if p, err := c.RecvBytes(within(t)); err != nil || len(p) != 300_000 || strings.Trim(string(p), "z") != "" {
		t.Errorf("%d bytes, %v", len(p), err)
	}
}

// A message that is cut while it is sent ends sending, and nothing else.
func TestSendCancelled(t *testing.T) {
	peer, c := raw(t, nil)
	ctx, cancel := context.WithCancel(bg)
	first := make([]byte, 1)
	go func() {
		peer.Read(first) // so something was sent
		cancel()
	}()
	if err := c.SendBytes(ctx, make([]byte, 64<<20)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := c.SendBytes(bg, nil); !errors.Is(err, errs.ErrClosed) {
		t.Errorf("after that: %v", err)
	}
	go peer.Write(append(appendHeader(nil, 2), "ok"...))
	if p, err := c.RecvBytes(within(t)); err != nil || string(p) != "ok" {
		t.Errorf("%q, %v", p, err)
	}
	// Cancelled before anything is sent: harmless. (The socket is full.)
	d, e := pair(t, nil)
	ctx, cancel = context.WithCancel(bg)
	cancel()
	if err := d.SendBytes(ctx, []byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	ok(t, d.SendBytes(bg, []byte("y")))
	if p, err := e.RecvBytes(within(t)); err != nil || string(p) != "y" {
		t.Errorf("%q, %v", p, err)
	}
}

func TestFrames(t *testing.T) {
	for n, want := range map[int]string{0: "\x00\x00\x00\x00", 5: "\x00\x00\x00\x05", math.MaxInt32: "\x7f\xff\xff\xff", 1 << 31: "\xff\xff\xff\xff\x00\x00\x00\x00\x80\x00\x00\x00", 1 << 40: "\xff\xff\xff\xff\x00\x00\x01\x00\x00\x00\x00\x00"} {
		if got := appendHeader(nil, n); string(got) != want {
			t.Errorf("%d: %x", n, got)
		}
	}
	var w writes
	for _, n := range []int{0, inOneWrite} {
		w = nil
		if k, err := writeFrame(&w, make([]byte, n)); err != nil || len(w) != 1 || k != int64(n+4) {
			t.Errorf("%d bytes: %d writes, %d, %v", n, len(w), k, err)
		}
	}
	long := "\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x02ok"
	for name, tt := range map[string]struct {
		in  string
		out string
		err error
	}{
		"short":     {"\x00\x00\x00\x02ok", "ok", nil},
		"empty":     {"\x00\x00\x00\x00", "", nil},
		"long":      {long, "ok", nil},
		"end":       {"", "", io.EOF},
		"head cut":  {"\x00\x00", "", errs.ErrPeerGone},
		"long cut":  {"\xff\xff\xff\xff\x00", "", errs.ErrPeerGone},
		"body cut":  {"\x00\x00\x00\x02o", "", errs.ErrPeerGone},
		"no body":   {"\x00\x00\x00\x02", "", errs.ErrPeerGone},
		"negative":  {"\x80\x00\x00\x00", "", ErrProtocol},
		"minus two": {"\xff\xff\xff\xfe", "", ErrProtocol},
		"too large": {"\x00\x10\x00\x01", "", errs.ErrTooLarge},
		"huge":      {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "", errs.ErrTooLarge},
		"garbage":   {"GET / HTTP/1.1\r\n\r\n", "", errs.ErrTooLarge},
	} {
		peer, c := raw(t, &Options{MaxMessage: 1 << 20})
		if _, err := io.WriteString(peer, tt.in); err != nil {
			t.Fatal(err)
		}
		peer.(*net.UnixConn).CloseWrite()
		p, err := c.RecvBytes(within(t))
		if string(p) != tt.out || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q, %v", name, p, err)
		}
		if _, again := c.RecvBytes(within(t)); again == nil || tt.err != nil && !errors.Is(again, tt.err) {
			t.Errorf("%s again: %v", name, again)
		}
	}
}

type writes []int

func (w *writes) Write(p []byte) (int, error) { *w = append(*w, len(p)); return len(p), nil }

// A large announcement alone allocates little.
func TestAnnouncement(t *testing.T) {
	peer, c := inStep(t)
	ctx, cancel := context.WithCancel(bg)
	done := make(chan bool)
	go func() { c.RecvBytes(ctx); close(done) }()
	if _, err := peer.Write(append(appendHeader(nil, DefaultMaxMessage), "x"...)); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-done
	if n := cap(c.recv.body); n > firstPiece {
		t.Errorf("%d bytes were allocated", n)
	}
}

// Peers that do not go through with the handshake, as listener and as client.
func TestHandshakeHostile(t *testing.T) {
	frame := func(s string) string { return string(appendHeader(nil, len(s))) + s }
	for name, tt := range map[string]struct {
		say string // by the peer, which then is silent, or hangs up
		end bool
		err error
	}{
		"silent":       {"", false, context.DeadlineExceeded},
		"half":         {"\x00\x00\x00\x10half", false, context.DeadlineExceeded},
		"hangs up":     {"", true, ErrAuth},
		"half, end":    {"\x00\x00\x00\x10half", true, errs.ErrPeerGone},
		"oversize":     {string(appendHeader(nil, 257)), false, ErrProtocol},
		"huge":         {string(appendHeader(nil, 1<<40)), false, ErrProtocol},
		"http":         {"GET / HTTP/1.1\r\n\r\n", false, ErrProtocol},
		"empty":        {frame(""), false, ErrProtocol},
		"garbage":      {frame("garbage"), false, ErrProtocol},
		"wrong md5":    {frame(strings.Repeat("x", 16)), false, nil},
		"digest":       {frame("{sha1}" + strings.Repeat("x", 20)), false, ErrProtocol},
		"no digest":    {frame("{sha256" + strings.Repeat("x", 20)), false, ErrProtocol},
		"short digest": {frame("{sha256}x"), false, nil},
		"challenge":    {frame("#CHALLENGE#"), false, ErrProtocol},
		"challenge 19": {frame("#CHALLENGE#" + strings.Repeat("x", 19)), false, ErrProtocol},
		"challenge 41": {frame("#CHALLENGE#" + strings.Repeat("x", 41)), false, ErrProtocol},
		"bad verdict":  {frame("#CHALLENGE#"+strings.Repeat("x", 20)) + frame("#MAYBE#"), false, ErrProtocol},
		"failure":      {frame("#CHALLENGE#"+strings.Repeat("x", 20)) + frame("#FAILURE#"), false, nil},
	} {
		for _, r := range []role{client, server} {
			o := &Options{AuthKey: key, HandshakeTimeout: 100 * time.Millisecond}
			if tt.err != context.DeadlineExceeded {
				o.HandshakeTimeout = time.Minute
			}
			peer, c := raw(t, o)
			go io.Copy(io.Discard, peer)
			io.WriteString(peer, tt.say)
			if tt.end {
				peer.(*net.UnixConn).CloseWrite()
			}
			err := c.handshake(within(t), r)
			if err == nil || !errors.Is(err, tt.err) && !(tt.err == nil || r == server && errors.Is(err, ErrProtocol)) || tt.err == nil && !errors.Is(err, ErrAuth) && !errors.Is(err, ErrProtocol) {
				t.Errorf("%s, server %v: %v", name, r, err)
			}
		}
	}
}

// A silent peer holds up nobody who behaves, and Close ends its handshake.
func TestSilentPeers(t *testing.T) {
	o := &Options{AuthKey: key, HandshakeTimeout: time.Hour}
	l := listen(t, "unix", socketPath(t), o)
	for range 5 {
		peer, err := net.Dial("unix", l.Addr().String())
		ok(t, err)
		defer peer.Close()
	}
	done := make(chan error, 1)
	go func() {
		c, err := Dial(within(t), "unix", l.Addr().String(), o)
		if err == nil {
			err = c.Close()
		}
		done <- err
	}()
	c, err := l.Accept(within(t))
	ok(t, err)
	ok(t, <-done)
	ok(t, c.Close())
	go func() { _, err := l.Accept(bg); done <- err }()
	ok(t, l.Close())
	if err := <-done; !errors.Is(err, errs.ErrClosed) {
		t.Errorf("%v", err)
	}
	ok(t, l.Close())
}

func TestConnErrors(t *testing.T) {
	path := socketPath(t)
	if _, err := Dial(bg, "unix", path, nil); !errors.Is(err, errs.ErrNotExist) {
		t.Errorf("nobody: %v", err)
	}
	l := listen(t, "unix", path, nil)
	if _, err := Listen(bg, "unix", path, nil); !errors.Is(err, errs.ErrExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("twice: %v", err)
	}
	for _, a := range [][2]string{{"udp", "x"}, {"unix", ""}, {"unix", strings.Repeat("x", 108)}, {"unixgram", "x"}} {
		if _, err := Dial(bg, a[0], a[1], nil); err == nil {
			t.Errorf("dial %s %q", a[0], a[1])
		}
		if _, err := Listen(bg, a[0], a[1], nil); err == nil {
			t.Errorf("listen %s %q", a[0], a[1])
		}
	}
	for _, o := range []*Options{{AuthKey: []byte{}}, {MaxMessage: -1}, {HandshakeTimeout: -1}, {Pickle: &PickleLimits{MaxDepth: -1}}} {
		if _, err := Dial(bg, "unix", path, o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if _, err := l.Accept(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("accept: %v", err)
	}
	a, b := pair(t, nil)
	done := make(chan error)
	go func() { _, err := a.RecvBytes(bg); done <- err }()
	ok(t, a.Close())
	if err := <-done; !errors.Is(err, errs.ErrClosed) {
		t.Errorf("closed while it waits: %v", err)
	}
	if _, err := b.RecvBytes(bg); err != io.EOF {
		t.Errorf("the other side closed: %v", err)
	}
	if err := b.SendBytes(bg, []byte("x")); !errors.Is(err, errs.ErrPeerGone) {
		t.Errorf("send to nobody: %v", err)
	}
	// A message that is no plain data does not end the connection.
	peer, c := raw(t, nil)
	go peer.Write([]byte("\x00\x00\x00\x01?\x00\x00\x00\x04\x80\x04N."))
	if _, err := c.Recv(within(t)); !errors.Is(err, ErrPickle) {
		t.Errorf("%v", err)
	}
	if v, err := c.Recv(within(t)); err != nil || v != nil {
		t.Errorf("%v, %v", v, err)
	}
}

// canned is a stream whose other side says the same thing whatever it hears.
type canned struct {
	net.Conn
	r io.Reader
}

func (c canned) Read(p []byte) (int, error)         { return c.r.Read(p) }
func (c canned) Write(p []byte) (int, error)        { return len(p), nil }
func (c canned) Close() error                       { return nil }
func (c canned) SetReadDeadline(t time.Time) error  { return nil }
func (c canned) SetWriteDeadline(t time.Time) error { return nil }

func FuzzHandshake(f *testing.F) {
	frame := func(b []byte, s string) []byte { return append(appendHeader(b, len(s)), s...) }
	for _, s := range []string{"#CHALLENGE#" + strings.Repeat("x", 20), "#CHALLENGE#{sha256}" + strings.Repeat("x", 40), "{sha3_384}" + strings.Repeat("x", 48), strings.Repeat("x", 16)} {
		f.Add(frame(frame(nil, s), welcome), true)
		f.Add(frame(frame(nil, s), failure), false)
	}
	f.Add(binary.BigEndian.AppendUint64([]byte("\xff\xff\xff\xff"), 3), true)
	f.Fuzz(func(t *testing.T, data []byte, r bool) {
		o, err := (&Options{AuthKey: key, MaxMessage: 1 << 20}).resolve()
		ok(t, err)
		c := newConn(canned{r: bytes.NewReader(data)}, o)
		if err := c.handshake(bg, role(r)); err == nil {
			t.Fatal("it got through without the key")
		}
		// As plain messages.
		c = newConn(canned{r: iotest.OneByteReader(bytes.NewReader(data))}, o)
		for total := 0; ; {
			p, err := c.RecvBytes(bg)
			if err != nil {
				break
			}
			if total += 4 + len(p); total > len(data) {
				t.Fatalf("%d bytes of %d", total, len(data))
			}
		}
	})
}
