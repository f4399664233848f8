package shm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// roles are what a child does.
var roles = map[string]func() error{
	// hold attaches read-only and stays.
	"hold": func() error {
		s, err := Attach(os.Getenv("NAME"), &Options{Dir: os.Getenv("DIR"), ReadOnly: true})
		if err != nil {
			return err
		}
		fmt.Println("ready")
		_, err = io.ReadAll(os.Stdin)
		return errors.Join(err, s.Close())
	},
	// store breaks its word.
	"store": func() error {
		s, err := Attach(os.Getenv("NAME"), &Options{Dir: os.Getenv("DIR"), ReadOnly: true})
		if err != nil {
			return err
		}
		s.Bytes()[0] = 1
		fmt.Println("written")
		return nil
	},
	// child takes descriptor 3, adds 1 to each byte.
	"child": func() error {
		s, err := FromFD(3, &Options{Seals: SealSize})
		if err != nil {
			return err
		}
		defer s.Close()
		if f, _ := unix.FcntlInt(3, unix.F_GETFD, 0); f&unix.FD_CLOEXEC == 0 {
			return errors.New("the descriptor is inherited further")
		}
		return s.With(func(b []byte) error {
			for i := range b {
				b[i]++
			}
			return nil
		})
	},
	// socket dials, receives, checks, answers with memory of its own.
	"socket": func() error {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: os.Getenv("SOCKET"), Net: "unix"})
		if err != nil {
			return err
		}
		defer conn.Close()
		s, err := Receive(context.Background(), conn, &Options{Seals: SealSize | SealWrite})
		if err != nil {
			return err
		}
		defer s.Close()
		answer, err := Anonymous(s.Size(), nil)
		if err != nil {
			return err
		}
		defer answer.Close()
		copy(answer.Bytes(), bytes.ToUpper(s.Bytes()))
		return answer.Send(context.Background(), conn)
	},
	// create makes segments until it is killed.
	"create": func() error {
		canTmpfile = os.Getenv("TMPFILE") == "yes"
		for i := 0; ; i++ {
			s, err := Create(fmt.Sprint("x", i%8), 3<<20, &Options{Dir: os.Getenv("DIR"), Keep: i%2 == 0})
			if err != nil {
				return err
			}
			fmt.Println(i)
			if err := errors.Join(s.Unlink(), s.Close()); err != nil {
				return err
			}
		}
	},
}

func TestReadOnlyProcess(t *testing.T) {
	o := in(t)
	s := created(t, "x", 10, o)
	c := start(t, inRole(t, "store", "DIR="+o.Dir, "NAME=x"))
	if err := c.wait(); err == nil || !strings.Contains(c.stderr.String(), "fault") {
		t.Errorf("%v: %s", err, c.stderr.String())
	}
	if s.Bytes()[0] != 0 {
		t.Error("written")
	}
}

func TestChild(t *testing.T) {
	s, err := Anonymous(100_000, nil)
	closing(t, s, err)
	if s.Name() != "" || s.Path() != "" || s.Linked() {
		t.Errorf("%v has a name", s)
	}
	is(t, "unlink", s.Unlink(), errs.ErrNotExist)
	is(t, "relink", s.Relink(), errs.ErrNotExist)
	give := func() *child {
		f, err := s.File()
		ok(t, err)
		defer f.Close()
		cmd := inRole(t, "child")
		cmd.ExtraFiles = []*os.File{f}
		return start(t, cmd)
	}
	c := give()
	if err := c.wait(); err == nil || !strings.Contains(c.stderr.String(), "shrink|grow is missing") {
		t.Errorf("unsealed: %v: %s", err, c.stderr.String())
	}
	ok(t, s.Seal(SealSize))
	for range 2 {
		c := give()
		if err := c.wait(); err != nil {
			t.Fatalf("%v: %s", err, c.stderr.String())
		}
	}
	if !bytes.Equal(s.Bytes(), bytes.Repeat([]byte{2}, 100_000)) {
		t.Error("not what the children did")
	}
}

