package fifo_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/fifo"
	"github.com/shiplap-ipc/shiplap/internal/leaktest"
)

// bg ends when something hangs: a peer that died before it opened its side, for instance.
var bg, _ = context.WithTimeout(context.Background(), 5*time.Minute)

func is(t testing.TB, err, want error, texts ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
	for _, s := range texts {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
}

// both opens a FIFO's two sides.
func both(t testing.TB, path string) (*fifo.Reader, *fifo.Writer) {
	t.Helper()
	var r *fifo.Reader
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		r, err = fifo.OpenReader(bg, path)
	}()
	w, err2 := fifo.OpenWriter(bg, path)
	<-done
	ok(t, errors.Join(err, err2))
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func TestMake(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := t.TempDir()
	path := filepath.Join(dir, "bell")
	ok(t, fifo.Make(path, 0o664))
	info, err := os.Lstat(path)
	ok(t, err)
	if info.Mode() != fs.ModeNamedPipe|0o664 {
		t.Errorf("made %v", info.Mode())
	}
	is(t, fifo.Make(path, 0o600), shiplap.ErrExist, path)
	if made, err := fifo.Ensure(path, 0o600); made || err != nil {
		t.Error(made, err)
	}
	if made, err := fifo.Ensure(path+"2", 0o600); !made || err != nil {
		t.Error(made, err)
	}
	is(t, fifo.Make(filepath.Join(dir, "nodir", "x"), 0o600), shiplap.ErrNotExist)
	if err := fifo.Make(path+"3", fs.ModeSetuid|0o600); err == nil {
		t.Error("made with setuid")
	}
	ok(t, fifo.Remove(path))
	ok(t, fifo.Remove(path+"2"))
	is(t, fifo.Remove(path), shiplap.ErrNotExist)
}

func TestNotFIFO(t *testing.T) {
	dir := t.TempDir()
	file, link, sock := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "sock")
	ok(t, os.WriteFile(file, []byte("kept"), 0o600))
	ok(t, os.Symlink(newFIFO(t), link))
	l, err := net.Listen("unix", sock)
	ok(t, err)
	defer l.Close()
	for path, kind := range map[string]string{file: "regular file", dir: "directory", link: "symbolic link", sock: "socket", "/dev/null": "device"} {
		_, err := fifo.OpenReader(bg, path)
		is(t, err, shiplap.ErrIncompatible, path, kind)
		_, err = fifo.OpenWriter(bg, path)
		is(t, err, shiplap.ErrIncompatible, path, kind)
		_, err = fifo.Ensure(path, 0o600)
		is(t, err, shiplap.ErrIncompatible, path, kind)
		is(t, fifo.Remove(path), shiplap.ErrIncompatible, path, kind)
	}
	_, err = fifo.OpenReader(bg, file+"none")
	is(t, err, shiplap.ErrNotExist, "none")
	if b, _ := os.ReadFile(file); string(b) != "kept" {
		t.Errorf("the file has %q", b)
	}
}

func TestTalk(t *testing.T) {
	path := newFIFO(t)
	r, w := both(t, path)
	if r.Path() != path || w.String() != "FIFO "+path {
		t.Error(r, w)
	}
	_, err := w.Write(bg, []byte("one\ntwo\n"))
	ok(t, err)
	ok(t, r.Ready(bg))
	if n, err := r.Buffered(); n != 8 || err != nil {
		t.Error(n, err)
	}
	if n, err := w.Buffered(); n != 8 || err != nil {
		t.Error(n, err)
	}
	s := bufio.NewScanner(r.Stream(bg))
	for _, want := range []string{"one", "two"} {
		if !s.Scan() || s.Text() != want {
			t.Errorf("%q, %v", s.Text(), s.Err())
		}
	}
	_, err = io.WriteString(w.Stream(bg), "last")
	ok(t, err)
	ok(t, w.Close())
	is(t, w.Close(), shiplap.ErrClosed)
	_, err = w.Write(bg, []byte("x"))
	is(t, err, shiplap.ErrClosed)
	if s.Scan(); s.Text() != "last" || s.Scan() {
		t.Errorf("%q, %v", s.Text(), s.Err())
	}
	ok(t, r.Ready(bg)) // for the end
	if n, err := r.Read(bg, make([]byte, 5)); n != 0 || err != io.EOF {
		t.Error(n, err)
	}
	if n, err := r.Read(bg, nil); n != 0 || err != nil {
		t.Error(n, err)
	}
	// Another writer comes.
	w, err = fifo.OpenWriter(bg, path)
	ok(t, err)
	_, err = w.Write(bg, []byte("again"))
	ok(t, err)
	b := make([]byte, 10)
	if n, err := r.Read(bg, b); string(b[:n]) != "again" || err != nil {
		t.Errorf("%q, %v", b[:n], err)
	}
	ok(t, w.Close())
}

