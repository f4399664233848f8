package bell

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// work is what sleepers wait for.
type work struct{ there, done atomic.Int64 }

func (w *work) Ready() bool { return w.there.Load() > 0 }

func (w *work) take() bool {
	for {
		n := w.there.Load()
		if n == 0 {
			return false
		}
		if w.there.CompareAndSwap(n, n-1) {
			w.done.Add(1)
			return true
		}
	}
}

// next does one piece of work when there is some.
func (w *work) next(s *Sleeper, l *Line) {
	for !w.take() {
		if !s.Arm(l) {
			continue
		}
		if w.there.Load() == 0 {
			s.Park(0, w)
		}
		if s.Leave() && w.there.Load() > 0 {
			l.Wake(1) // it was for another one
		}
	}
}

// identity is the inode that a name leads to, 0 if to none.
func identity(t *testing.T, path string) uint64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return 0
	}
	return st.Ino
}

// A FIFO that others cannot find any more is replaced while somebody sleeps, and rings arrive by the new one.
func TestLostFIFOIsReplaced(t *testing.T) {
	for what, lose := range map[string]func(path string) error{
		"deleted": os.Remove,
		"moved":   func(path string) error { return os.Rename(path, path+".away") },
		"a file in its place": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", nil, 0o600), os.Rename(path+".new", path))
		},
		"a FIFO in its place": func(path string) error {
			return errors.Join(syscall.Mkfifo(path+".new", 0o600), os.Rename(path+".new", path))
		},
	} {
		t.Run(what, func(t *testing.T) {
			a, b := pair(t)
			s := memory()
			var w work
			var all sync.WaitGroup
			for range 3 { // the leader among them
				all.Go(func() {
					w.next(NewSleeper(), LineAt(s, 0, a))
				})
			}
			eventually(t, func() bool { return a.sleeping() == 3 })
			path := filepath.Join(a.dir.Path(), FileName(1))
			was := identity(t, path)
			if err := lose(path); err != nil {
				t.Fatal(err)
			}
			lost := identity(t, path)
			eventually(t, func() bool {
				now := identity(t, path)
				return now != 0 && now != was && now != lost
			})
			ringer := LineAt(s, 0, b)
			eventually(t, func() bool { return a.sleeping() == 3 && ringer.Wake(1) == 1 })
			w.there.Store(3)
			eventually(t, func() bool {
				ringer.Wake(3)
				return a.sleeping() == 0
			})
			all.Wait()
			if len(a.places) != 0 || len(a.tickets) != 0 || a.armed != 0 {
				t.Errorf("left are %d places, %d tickets, %d armed", len(a.places), len(a.tickets), a.armed)
			}
		})
	}
}

func (b *Bell) withoutLookout() {
	b.lookout.timer, b.lookout.runs = time.AfterFunc(time.Hour, func() {}), true
}

// A ring that is lost with the old FIFO wakes its goroutine, if that is only about to sleep as well; and the place of
// one that comes later does not wait for that ring.
func TestRingLostWithItsFIFO(t *testing.T) {
	a, b := pair(t)
	a.withoutLookout()
	s := memory()
	l, other := LineAt(s, 0, a), LineAt(s, 1024, a)
	asleep, rung, later := NewSleeper(), NewSleeper(), NewSleeper()
	if !asleep.Arm(other) || !rung.Arm(l) {
		t.Fatal("there is no place")
	}
	done := make(chan struct{})
	go func() {
		asleep.Park(0, &level{})
		close(done)
	}()
	eventually(t, func() bool { return a.sleeping() == 1 })
	s.U64(EntriesAt).Store(0) // a waker took it
	if err := os.Remove(filepath.Join(a.dir.Path(), FileName(1))); err != nil {
		t.Fatal(err)
	}
	a.replace()
	<-done
	returns(t, rung)
	if !later.Arm(l) {
		t.Fatal("there is no place")
	}
	if !rung.Leave() {
		t.Error("it does not know that a waker has counted on it")
	}
	if asleep.Leave() {
		t.Error("nobody has rung")
	}
	if n := LineAt(s, 0, b).Wake(1); n != 1 {
		t.Fatal(n)
	}
	returns(t, later)
	if later.Leave() || len(a.places) != 0 || len(a.tickets) != 0 || a.armed != 0 {
		t.Errorf("left are %d places, %d tickets, %d armed", len(a.places), len(a.tickets), a.armed)
	}
}

// returns parks, which must end.
func returns(t *testing.T, s *Sleeper) {
	t.Helper()
	var over atomic.Bool
	go func() {
		s.Park(0, &level{})
		over.Store(true)
	}()
	eventually(t, over.Load)
}

// Nobody sleeps through a wake-up, even without a lookout, because the FIFO is replaced meanwhile, again and again.
func TestReplacedUnderRings(t *testing.T) {
	a, b := pair(t)
	s := memory()
	there, back := LineAt(s, 0, a), LineAt(s, 0, b)
	a.withoutLookout()
	const workers, rounds = 3, 1000
	var w work
	var over atomic.Bool
	var all, loser sync.WaitGroup
	for range workers {
		all.Go(func() {
			sl := NewSleeper()
			for range rounds {
				w.next(sl, there)
			}
		})
	}
	loser.Go(func() {
		for !over.Load() {
			_ = os.Remove(filepath.Join(a.dir.Path(), FileName(1)))
			a.replace()
		}
	})
	for i := range int64(workers * rounds) {
		w.there.Add(1)
		back.Wake(1)
		eventually(t, func() bool { return w.done.Load() > i })
	}
	all.Wait()
	over.Store(true)
	loser.Wait()
}
