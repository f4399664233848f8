//go:build linux

package pymp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/pythontest"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/shm"
)

// noSemaphores checks that a test leaves none: they lie outside of the place that TestMain looks at.
func noSemaphores(t *testing.T) {
	t.Helper()
	list := func() int {
		all, err := filepath.Glob("/dev/shm/*shiplap-sem*")
		ok(t, err)
		return len(all)
	}
	before := list()
	t.Cleanup(func() {
		if n := list(); n > before {
			t.Errorf("%d temporary files are left", n-before)
		}
	})
}

func newSemaphore(t *testing.T, initial int, opts *SemaphoreOptions) *Semaphore {
	t.Helper()
	s, err := CreateSemaphore("", initial, opts)
	ok(t, err)
	t.Cleanup(func() {
		if err := s.Unlink(); err != nil {
			t.Error(err)
		}
		ok(t, s.Close())
	})
	return s
}

func waiters(t *testing.T, s *Semaphore, n uint32) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d waiters", n), func() bool {
		st, err := s.Stats()
		ok(t, err)
		return st.Waiters == n
	})
}

// Go and Python count under one lock, made by either, and lose nothing.
func TestLockCounts(t *testing.T) {
	const each20 = 20_000
	const count = `
import sys, multiprocessing as mp
from multiprocessing import resource_tracker, shared_memory
def count(lock, name, n):
    m = shared_memory.SharedMemory(name=name)
    resource_tracker.unregister(m._name, "shared_memory")
    w = m.buf.cast("Q")
    for _ in range(n):
        with lock: w[0] += 1
    w.release(); m.close()
`
	const goMakes = count + `
lock = eval(sys.argv[1])
assert repr(lock) == "<Lock(owner=None)>", repr(lock)
print("ready"); sys.stdin.readline()
count(lock, sys.argv[2], int(sys.argv[3]))
assert type(lock) is type(mp.get_context("spawn").Lock())
`
	const pythonMakes = count + `
if __name__ == "__main__":
    ctx = mp.get_context(sys.argv[1])
    lock = ctx.RLock() if sys.argv[4:] else ctx.Lock()
    print(lock._semlock.name)
    p = ctx.Process(target=count, args=(lock, sys.argv[2], int(sys.argv[3]) // 2))
    p.start()
    count(lock, sys.argv[2], int(sys.argv[3]) // 2)
    p.join()
    sys.stdin.readline()
    sys.exit(p.exitcode)
`
	each(t, func(t *testing.T, p pythontest.Python) {
		noSemaphores(t)
		seg, err := shm.Create("", 8, nil)
		ok(t, err)
		defer seg.Close()
		defer seg.Unlink()
		add := func(l *Lock) {
			for range each20 {
				ok(t, l.Lock(within(t)))
				b := seg.Bytes()
				binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)+1)
				ok(t, l.Unlock())
			}
		}
		want := uint64(0)
		check := func() {
			t.Helper()
			want += 2 * each20
			if got := binary.LittleEndian.Uint64(seg.Bytes()); got != want {
				t.Errorf("the counter is %d, want %d", got, want)
			}
		}

		l, err := CreateLock("")
		ok(t, err)
		s := python(t, p, goMakes, l.Python(), seg.Name(), fmt.Sprint(each20))
		s.want("ready")
		s.say("go")
		add(l)
		s.end()
		check()
		st, err := l.Stats()
		if ok(t, err); st != (SemaphoreStats{1, 0}) {
			t.Errorf("at the end: %+v", st)
		}
		ok(t, l.Unlink())
		ok(t, l.Close())

		for _, args := range [][]string{{"spawn"}, {"forkserver", "RLock"}} {
			s = python(t, p, pythonMakes, append([]string{args[0], seg.Name(), fmt.Sprint(each20)}, args[1:]...)...)
			name, _ := s.hear()
			l, err = OpenLock(name)
			ok(t, err)
			add(l)
			s.say("go")
			s.end()
			check()
			ok(t, l.Close())
		}
	})
}

