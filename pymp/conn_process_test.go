package pymp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/pythontest"
)

// socketPath is short: Unix sockets need that.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	ok(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func listen(t testing.TB, network, address string, opts *Options) *Listener {
	t.Helper()
	l, err := Listen(within(t), network, address, opts)
	ok(t, err)
	t.Cleanup(func() { ok(t, l.Close()) })
	return l
}

// echo answers every message; big ones too.
const echo = `
import sys
from multiprocessing.connection import Client, Listener
from multiprocessing import AuthenticationError
def address(a):
    if a[0] == "@": return "\0" + a[1:]
    if a[0] == "/": return a
    host, port = a.rsplit(":", 1)
    return (host, int(port))
key = bytes.fromhex(sys.argv[2]) if len(sys.argv) > 2 else None
def serve(c):
    c.send_bytes(b"hello")
    try:
        while True:
            b = c.recv_bytes()
            if b == b"objects": break
            c.send_bytes(b)
        while True:
            v = c.recv()
            c.send(v)
    except EOFError:
        c.close()
`

const echoClient = echo + `
serve(Client(address(sys.argv[1]), authkey=key))
`

const echoListener = echo + `
l = Listener(address(sys.argv[1]), authkey=key)
a = l.address
print("%s:%d" % a if isinstance(a, tuple) else sys.argv[1])
for line in sys.stdin:
    try: serve(l.accept()); print("served")
    except AuthenticationError as e: print("refused:", e)
l.close()
`

// talk is Go's side of serve.
func talk(t *testing.T, c *Conn) {
	t.Helper()
	ctx := within(t)
	p, err := c.RecvBytes(ctx)
	if ok(t, err); string(p) != "hello" {
		t.Fatalf("%q", p)
	}
	for _, n := range []int{0, 1, 100, inOneWrite - 4, inOneWrite, inOneWrite + 1, 70_000, 3 << 20} {
		sent := make([]byte, n)
		for i := range sent {
			sent[i] = byte(i * 7)
		}
		ok(t, c.SendBytes(ctx, sent))
		got, err := c.RecvBytes(ctx)
		if ok(t, err); !reflect.DeepEqual(got, sent) {
			t.Fatalf("%d bytes come back as %d", n, len(got))
		}
	}
	ok(t, c.SendBytes(ctx, []byte("objects")))
	for _, v := range []any{nil, int64(1), "ä", []byte("b"), []any{1.5, Tuple{true}}, strings.Repeat("long", 100_000)} {
		ok(t, c.Send(ctx, v))
		got, err := c.Recv(ctx)
		if ok(t, err); !reflect.DeepEqual(got, v) {
			t.Fatalf("%.80v comes back as %.80v", v, got)
		}
	}
}

var key = []byte("a key \x00\xff")

func addresses(t testing.TB) map[string][2]string {
	return map[string][2]string{
		"unix":     {"unix", socketPath(t)},
		"abstract": {"unix", "@shiplap-test-" + filepath.Base(filepath.Dir(socketPath(t)))},
		"tcp":      {"tcp", "127.0.0.1:0"},
	}
}

func TestPythonClient(t *testing.T) {
	each(t, func(t *testing.T, p pythontest.Python) {
		for name, a := range addresses(t) {
			for _, key := range [][]byte{nil, key} {
				t.Run(fmt.Sprintf("%s %v", name, key != nil), func(t *testing.T) {
					l := listen(t, a[0], a[1], &Options{AuthKey: key})
					args := []string{l.Addr().String()}
					if key != nil {
						args = append(args, fmt.Sprintf("%x", key))
					}
					s := python(t, p, echoClient, args...)
					c, err := l.Accept(within(t))
					ok(t, err)
					talk(t, c)
					ok(t, c.Close())
					s.end()
				})
			}
		}
	})
}

func TestPythonListener(t *testing.T) {
	each(t, func(t *testing.T, p pythontest.Python) {
		for name, a := range addresses(t) {
			for _, key := range [][]byte{nil, key} {
				t.Run(fmt.Sprintf("%s %v", name, key != nil), func(t *testing.T) {
					args := []string{a[1]}
					if key != nil {
						args = append(args, fmt.Sprintf("%x", key))
					}
					s := python(t, p, echoListener, args...)
					address, _ := s.hear()
					s.say("accept")
					c, err := Dial(within(t), a[0], address, &Options{AuthKey: key})
					ok(t, err)
					talk(t, c)
					ok(t, c.Close())
					s.want("served")
					s.end()
				})
			}
		}
	})
}