func TestSocket(t *testing.T) {
	addr := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"}
	l, err := net.ListenUnix("unix", addr)
	ok(t, err)
	defer l.Close()
	c := start(t, inRole(t, "socket", "SOCKET="+addr.Name))
	conn, err := l.AcceptUnix()
	ok(t, err)
	defer conn.Close()
	s, err := Anonymous(10_000, nil)
	closing(t, s, err)
	copy(s.Bytes(), bytes.Repeat([]byte("shiplap "), 1250))
	ok(t, s.Seal(SealSize|SealWrite))
	ok(t, s.Send(t.Context(), conn))
	a, err := Receive(t.Context(), conn, nil)
	if err != nil {
		c.wait()
		t.Fatalf("%v: %s", err, c.stderr.String())
	}
	closing(t, a, nil)
	if !bytes.Equal(a.Bytes(), bytes.Repeat([]byte("SHIPLAP "), 1250)) || a.ReadOnly() {
		t.Errorf("%v: %q", a, a.Bytes()[:20])
	}
	ok(t, c.wait())
	_, err = Receive(t.Context(), conn, nil)
	is(t, "its end", err, errs.ErrPeerGone)
}

// pair is two ends of a socket.
func pair(t *testing.T, kind int) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	ok(t, err)
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		f.Close()
		ok(t, err)
		t.Cleanup(func() { c.Close() })
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// What is not a message of Send is an error, and no descriptor stays open (the test run would see it).
func TestReceiveHostile(t *testing.T) {
	s, err := Anonymous(10, nil)
	closing(t, s, err)
	good := message{10}.marshal()
	pipe, w, err := os.Pipe()
	ok(t, err)
	defer pipe.Close()
	defer w.Close()
	empty, err := os.Create(filepath.Join(t.TempDir(), "empty"))
	ok(t, err)
	defer empty.Close()
	many := make([]int, 50)
	for i := range many {
		many[i] = s.fd
	}
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET, unix.SOCK_DGRAM} {
		for what, c := range map[string]struct {
			msg  []byte
			fds  []int
			want error
		}{
			"good":        {good, []int{s.fd}, nil},
			"no fd":       {good, nil, errs.ErrCorrupt},
			"two":         {good, []int{s.fd, s.fd}, errs.ErrCorrupt},
			"fifty":       {good, many, errs.ErrCorrupt},
			"magic":       {[]byte("shiplapX12345678"), []int{s.fd}, errs.ErrCorrupt},
			"other size":  {message{11}.marshal(), []int{s.fd}, errs.ErrIncompatible},
			"a pipe":      {good, []int{int(pipe.Fd())}, errs.ErrCorrupt},
			"write only":  {good, []int{int(w.Fd())}, os.ErrPermission},
			"an empty":    {good, []int{int(empty.Fd())}, errs.ErrBusy},
			"cut":         {good[:7], []int{s.fd}, errs.ErrPeerGone},
			"cut message": {good[:7], []int{s.fd}, errs.ErrCorrupt},
			"too long":    {append(good, 1), []int{s.fd}, errs.ErrCorrupt},
		} {
			if kind == unix.SOCK_STREAM && (what == "too long" || what == "cut message") || kind != unix.SOCK_STREAM && what == "cut" {
				continue
			}
			a, b := pair(t, kind)
			var oob []byte
			if c.fds != nil {
				oob = unix.UnixRights(c.fds...)
			}
			_, _, err := a.WriteMsgUnix(c.msg, oob, nil)
			ok(t, err)
			ok(t, a.Close())
			r, err := Receive(t.Context(), b, nil)
			if err == nil {
				ok(t, r.Close())
			}
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("%s, socket type %d: %v; %v is wanted", what, kind, err, c.want)
			}
		}
	}
	_, b := pair(t, unix.SOCK_STREAM)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := Receive(ctx, b, nil); done <- err }()
	cancel()
	is(t, "cancelled", <-done, context.Canceled)
}

// A message that comes in two pieces is one.
func TestReceivePieces(t *testing.T) {
	s, err := Anonymous(10, nil)
	closing(t, s, err)
	a, b := pair(t, unix.SOCK_STREAM)
	msg := message{10}.marshal()
	_, _, err = a.WriteMsgUnix(msg[:3], unix.UnixRights(s.fd), nil)
	ok(t, err)
	_, err = a.Write(append(msg[3:], "more"...))
	ok(t, err)
	r, err := Receive(t.Context(), b, nil)
	closing(t, r, err)
	rest := make([]byte, 4)
	if _, err := io.ReadFull(b, rest); err != nil || string(rest) != "more" {
		t.Errorf("%q, %v: it read on", rest, err)
	}
}