// Each side is woken by the other one out of its sleep.
func TestSemaphoreWakes(t *testing.T) {
	const code = `
import sys, threading
sem = eval(sys.argv[1])
for line in sys.stdin:
    what = line.split()[0]
    if what == "acquire": print(sem.acquire())
    elif what == "try": print(sem.acquire(False))
    elif what == "timeout": print(sem.acquire(timeout=0.01))
    elif what == "release":
        try: print(sem.release())
        except ValueError as e: print(e)
    elif what == "value": print(sem.get_value())
    elif what == "two":
        ts = [threading.Thread(target=sem.acquire) for _ in range(2)]
        [t.start() for t in ts]; [t.join() for t in ts]
        print("two")
`
	each(t, func(t *testing.T, p pythontest.Python) {
		noSemaphores(t)
		sem := newSemaphore(t, 0, &SemaphoreOptions{Max: 3})
		s := python(t, p, code, sem.Python())
		for range 20 {
			s.say("acquire")
			waiters(t, sem, 1)
			ok(t, sem.Release())
			s.want("True")
			done := make(chan error)
			go func() { done <- sem.Acquire(within(t)) }()
			waiters(t, sem, 1)
			s.say("release")
			s.want("None")
			ok(t, <-done)
		}
		s.say("two")
		waiters(t, sem, 2)
		ok(t, sem.Release())
		ok(t, sem.Release())
		s.want("two")
		waiters(t, sem, 0)

		s.say("try")
		s.want("False")
		s.say("timeout")
		s.want("False")
		waiters(t, sem, 0)
		for range 3 {
			ok(t, sem.Release())
		}
		if err := sem.Release(); !errors.Is(err, errs.ErrFull) {
			t.Errorf("above the maximum: %v", err)
		}
		s.say("release")
		s.want("semaphore or lock released too many times")
		s.say("value")
		s.want("3")
		s.say("try")
		s.want("True")
		if v, err := sem.Value(); err != nil || v != 2 {
			t.Errorf("%d, %v", v, err)
		}
		s.end()
	})
}

// A Python that Go has handed a semaphore hands it on to a child.
func TestSemaphoreToChild(t *testing.T) {
	const code = `
import sys, multiprocessing as mp, multiprocessing.synchronize as sy
def child(s):
    with s: pass
    s.release()
if __name__ == "__main__":
    s = eval(sys.argv[1])
    assert repr(s) == "<Semaphore(value=2)>", repr(s)
    r = eval(sys.argv[2])
    with r:
        with r: pass
    again = sy.Lock.__new__(sy.Lock) # as the package's documentation has it
    again.__setstate__((0, 1, 1, sys.argv[3]))
    assert again.acquire(False) and not again.acquire(False)
    again.release()
    p = mp.get_context("spawn").Process(target=child, args=(s,))
    p.start(); p.join()
    sys.exit(p.exitcode)
`
	each(t, func(t *testing.T, p pythontest.Python) {
		noSemaphores(t)
		sem := newSemaphore(t, 2, nil)
		l, err := CreateLock("")
		ok(t, err)
		s := python(t, p, code, sem.Python(), l.PythonRLock(), l.Name())
		s.end()
		if v, err := sem.Value(); err != nil || v != 3 {
			t.Errorf("%d, %v", v, err)
		}
		if got, err := l.TryLock(); err != nil || !got {
			t.Errorf("the RLock: %v, %v", got, err)
		}
		ok(t, l.Unlink())
		ok(t, l.Close())
	})
}

// A fork-context lock has no name; the error says so.
func TestForkLock(t *testing.T) {
	s := python(t, pythontest.One(t), `
import multiprocessing as mp
print(mp.get_context("fork").Lock()._semlock.name or "")
`)
	name, _ := s.hear()
	s.end()
	if _, err := OpenLock(name); !errors.Is(err, errs.ErrName) || !strings.Contains(err.Error(), "spawn") {
		t.Errorf("%v", err)
	}
}