// A wrong key is an error on both sides that says so.
func TestPythonWrongKey(t *testing.T) {
	each(t, func(t *testing.T, p pythontest.Python) {
		l := listen(t, "unix", socketPath(t), &Options{AuthKey: key})
		s := python(t, p, echo+`
try: Client(address(sys.argv[1]), authkey=b"wrong")
except AuthenticationError as e: print(e)
`, l.Addr().String())
		c, err := l.Accept(within(t))
		var he *HandshakeError
		if !errors.Is(err, ErrAuth) || !errors.As(err, &he) || !strings.Contains(err.Error(), "another key") {
			t.Errorf("%v, %v", c, err)
		}
		s.want("digest sent was rejected")
		s.end()

		path := socketPath(t)
		s = python(t, p, echoListener, path, fmt.Sprintf("%x", key))
		s.want(path)
		s.say("accept")
		if c, err := Dial(within(t), "unix", path, &Options{AuthKey: []byte("wrong")}); !errors.Is(err, ErrAuth) || !strings.Contains(err.Error(), "key") {
			t.Errorf("%v, %v", c, err)
		}
		s.want("refused: digest received was wrong")
		s.end()
	})
}

// Old Pythons know MD5 only, which can be refused.
func TestNoMD5(t *testing.T) {
	each(t, func(t *testing.T, p pythontest.Python) {
		path := socketPath(t)
		s := python(t, p, echo+`
l = Listener(address(sys.argv[1]), authkey=key)
print("listens")
try: l.accept(); print("good")
except (AuthenticationError, EOFError): print("bad")
try: Client(address(sys.argv[3]), authkey=key); print("good")
except (AuthenticationError, EOFError): print("bad")
`, path, fmt.Sprintf("%x", key), path+"2")
		s.want("listens")
		l := listen(t, "unix", path+"2", &Options{AuthKey: key, NoMD5: true})
		c, err1 := Dial(within(t), "unix", path, &Options{AuthKey: key, NoMD5: true})
		want := "good"
		if !p.AtLeast(12) {
			want = "bad"
		}
		s.want(want)
		d, err2 := l.Accept(within(t))
		s.want(want)
		s.end()
		for _, err := range []error{err1, err2} {
			if want == "good" {
				ok(t, err)
			} else if !errors.Is(err, ErrAuth) || !strings.Contains(err.Error(), "MD5") {
				t.Errorf("%v", err)
			}
		}
		if want == "good" {
			ok(t, errors.Join(c.Close(), d.Close()))
		}
	})
}

func TestNewConn(t *testing.T) {
	a, b := net.Pipe()
	x, err := NewConn(a, nil)
	ok(t, err)
	y, err := NewConn(b, nil)
	ok(t, err)
	go x.Send(bg, "over anything")
	if v, err := y.Recv(within(t)); err != nil || v != "over anything" {
		t.Errorf("%v, %v", v, err)
	}
	ok(t, x.Close())
	if _, err := y.Recv(bg); err != io.EOF {
		t.Errorf("%v", err)
	}
	ok(t, y.Close())
	if err := y.Send(bg, 1); !errors.Is(err, errs.ErrClosed) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if _, err := y.RecvBytes(ctx); !errors.Is(err, errs.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// The inherited end of a Pipe: Go starts a Python and they talk over a socketpair.
func TestPythonPipe(t *testing.T) {
	each(t, func(t *testing.T, p pythontest.Python) {
		l := listen(t, "unix", socketPath(t), nil)
		far, err := net.Dial("unix", l.Addr().String())
		ok(t, err)
		near, err := l.Accept(within(t))
		ok(t, err)
		defer near.Close()
		f, err := far.(*net.UnixConn).File()
		ok(t, errors.Join(err, far.Close()))
		cmd := exec.Command(p.Path, "-c", `
import os
from multiprocessing.connection import Connection
os.set_blocking(3, True)
c = Connection(3)
c.send({"got": c.recv()})
`)
		cmd.ExtraFiles = []*os.File{f}
		ok(t, near.Send(within(t), []int{1, 2}))
		out, err := cmd.CombinedOutput()
		if ok(t, f.Close()); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		v, err := near.Recv(within(t))
		ok(t, err)
		if got, _ := v.(*Dict).Get("got"); !reflect.DeepEqual(got, []any{int64(1), int64(2)}) {
			t.Errorf("%v", v)
		}
	})
}