// A stopped wait says why, and the next one works.
func TestCancel(t *testing.T) {
	r, w := both(t, newFIFO(t))
	why := errors.New("enough")
	for i, call := range []func(context.Context) error{
		func(ctx context.Context) error { _, err := r.Read(ctx, make([]byte, 1)); return err },
		r.Ready,
		w.PeerGone,
		func(ctx context.Context) error { _, err := w.Write(ctx, make([]byte, 1<<22)); return err },
		w.Drain,
	} {
		ctx, cancel := context.WithCancelCause(bg)
		done := make(chan error)
		go func() { done <- call(ctx) }()
		for i == 3 { // until the FIFO is full; then there is something to drain, too
			if n, err := w.Buffered(); n >= 1<<16 || err != nil {
				break
			}
		}
		runtime.Gosched()
		cancel(why)
		is(t, <-done, why)
		is(t, call(ctx), why)
	}
	got := 0
	for buf := make([]byte, 1<<16); ; {
		n, err := w.Buffered()
		ok(t, err)
		if n == 0 {
			break
		}
		n, err = r.Read(bg, buf)
		ok(t, err)
		got += n
	}
	if got == 0 || got > 1<<20 {
		t.Errorf("%d bytes were in the FIFO", got)
	}
	ok(t, w.Drain(bg))
}

func TestCloseWakes(t *testing.T) {
	r, w := both(t, newFIFO(t))
	done := make(chan error)
	go func() { _, err := r.Read(bg, make([]byte, 1)); done <- err }()
	go func() { done <- r.Ready(bg) }()
	go func() { done <- w.PeerGone(bg) }()
	ok(t, w.Close())
	is(t, r.Ready(bg), nil)
	ok(t, r.Close())
	for range 3 {
		if err := <-done; err != nil && err != io.EOF && !errors.Is(err, shiplap.ErrClosed) {
			t.Error(err)
		}
	}
	is(t, r.Ready(bg), shiplap.ErrClosed)
	_, err := r.Buffered()
	is(t, err, shiplap.ErrClosed)
}

func TestReaderGone(t *testing.T) {
	r, w := both(t, newFIFO(t))
	_, err := w.Write(bg, []byte("unread"))
	ok(t, err)
	gone := make(chan error)
	go func() { gone <- w.PeerGone(bg) }()
	drained := make(chan error)
	go func() { drained <- w.Drain(bg) }()
	ok(t, r.Close())
	ok(t, <-gone)
	is(t, <-drained, shiplap.ErrPeerGone)
	_, err = w.Write(bg, []byte("x"))
	is(t, err, shiplap.ErrPeerGone, "nobody has it open for reading")
	ok(t, w.PeerGone(bg))
}

func TestDrain(t *testing.T) {
	r, w := both(t, newFIFO(t))
	ok(t, w.Drain(bg))
	const n = 2000
	var taken []byte
	var mu sync.Mutex
	go func() {
		for b := make([]byte, 1); ; {
			if err := r.Ready(bg); err != nil {
				return
			}
			mu.Lock() // what is there when Ready says so is there until it is read
			if k, err := r.Read(bg, b); k == 0 || err != nil {
				mu.Unlock()
				return
			}
			taken = append(taken, b[0])
			mu.Unlock()
		}
	}()
	for i := range n {
		_, err := w.Write(bg, []byte{byte(i)})
		ok(t, err)
		ok(t, w.Drain(bg))
		mu.Lock()
		if len(taken) != i+1 || taken[i] != byte(i) {
			t.Fatalf("after %d: %d taken", i, len(taken))
		}
		mu.Unlock()
	}
	ok(t, w.Close())
}

// More than a page: it is looked at again and again.
func TestDrainMuch(t *testing.T) {
	r, w := both(t, newFIFO(t))
	text := bytes.Repeat([]byte("0123456789abcdef"), 2000)
	_, err := w.Write(bg, text)
	ok(t, err)
	done := make(chan error)
	go func() { done <- w.Drain(bg) }()
	got := make([]byte, len(text))
	_, err = io.ReadFull(r.Stream(bg), got)
	ok(t, err)
	ok(t, <-done)
	if !bytes.Equal(got, text) {
		t.Error("not what was written")
	}
}

