package fifo_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/fifo"
)

// child is a peer that knows nothing of this package: it opens as C programs do.
func child(role []string) error {
	switch role[0] {
	case "write": // what comes on standard input
		f, err := os.OpenFile(role[1], os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		fmt.Println("open")
		_, err = io.Copy(f, os.Stdin)
		return err
	case "read":
		f, err := os.OpenFile(role[1], os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		fmt.Println("open")
		_, err = io.Copy(os.Stdout, f)
		return err
	case "nobody":
		return asNobody(role[1])
	case "poor":
		return withoutDescriptors(role[1])
	}
	return fmt.Errorf("role %q", role)
}

type peer struct {
	*exec.Cmd
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

func start(t *testing.T, role, path string) *peer {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FIFO_CHILD="+role+" "+path)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	ok(t, err)
	out, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	p := &peer{cmd, t, in, bufio.NewReader(out)}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return p
}

func (p *peer) says(want string) {
	p.t.Helper()
	if line, err := p.out.ReadString('\n'); line != want+"\n" {
		p.t.Fatalf("the peer says %q, %v; want %q", line, err, want)
	}
}

// A blocking writer of another program, first we and first it. It is killed.
func TestForeignWriter(t *testing.T) {
	path := newFIFO(t)
	p := start(t, "write", path)
	r, err := fifo.OpenReader(bg, path)
	ok(t, err)
	defer r.Close()
	p.says("open")
	io.WriteString(p.in, "hello")
	b := make([]byte, 10)
	if n, err := r.Read(bg, b); string(b[:n]) != "hello" || err != nil {
		t.Fatalf("%q, %v", b[:n], err)
	}
	ok(t, p.Process.Kill())
	if n, err := r.Read(bg, b); n != 0 || err != io.EOF {
		t.Error(n, err)
	}
}

// A blocking reader of another program is let in by a waiting writer, and the other way round. It is killed.
func TestForeignReader(t *testing.T) {
	path := newFIFO(t)
	for range 2 {
		opened := make(chan *fifo.Writer)
		go func() {
			w, err := fifo.OpenWriter(bg, path)
			if err != nil {
				t.Error(err)
			}
			opened <- w
		}()
		p := start(t, "read", path)
		p.says("open")
		w := <-opened
		_, err := w.Write(bg, []byte("hello\n"))
		ok(t, err)
		p.says("hello")
		gone := make(chan error)
		go func() { gone <- w.PeerGone(bg) }()
		ok(t, p.Process.Kill())
		ok(t, <-gone)
		_, err = w.Write(bg, []byte("more"))
		is(t, err, shiplap.ErrPeerGone)
		ok(t, w.Close())
	}
}

// Who has no permission is told so; who may only write waits all the same.
func TestPermission(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	path := newFIFO(t)
	dir := strings.TrimSuffix(path, "/bell")
	for d := dir; d != "/dev/shm" && d != "/tmp" && d != "/"; d = d[:strings.LastIndexByte(d, '/')] {
		ok(t, os.Chmod(d, 0o755))
	}
	p := start(t, "nobody", path)
	p.says("denied")
	ok(t, os.Chmod(path, 0o622))
	fmt.Fprintln(p.in, "go on")
	p.says("cancelled")
	r, err := fifo.OpenReader(bg, path)
	ok(t, err)
	defer r.Close()
	b := make([]byte, 10)
	if n, err := r.Read(bg, b); string(b[:n]) != "hello" || err != nil {
		t.Errorf("%q, %v", b[:n], err)
	}
}

func asNobody(path string) error {
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(65534), syscall.Setuid(65534)); err != nil {
		return err
	}
	_, err1 := fifo.OpenWriter(bg, path)
	_, err2 := fifo.OpenReader(bg, path)
	if !errors.Is(err1, os.ErrPermission) || !errors.Is(err2, os.ErrPermission) {
		return fmt.Errorf("got %v and %v", err1, err2)
	}
	fmt.Println("denied")
	bufio.NewReader(os.Stdin).ReadString('\n')
	ctx, cancel := context.WithCancel(bg)
	done := make(chan error)
	go func() { _, err := fifo.OpenWriter(ctx, path); done <- err }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		return err
	}
	fmt.Println("cancelled")
	w, err := fifo.OpenWriter(bg, path)
	if err != nil {
		return err
	}
	_, err = w.Write(bg, []byte("hello"))
	return err
}

// Without a descriptor for inotify a reader looks again and again; without one to free its thread a cancelled writer waits for one.
func TestNoDescriptors(t *testing.T) {
	path := newFIFO(t)
	p := start(t, "poor", path)
	p.says("opening")
	w, err := fifo.OpenWriter(bg, path)
	ok(t, err)
	_, err = w.Write(bg, []byte("x"))
	ok(t, err)
	p.says("read x")
	ok(t, w.PeerGone(bg))
	ok(t, w.Close())
	io.WriteString(p.in, "go on\n")
	p.says("cancelled")
}

func withoutDescriptors(path string) error {
	r, w, err := os.Pipe() // has the runtime make its poller
	if err != nil {
		return err
	}
	r.Close()
	w.Close()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 40, Max: 40}); err != nil {
		return err
	}
	var hogs []*os.File
	hog := func() bool {
		f, err := os.Open("/dev/null")
		if err == nil {
			hogs = append(hogs, f)
		}
		return err == nil
	}
	free := func() {
		hogs[len(hogs)-1].Close()
		hogs = hogs[:len(hogs)-1]
	}
	for hog() {
	}
	free() // for the file that is found
	free() // for the side that is opened
	fmt.Println("opening")
	reader, err := fifo.OpenReader(bg, path)
	if err != nil {
		return err
	}
	b := make([]byte, 1)
	if _, err := reader.Read(bg, b); err != nil {
		return err
	}
	fmt.Printf("read %s\n", b)
	reader.Close()
	bufio.NewReader(os.Stdin).ReadString('\n')

	free() // to look at /proc
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	done := make(chan error, 1)
	go func() { _, err := fifo.OpenWriter(ctx, path); done <- err }()
	if err := waitInOpen(1); err != nil {
		fmt.Println("cancelled")
		return nil // /proc does not tell
	}
	for hog() {
	}
	cancel()
	free()
	if err := <-done; !errors.Is(err, context.Canceled) {
		return err
	}
	fmt.Println("cancelled")
	return nil
}