func TestSemaphoreCancel(t *testing.T) {
	noSemaphores(t)
	sem := newSemaphore(t, 0, nil)
	why := errors.New("why")
	var wg sync.WaitGroup
	cancels := make([]context.CancelCauseFunc, 40)
	for i := range cancels {
		ctx, cancel := context.WithCancelCause(bg)
		cancels[i] = cancel
		wg.Go(func() {
			if err := sem.Acquire(ctx); !errors.Is(err, why) {
				t.Errorf("cancelled: %v", err)
			}
		})
	}
	waiters(t, sem, 40)
	for _, c := range cancels {
		c(why)
	}
	wg.Wait()
	waiters(t, sem, 0)

	ctx, cancel := context.WithCancel(bg)
	cancel()
	ok(t, sem.Release())
	if err := sem.Acquire(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	if got, err := sem.TryAcquire(); !got || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := sem.TryAcquire(); got || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// Whatever cancels and releases do to each other, no unit is lost and no waiter forgotten.
func TestSemaphoreCancelRace(t *testing.T) {
	sem := newSemaphore(t, 0, nil)
	var wg sync.WaitGroup
	const n = 3000
	for range 4 {
		wg.Go(func() {
			for got := 0; got < n; {
				ctx, cancel := context.WithTimeout(bg, time.Duration(1+got%7)*20*time.Microsecond)
				if err := sem.Acquire(ctx); err == nil {
					got++
				} else if !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				cancel()
			}
		})
		wg.Go(func() {
			for range n {
				if err := sem.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if st, err := sem.Stats(); err != nil || st != (SemaphoreStats{}) {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestSemaphoreClose(t *testing.T) {
	sem := newSemaphore(t, 0, nil)
	other, err := OpenSemaphore(sem.Name(), nil)
	ok(t, err)
	done := make(chan error, 30)
	for range cap(done) {
		go func() { done <- other.Acquire(bg) }()
	}
	waiters(t, sem, 30)
	ok(t, other.Close())
	ok(t, other.Close())
	for range cap(done) {
		if err := <-done; !errors.Is(err, errs.ErrClosed) {
			t.Errorf("%v", err)
		}
	}
	if _, err := other.TryAcquire(); !errors.Is(err, errs.ErrClosed) {
		t.Errorf("%v", err)
	}
	waiters(t, sem, 0)
	if d, m, _ := futex.Sleepers(); d+m != 0 {
		t.Errorf("%d still sleep", d+m)
	}
}

func TestSemaphoreNames(t *testing.T) {
	noSemaphores(t)
	sem := newSemaphore(t, 1, nil)
	if _, err := CreateSemaphore(sem.Name(), 1, nil); !errors.Is(err, errs.ErrExist) {
		t.Errorf("twice: %v", err)
	}
	if _, err := OpenSemaphore("/mp-there_is_none", nil); !errors.Is(err, errs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	for _, name := range []string{"/", "a/b", "../x", "nul\x00", strings.Repeat("x", 251)} {
		if _, err := OpenSemaphore(name, nil); !errors.Is(err, errs.ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, tt := range [][2]int{{-1, 0}, {2, 1}, {1 << 31, 0}, {0, -1}, {0, 1 << 31}} {
		if s, err := CreateSemaphore("", tt[0], &SemaphoreOptions{Max: tt[1]}); err == nil {
			t.Errorf("%v: %v", tt, s)
		}
	}
	strange, err := CreateLock("mp-\"ä\\")
	ok(t, err)
	s := python(t, pythontest.One(t), `
import sys
l = eval(sys.argv[1])
print(l.acquire(False))
`, strange.Python())
	s.want("True")
	s.end()
	ok(t, strange.Unlink())
	if err := strange.Unlink(); !errors.Is(err, errs.ErrNotExist) {
		t.Errorf("unlinked twice: %v", err)
	}
	again, err := CreateLock("mp-\"ä\\")
	ok(t, err)
	if err := strange.Unlink(); !errors.Is(err, errs.ErrNotExist) {
		t.Errorf("unlinked another's: %v", err)
	}
	ok(t, errors.Join(again.Unlink(), again.Close(), strange.Close()))
}

// Files that are no semaphores, and memory that somebody scribbles on.
func TestSemaphoreHostile(t *testing.T) {
	path := semPath("shiplap-hostile")
	defer os.Remove(path)
	shared := make([]byte, semSize)
	shared[sharedOff] = sharedFlag
	for name, b := range map[string][]byte{"empty": nil, "short": shared[:31], "long": append(shared, 0), "private": make([]byte, semSize)} {
		ok(t, os.WriteFile(path, b, 0o600))
		if s, err := OpenSemaphore("shiplap-hostile", nil); !errors.Is(err, errs.ErrIncompatible) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	ok(t, os.Remove(path))
	ok(t, os.Symlink("/dev/zero", path))
	if s, err := OpenSemaphore("shiplap-hostile", nil); err == nil {
		t.Errorf("a link: %v", s)
	}

	sem := newSemaphore(t, 0, nil)
	for _, d := range []uint64{math.MaxUint64, 1 << 63, math.MaxUint32, 1<<31 - 1, 5 << 32} {
		sem.all.Store(d)
		ctx, cancel := context.WithTimeout(bg, 5*time.Millisecond)
		err1, err2 := sem.Acquire(ctx), sem.Release()
		cancel()
		t.Logf("%#x: %v, %v, then %#x", d, err1, err2, sem.all.Load())
	}
	// Scribbled to nothing under a sleeper.
	sem.all.Store(0)
	done := make(chan error)
	go func() { done <- sem.Acquire(within(t)) }()
	waiters(t, sem, 1)
	sem.all.Store(0)
	ok(t, sem.Release())
	wait.Wake(sem.value, 1) // nobody is counted: as if some other waiter had been
	ok(t, <-done)
	sem.all.Store(0)

	f, err := os.OpenFile(semPath(sem.name), os.O_RDWR, 0)
	ok(t, err)
	defer f.Close()
	go func() { done <- sem.Acquire(within(t)) }()
	waiters(t, sem, 1)
	ok(t, f.Truncate(0))
	if err := <-done; !errors.Is(err, errs.ErrCorrupt) {
		t.Errorf("truncated in its sleep: %v", err)
	}
	for what, err := range map[string]error{"acquire": sem.Acquire(bg), "release": sem.Release()} {
		if !errors.Is(err, errs.ErrCorrupt) {
			t.Errorf("%s of nothing: %v", what, err)
		}
	}
}