// Waits that end by their context leave nothing behind, however many there are, and whatever moment it is.
func TestCancelOpen(t *testing.T) {
	path := newFIFO(t)
	before := leaktest.Descriptors()
	for i := range 200 {
		ctx, cancel := context.WithCancel(bg)
		done := make(chan error, 2)
		if i%2 == 0 {
			go func() { _, err := fifo.OpenReader(ctx, path); done <- err }()
		} else {
			go func() { _, err := fifo.OpenWriter(ctx, path); done <- err }()
		}
		for range i % 7 {
			runtime.Gosched()
		}
		cancel()
		is(t, <-done, context.Canceled, path)
	}
	_, err := fifo.OpenReader(cancelled(), path)
	is(t, err, context.Canceled)
	_, err = fifo.OpenWriter(cancelled(), path)
	is(t, err, context.Canceled)
	if now := leaktest.Descriptors(); len(now) > len(before) {
		t.Errorf("descriptors %q, before %q", now, before)
	}
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(bg)
	cancel()
	return ctx
}

// One of two waiting writers is cancelled: that one returns, and the other meets the next reader.
func TestCancelOther(t *testing.T) {
	path := newFIFO(t)
	for range 20 {
		opened := make(chan *fifo.Writer, 1)
		go func() {
			w, err := fifo.OpenWriter(t.Context(), path)
			if err != nil && t.Context().Err() == nil {
				t.Error(err)
			}
			opened <- w
		}()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { _, err := fifo.OpenWriter(ctx, path); done <- err }()
		inOpen(t, 2) // or the test is skipped, and both are cancelled
		cancel()
		is(t, <-done, context.Canceled)
		r, err := fifo.OpenReader(bg, path)
		ok(t, err)
		w := <-opened
		_, err = w.Write(bg, []byte("x"))
		ok(t, err)
		ok(t, w.Close())
		ok(t, r.Close())
	}
}

func inOpen(t *testing.T, n int) {
	t.Helper()
	if err := waitInOpen(n); err != nil {
		t.Skip(err)
	}
}

// waitInOpen waits until n threads of this process block in openat.
func waitInOpen(n int) error {
	number := map[string]string{"amd64": "257 ", "arm64": "56 "}[runtime.GOARCH]
	for {
		tasks, _ := filepath.Glob("/proc/self/task/*/syscall")
		if len(tasks) == 0 || number == "" {
			return errors.New("/proc does not tell system calls here")
		}
		in := 0
		for _, f := range tasks {
			b, err := os.ReadFile(f)
			if errors.Is(err, os.ErrPermission) {
				return err
			}
			if err == nil && strings.HasPrefix(string(b), number) {
				in++
			}
		}
		if in >= n {
			return nil
		}
	}
}

// A writer opens and says nothing, or comes and goes: either is a writer.
func TestSilentWriter(t *testing.T) {
	path := newFIFO(t)
	for _, leaves := range []bool{false, true} {
		opened := make(chan *fifo.Reader)
		go func() {
			r, err := fifo.OpenReader(bg, path)
			if err != nil {
				t.Error(err)
				close(opened)
				return
			}
			opened <- r
		}()
		for watches() == 0 { // then it waits, or is about to
			runtime.Gosched()
		}
		w, err := fifo.OpenWriter(bg, path)
		ok(t, err)
		if leaves {
			ok(t, w.Close())
		}
		r := <-opened
		if r == nil {
			return
		}
		if !leaves {
			ok(t, w.Close())
		}
		if n, err := r.Read(bg, make([]byte, 1)); n != 0 || err != io.EOF {
			t.Error(n, err)
		}
		ok(t, r.Close())
	}
}

func watches() (n int) {
	for _, d := range leaktest.Descriptors() {
		if strings.Contains(d, "inotify") {
			n++
		}
	}
	return n
}

// Opening the reading side takes nothing out of the FIFO, whenever the first byte comes: a writer that drains it would
// take that byte for received.
func TestOpenTakesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := fifo.Make(path, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		opened := make(chan *fifo.Reader, 1)
		go func() {
			r, err := fifo.OpenReader(t.Context(), path)
			if err != nil {
				t.Error(err)
			}
			opened <- r
		}()
		w, err := fifo.OpenWriter(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(t.Context(), []byte{1}); err != nil {
			t.Fatal(err)
		}
		r := <-opened
		if n, err := w.Buffered(); n != 1 || err != nil {
			t.Fatalf("round %d: the FIFO holds %d bytes, %v", i, n, err)
		}
		if err := errors.Join(r.Close(), w.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
