package shm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/pythontest"
)

// python is an interpreter that obeys testdata/obey.py.
type python struct {
	*child
	version pythontest.Python
}

func startPython(t testing.TB, p pythontest.Python, files ...*os.File) *python {
	t.Helper()
	cmd := exec.Command(p.Path, filepath.Join("testdata", "obey.py"))
	cmd.Env = append(os.Environ(), "PYTHONUTF8=1", "PYTHONIOENCODING=utf-8", "PYTHONDONTWRITEBYTECODE=1")
	cmd.ExtraFiles = files
	return &python{start(t, cmd), p}
}

// does has Python evaluate a line and answers what it said.
func (p *python) does(format string, a ...any) string {
	p.t.Helper()
	p.say(format, a...)
	return p.line()
}

// wants compares the answer.
func (p *python) wants(want, format string, a ...any) {
	p.t.Helper()
	if got := p.does(format, a...); got != want {
		p.t.Errorf("Python: %s: %s; %s is wanted", fmt.Sprintf(format, a...), got, want)
	}
}

// ends waits until Python and its resource tracker, which has the same standard error, are gone.
func (p *python) ends() string {
	p.t.Helper()
	if err := p.wait(); err != nil {
		p.t.Errorf("Python: %v", err)
	}
	return p.stderr.String()
}

// devShm is where Python looks. What the test leaves there is an error.
func devShm(t testing.TB) *Options {
	t.Helper()
	o := &Options{Dir: "/dev/shm"}
	if err := unix.Access(o.Dir, unix.W_OK); err != nil {
		t.Skipf("/dev/shm: %v", err)
	}
	return o
}

// unique is a name that no other test uses.
func unique(t testing.TB, o *Options, suffix string) string {
	name := fmt.Sprintf("shiplap-test-%d-%s-%s", os.Getpid(), random(4), suffix)
	t.Cleanup(func() {
		if err := Unlink(name, o); err == nil {
			t.Errorf("%s is left behind", name)
		}
	})
	return name
}

func eachPython(t *testing.T, f func(t *testing.T, o *Options, v pythontest.Python)) {
	o := devShm(t)
	for _, v := range pythontest.All(t) {
		t.Run(v.String(), func(t *testing.T) { f(t, o, v) })
	}
}

// Go creates, Python attaches.
func TestPythonAttaches(t *testing.T) {
	eachPython(t, func(t *testing.T, o *Options, v pythontest.Python) {
		s := created(t, "", 10, o)
		p := startPython(t, v)
		p.wants("None", "m = SharedMemory(%q)", s.Name())
		p.wants("10", "m.size")
		p.wants("'"+s.Name()+"'", "m.name")
		p.wants("[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]", "list(m.buf)")
		p.wants("None", "m.buf[-1] = 2")
		if s.Bytes()[9] != 2 {
			t.Errorf("%v", s.Bytes())
		}
		copy(s.Bytes(), "hello")
		p.wants("b'hello'", "bytes(m.buf[:5])")
		if i, err := s.Stat(); err != nil || i.Mode != 0o600 {
			t.Errorf("%v, %v", i, err)
		}
		p.wants("None", "m.unlink()")
		is(t, "second unlink", s.Unlink(), errs.ErrNotExist)
		p.wants("FileNotFoundError", "m.unlink()")
		p.wants("None", "m.close()")
		p.ends()
		if string(s.Bytes()[:5]) != "hello" {
			t.Error("our mapping is gone")
		}
	})
}

// Python creates, Go attaches.
func TestPythonCreates(t *testing.T) {
	eachPython(t, func(t *testing.T, o *Options, v pythontest.Python) {
		p := startPython(t, v)
		p.wants("None", "m = SharedMemory(create=True, size=10)")
		name := strings.Trim(p.does("m._name"), "'")
		if !strings.HasPrefix(name, "/psm_") {
			t.Fatal(name)
		}
		s := attached(t, name, o)
		if s.Size() != 10 || "/"+s.Name() != name {
			t.Errorf("%v", s)
		}
		p.wants("None", "m.buf[-1] = 2")
		if s.Bytes()[9] != 2 {
			t.Errorf("%v", s.Bytes())
		}
		if _, err := s.WriteAt([]byte("abc"), 0); err != nil {
			t.Error(err)
		}
		p.wants("b'abc'", "bytes(m.buf[:3])")
		_, err := Create(s.Name(), 5, o)
		is(t, "name taken", err, errs.ErrExist)
		i, err := Stat(s.Name(), o)
		if err != nil || i.Kind != KindAuto || i.Mode != 0o600 {
			t.Errorf("%v, %v", i, err)
		}
		ok(t, s.Unlink())
		p.wants("FileNotFoundError", "m.unlink()")
		p.wants("None", "m.close()")
		p.ends()
	})
}