func TestSeals(t *testing.T) {
	s, err := Anonymous(5000, nil)
	closing(t, s, err)
	copy(s.Bytes(), "hello")
	b := s.Bytes()
	f, err := s.File()
	ok(t, err)
	defer f.Close()
	other, err := FromFile(f, nil)
	closing(t, other, err)
	ok(t, s.Seal(SealSize))
	if err := unix.Ftruncate(int(f.Fd()), 1); err != unix.EPERM {
		t.Errorf("truncated: %v", err)
	}
	err = s.Seal(SealWrite)
	is(t, "another maps it", err, errs.ErrBusy)
	s.Bytes()[5] = '!' // still writable
	ok(t, other.Close())
	is(t, "a call is inside", func() (err error) {
		s.With(func([]byte) error { err = s.Seal(SealWrite); return nil })
		return err
	}(), errs.ErrBusy)
	ok(t, s.Seal(SealWrite|SealSeal))
	if !s.ReadOnly() || string(b[:6]) != "hello!" {
		t.Errorf("%v: %q", s, b[:6])
	}
	_, err = s.WriteAt([]byte("x"), 0)
	is(t, "write", err, os.ErrPermission)
	seals, err := s.Seals()
	if err != nil || seals&^SealExec != SealSize|SealWrite|SealSeal {
		t.Errorf("%v, %v", seals, err)
	}
	is(t, "sealed seals", s.Seal(SealFutureWrite), os.ErrPermission)
	is(t, "unknown", s.Seal(1<<20), os.ErrInvalid)
	r, err := FromFile(f, &Options{Seals: SealSize | SealWrite})
	closing(t, r, err)
	if !r.ReadOnly() || string(r.Bytes()[:6]) != "hello!" {
		t.Errorf("%v: %q", r, r.Bytes()[:6])
	}

	// With SealFutureWrite we go on writing, and others read.
	w, err := Anonymous(10, nil)
	closing(t, w, err)
	ok(t, w.Seal(SealFutureWrite|SealSize))
	g, err := w.File()
	ok(t, err)
	defer g.Close()
	r, err = FromFile(g, &Options{Seals: SealFutureWrite})
	closing(t, r, err)
	w.Bytes()[0] = 7
	if !r.ReadOnly() || r.Bytes()[0] != 7 || w.ReadOnly() {
		t.Errorf("%v: %v", r, r.Bytes())
	}
	if s := (SealShrink | SealFutureWrite | 1<<12).String(); s != "shrink|future-write|0x1000" {
		t.Error(s)
	}
	named := created(t, "x", 10, in(t))
	is(t, "named", named.Seal(SealGrow), os.ErrPermission)
	if seals, err := named.Seals(); err != nil || seals != SealSeal {
		t.Errorf("%v, %v", seals, err)
	}
	for _, opt := range []*Options{{Keep: true}, {ReadOnly: true}, {Seals: SealGrow}} {
		_, err := Anonymous(10, opt)
		is(t, "option", err, os.ErrInvalid)
	}
	_, err = FromFD(1<<20, nil)
	is(t, "no descriptor", err, unix.EBADF)
}

// A child is killed while it creates: what is there is whole, and what else it left is swept.
func TestCreateKilled(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	seen := map[string]int{}
	for _, tmpfile := range []string{"yes", "no"} {
		o := in(t)
		for range rounds {
			c := start(t, inRole(t, "create", "DIR="+o.Dir, "TMPFILE="+tmpfile))
			for range 1 + rand.IntN(4) {
				c.line()
			}
			for range rand.IntN(100) { // some way into the next one
				names(t, o.Dir)
			}
			ok(t, c.Process.Signal(syscall.SIGKILL))
			c.wait()
			list, err := List(o)
			ok(t, err)
			for _, i := range list {
				seen[tmpfile+" "+i.Kind]++
				if i.Kind != KindPrivate && (i.Size != 3<<20 || i.Reserved < i.Size) {
					t.Errorf("half-made: %+v", i)
				}
			}
			_, err = Sweep(o)
			ok(t, err)
			for _, n := range names(t, o.Dir) {
				if strings.HasPrefix(n, privatePrefix) {
					t.Errorf("not swept: %s", n)
					continue
				}
				a := attached(t, n, o)
				ok(t, errors.Join(a.Unlink(), a.Close()))
			}
		}
	}
	t.Logf("found after the kills: %v", seen)
}