// What one refuses, the other refuses; and names that both can have.
func TestPythonNames(t *testing.T) {
	eachPython(t, func(t *testing.T, o *Options, v pythontest.Python) {
		p := startPython(t, v)
		for _, suffix := range []string{"plain", "a b.c#%"} {
			name := unique(t, o, suffix)
			s := created(t, name, 10, o)
			p.wants("10", "SharedMemory(%q).size", name)
			p.wants("FileExistsError", "SharedMemory(%q, True, 10)", name)
			ok(t, errors.Join(s.Unlink(), s.Close()))
			p.wants("FileNotFoundError", "SharedMemory(%q)", name)
			p.wants("None", "m = SharedMemory(%q, True, 20)", name)
			if a := attached(t, name, o); a.Size() != 20 {
				t.Errorf("%v", a)
			}
			p.wants("None", "m.unlink()")
		}
		// Others than ASCII are UTF-8 in both; but the tracker chokes on them.
		name := unique(t, o, "größe-漢字-🙂")
		s := created(t, name, 10, o)
		if v.AtLeast(13) {
			p.wants("10", "SharedMemory(%q, track=False).size", name)
			ok(t, s.Unlink())
			p.wants("None", "m = SharedMemory(%q, True, 20, track=False)", name)
			if a := attached(t, name, o); a.Size() != 20 {
				t.Errorf("%v", a)
			}
			p.wants("None", "m.unlink()")
		} else {
			if got := p.does("SharedMemory(%q).size", name); got != "UnicodeEncodeError" && got != "10" {
				t.Errorf("Python: %s", got)
			}
			ok(t, s.Unlink())
		}
		long := unique(t, o, "")
		long += strings.Repeat("x", 254-len(long))
		s = created(t, long, 10, o)
		p.wants("10", "SharedMemory(%q).size", long)
		ok(t, s.Unlink())
		for _, c := range []struct{ name, python string }{
			{strings.Repeat("x", 256), "OSError"}, {"a/b", "OSError"}, {"/", "OSError"},
		} {
			_, err := Create(c.name, 10, o)
			is(t, c.name, err, errs.ErrName)
			p.wants(c.python, "SharedMemory(%q, True, 10)", c.name)
		}
		p.wants("ValueError", "SharedMemory(create=True, size=0)")
		p.wants("ValueError", "SharedMemory(create=True, size=-1)")
		// Python makes a file visible before it has a size, and cannot attach to an empty one either.
		name = unique(t, o, "empty")
		p.wants("None", "fd = os.open('/dev/shm/%s', os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)", name)
		_, err := Attach(name, o)
		is(t, "empty", err, errs.ErrBusy)
		p.wants("ValueError", "SharedMemory(%q)", name)
		got := make(chan *Segment)
		go func() {
			s, err := AttachWait(t.Context(), name, o)
			if err != nil {
				t.Error(err)
			}
			got <- s
		}()
		p.wants("None", "os.ftruncate(fd, 10)")
		if s := closing(t, <-got, nil); s.Size() != 10 {
			t.Errorf("%v", s)
		}
		ok(t, Unlink(name, o))
		p.ends()
	})
}

// A Python that only attached takes the name with it. The memory stays, and what is kept comes back.
func TestTracker(t *testing.T) {
	eachPython(t, func(t *testing.T, o *Options, v pythontest.Python) {
		keep := &Options{Dir: o.Dir, Keep: true}
		s := created(t, "", 10, keep)
		p := startPython(t, v)
		p.wants("None", "m = SharedMemory(%q)", s.Name())
		p.wants("None", "m.buf[0] = 7")
		p.wants("None", "m.close()")
		if said := p.ends(); s.Linked() {
			t.Errorf("the name is there still; Python said %s", said)
		}
		if s.Bytes()[0] != 7 {
			t.Error("the memory is gone")
		}
		ok(t, s.Relink())
		p = startPython(t, v)
		p.wants("None", "m = SharedMemory(%q)", s.Name())
		p.wants("7", "m.buf[0]")
		p.ends()
		if s.Linked() {
			t.Error("the name is there still")
		}

		// Two ways around: Python does not track, or Hold puts the name back.
		ok(t, s.Relink())
		p = startPython(t, v)
		p.wants("None", "m = attach(%q)", s.Name())
		p.wants("7", "m.buf[0]")
		if said := p.ends(); !s.Linked() || said != "" {
			t.Errorf("an untracked one took the name; Python said %q", said)
		}
		held := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { held <- s.Hold(ctx) }()
		p = startPython(t, v)
		p.wants("None", "m = SharedMemory(%q)", s.Name())
		p.wants("7", "m.buf[0]")
		p.ends()
		a, err := AttachWait(t.Context(), s.Name(), o)
		closing(t, a, err)
		if a.Bytes()[0] != 7 {
			t.Error("another memory")
		}
		cancel()
		ok(t, <-held)
		ok(t, s.Unlink())
	})
}

// Anonymous memory goes to Python as a descriptor, and comes from it.
func TestPythonDescriptor(t *testing.T) {
	eachPython(t, func(t *testing.T, _ *Options, v pythontest.Python) {
		s, err := Anonymous(5000, nil)
		closing(t, s, err)
		ok(t, s.Seal(SealSize))
		f, err := s.File()
		ok(t, err)
		defer f.Close()
		a, b := pair(t, unix.SOCK_STREAM)
		end, err := b.File()
		ok(t, err)
		defer end.Close()
		p := startPython(t, v, f, end)
		p.wants("None", "m = mmap.mmap(3, 5000)")
		p.wants("None", "m[4999] = 9")
		if s.Bytes()[4999] != 9 {
			t.Error("another memory")
		}
		p.wants("None", "c = socket.socket(fileno=4)")
		if v.AtLeast(9) {
			ok(t, s.Send(t.Context(), a))
			p.wants("None", "data, fds, _, _ = socket.recv_fds(c, 16, 1)")
			p.wants("(b'shiplapM', 5000)", "struct.unpack('<8sQ', data)")
			p.wants("9", "mmap.mmap(fds[0], 5000)[4999]")
			p.wants("16", "socket.send_fds(c, [struct.pack('<8sQ', b'shiplapM', 5000)], fds)")
		} else {
			p.wants("16", "c.sendmsg([struct.pack('<8sQ', b'shiplapM', 5000)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack('i', 3))])")
		}
		r, err := Receive(t.Context(), a, &Options{Seals: SealSize})
		closing(t, r, err)
		if r.Bytes()[4999] != 9 {
			t.Error("another memory")
		}
		p.ends()
	})
}

// The code in the documentation is the code that TestTracker ran.
func TestDocumentedAttach(t *testing.T) {
	code, err := os.ReadFile("testdata/attach.py")
	ok(t, err)
	doc, err := os.ReadFile("doc.go")
	ok(t, err)
	plain := strings.ReplaceAll(strings.ReplaceAll(string(doc), "//\t", ""), "//\n", "\n")
	if !strings.Contains(plain, string(code)) {
		t.Errorf("doc.go does not hold testdata/attach.py as it is")
	}
}

// Attaching costs no time worth the name, however large the memory is.
func TestPythonLarge(t *testing.T) {
	o := devShm(t)
	s := created(t, "", 100<<20, o)
	defer s.Unlink()
	s.Bytes()[100<<20-1] = 2
	p := startPython(t, pythontest.One(t))
	p.wants("None", "import time; t = time.perf_counter(); m = attach(%q); t = time.perf_counter() - t", s.Name())
	p.wants("2", "m.buf[-1]")
	took := p.does("t * 1e6")
	p.ends()
	start := time.Now()
	attached(t, s.Name(), o)
	t.Logf("attaching 100 MiB took Python %.6s µs, Go %v", took, time.Since(start))
}
