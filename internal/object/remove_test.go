package object

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/segment"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

func create(t *testing.T, s *Space, name string, flags uint32) *Object {
	t.Helper()
	o, err := s.Create(name, spec(flags))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func open(t *testing.T, s *Space, name string) *Object {
	t.Helper()
	o, err := s.Open(name, Queue, parts)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func closed(t *testing.T, all ...*Object) {
	t.Helper()
	for _, o := range all {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
}

// lockOf is the user's lock in a test object; its Lock has a fast path that does not look at the state word.
func lockOf(o *Object) *wordlock.Lock { return wordlock.New(o.Ctl, HeaderSize, o.Space.Table, &o.Sess) }

// A remover dies when it has set the bit, before it woke anybody. The next one to open, create or sweep finishes the
// removal, and before a new object of the name can exist, handles of the old one learn of it, on their fast path too.
func TestFinishedByTheNext(t *testing.T) {
	for next, finish := range map[string]func(*Space) error{
		"open": func(s *Space) error {
			if _, err := s.Open("h", Queue, parts); !errors.Is(err, errs.ErrNotExist) {
				return err
			}
			return nil
		},
		"create": func(s *Space) error {
			o, err := s.Create("h", spec(0))
			if err == nil {
				err = errors.Join(o.Close(), s.Remove(bg, "h"))
			}
			return err
		},
		"sweep":  func(s *Space) error { _, err := s.Sweep(bg, false); return err },
		"remove": func(s *Space) error { return s.Remove(bg, "h") },
	} {
		t.Run(next, func(t *testing.T) {
			base := t.TempDir()
			s := enter(t, base)
			c := start(t, base)
			c.do(t, "create h")
			old := open(t, s, "h")
			defer closed(t, old)
			l, event := lockOf(old), wait.NewEvent(old.Ctl.U32(HeaderSize+256))
			if _, err := l.Lock(bg); err != nil {
				t.Fatal(err)
			}
			l.Unlock()
			armed := event.Arm()
			c.do(t, "mark h")
			c.kill()
			if err := finish(s); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Dir.Thing("h"); !errors.Is(err, errs.ErrNotExist) {
				t.Errorf("the name: %v", err)
			}
			if _, err := l.Lock(bg); !errors.Is(err, errs.ErrRemoved) {
				t.Errorf("the lock of the old handle: %v", err)
			}
			if event.Word().Load() == armed {
				t.Error("nobody woke the sleepers")
			}
		})
	}
}

// A slow remover, stopped between mark and unlink, does not take away the successor that others made meanwhile.
func TestSlowRemover(t *testing.T) {
	s := enter(t, t.TempDir())
	old := create(t, s, "a", 0)
	defer closed(t, old)
	f, err := s.Dir.Open("a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := s.mark(f, old.Header); err != nil {
		t.Fatal(err)
	}
	heir := create(t, s, "a", 0) // finishes the removal
	defer closed(t, heir)
	if err := s.unlink(bg, f, "a"); err != nil {
		t.Fatal(err)
	}
	if s.Dir.Leads("a", heir.file) != segment.There {
		t.Error("it removed the successor")
	}
}

// Nor does one that was stopped after it looked where the name leads: nobody gets past it to make a successor.
func TestRemoverStoppedAtUnlink(t *testing.T) {
	base := t.TempDir()
	s := enter(t, base)
	c := start(t, base)
	closed(t, create(t, s, "a", 0))
	defer func() { paused = nil }()
	stopped := false
	paused = func(before string) {
		if before != "unlink" || stopped {
			return
		}
		stopped = true
		if got := c.say("create a"); got == "ok" || !strings.Contains(got, errs.ErrBusy.Error()) {
			t.Errorf("create beside the remover: %s", got)
		}
	}
	if err := s.Remove(bg, "a"); err != nil {
		t.Fatal(err)
	}
	if !stopped {
		t.Fatal("it was not stopped")
	}
	c.do(t, "create a")
	if in, err := s.Stat("a"); err != nil || in.Err != nil {
		t.Errorf("the successor: %+v, %v", in, err)
	}
}

// An opener that stands still before it takes its user lock does not get the object that its last user removes then.
func TestOpenerOfWhatGoes(t *testing.T) {
	base := t.TempDir()
	s := enter(t, base)
	c := start(t, base)
	defer func() { paused = nil }()
	for _, half := range []bool{false, true} { // half: the name stays
		c.do(t, "ephemeral e")
		give := func() {}
		paused = func(before string) {
			if before == "attach" {
				paused = nil
				if half {
					give = holdNames(t, s)
				}
				c.do(t, "close e")
			}
		}
		o, err := s.Open("e", Queue, parts)
		if err == nil {
			closed(t, o)
		}
		if !errors.Is(err, errs.ErrNotExist) {
			t.Errorf("it opened what was removed (half: %v): %v", half, err)
		}
		give()
	}
	// The same when somebody just deletes the file.
	closed(t, create(t, s, "f", 0))
	paused = func(before string) {
		if before == "attach" {
			paused = nil
			if err := s.Dir.Unlink("f"); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := s.Open("f", Queue, parts); !errors.Is(err, errs.ErrNotExist) {
		t.Errorf("it opened what was deleted: %v", err)
	}
}

// Three processes create, open, remove and close the same names at once: every answer is one of those expected, whatever
// is opened is whole, and in the end the names can be made anew.
func TestRaces(t *testing.T) {
	base := t.TempDir()
	s := enter(t, base)
	verbs := []string{"create r", "open r", "remove r", "ephemeral e", "open e", "close e", "close r"}
	var wg sync.WaitGroup
	for range 2 {
		c := start(t, base)
		wg.Go(func() {
			for i := range 150 {
				verb := verbs[i%len(verbs)]
				if got := c.say(verb); got != "ok" && !strings.Contains(got, "exist") && !strings.Contains(got, "no such file") {
					t.Errorf("%s: %s", verb, got)
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for i := range 150 {
				var o *Object
				var err error
				switch i % 5 {
				case 0:
					o, err = s.Create("r", spec(0))
				case 1:
					o, err = s.Open("r", Queue, parts)
				case 2:
					o, err = s.Create("e", spec(Ephemeral))
				case 3:
					o, err = s.Open("e", Queue, parts)
				default:
					err = s.Remove(bg, "r")
				}
				if err != nil && !errors.Is(err, errs.ErrExist) && !errors.Is(err, errs.ErrNotExist) {
					t.Errorf("%d: %v", i%5, err)
				}
				if o != nil {
					if err := whole(o); err != nil {
						t.Errorf("%d: %v", i%5, err)
					}
					closed(t, o)
				}
			}
		})
	}
	wg.Wait()
	for _, name := range []string{"r", "e"} {
		_ = s.Remove(bg, name)
		o := create(t, s, name, Ephemeral)
		if p := open(t, s, name); p.file.Ino != o.file.Ino {
			t.Errorf("%s is another one", name)
		} else {
			closed(t, p)
		}
		closed(t, o)
	}
}

// Of several that remove and create one name all the time, each that created has what the name leads to, until a
// remover has taken just that.
func TestIdentity(t *testing.T) {
	s := enter(t, t.TempDir())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 100 {
				o, err := s.Create("i", spec(0))
				if errors.Is(err, errs.ErrExist) {
					if err := s.Remove(bg, "i"); err != nil && !errors.Is(err, errs.ErrNotExist) {
						t.Error(err)
					}
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if s.Dir.Leads("i", o.file) != segment.There && o.Err() == nil {
					t.Error("the name of a new object is gone, and nobody removed it")
				}
				closed(t, o)
			}
		})
	}
	wg.Wait()
	_ = s.Remove(bg, "i")
}

// What cannot be opened has the name: every call says so at once, Remove takes it away.
func TestNamesThatAreNoObjects(t *testing.T) {
	s := enter(t, t.TempDir())
	path := s.Dir.Path() + "/x"
	for what, make := range map[string]func() error{
		"directory":     func() error { return os.Mkdir(path, 0o700) },
		"symbolic link": func() error { return os.Symlink("/nowhere", path) },
		"link to one":   func() error { closed(t, create(t, s, "real", 0)); return os.Symlink("real", path) },
		"FIFO":          func() error { return unix.Mkfifo(path, 0o600) },
		"socket": func() error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
			if err == nil {
				l.SetUnlinkOnClose(false)
				err = l.Close()
			}
			return err
		},
		"mode 0666": func() error { closed(t, create(t, s, "x", 0)); return os.Chmod(path, 0o666) },
		"mode 0620": func() error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o620)) },
		"empty":     func() error { return os.WriteFile(path, nil, 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			if err := make(); err != nil {
				t.Fatal(err)
			}
			promptly(t, "create", func() error {
				if _, err := s.Create("x", spec(0)); !errors.Is(err, errs.ErrExist) {
					t.Errorf("create: %v", err)
				}
				return nil
			})
			promptly(t, "open", func() error {
				_, err := s.Open("x", Queue, parts)
				if err == nil || errors.Is(err, errs.ErrNotExist) {
					t.Errorf("open: %v", err)
				}
				return nil
			})
			promptly(t, "open or create", func() error {
				_, err := OpenOrCreate(func() (*Object, error) { return s.Open("x", Queue, parts) },
					func() (*Object, error) { return s.Create("x", spec(0)) })
				if err == nil {
					t.Error("open or create: it did")
				}
				return nil
			})
			if err := s.Remove(bg, "x"); err != nil {
				t.Errorf("remove: %v", err)
			}
			closed(t, create(t, s, "x", Ephemeral))
		})
	}
}

// promptly ends the test if f does not come back.
func promptly(t *testing.T, what string, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%s does not come back", what)
	}
}

// A directory that is not empty is somebody's: it stays, and the error names it.
func TestFullDirectory(t *testing.T) {
	s := enter(t, t.TempDir())
	path := s.Dir.Path() + "/x"
	if err := os.MkdirAll(path+"/y", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(bg, "x"); err == nil || !strings.Contains(err.Error(), "rm -r "+path) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(path + "/y"); err != nil {
		t.Error(err)
	}
}

// Somebody who makes and removes the name all the time keeps nobody for ever.
func TestOpenOrCreateEnds(t *testing.T) {
	calls := 0
	_, err := OpenOrCreate(func() (int, error) { return 0, errs.ErrNotExist },
		func() (int, error) { calls++; return 0, errs.ErrExist })
	if !errors.Is(err, errs.ErrBusy) || errors.Is(err, errs.ErrExist) || calls != turns {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// The name lock is held by somebody who was stopped: Close and Remove of a handle do not wait for it, and
// the names go as soon as it is free.
func TestNameLockHeld(t *testing.T) {
	base := t.TempDir()
	s := enter(t, base)
	e, o := create(t, s, "e", Ephemeral), create(t, s, "o", 0)
	other := enter(t, base) // shares the table
	give := holdNames(t, s)
	promptly(t, "close", e.Close)
	promptly(t, "remove", o.Remove)
	for _, name := range []string{"e", "o"} {
		if in, err := s.Stat(name); err != nil || in.State&Removed == 0 {
			t.Errorf("%s is not marked: %+v, %v", name, in, err)
		}
		if _, err := other.Open(name, Queue, parts); !errors.Is(err, errs.ErrNotExist) {
			t.Errorf("open %s: %v", name, err)
		}
	}
	if err := o.Err(); !errors.Is(err, errs.ErrRemoved) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
	defer cancel()
	if err := s.Remove(ctx, "o"); !errors.Is(err, errs.ErrBusy) {
		t.Errorf("remove by name: %v", err)
	}
	give()
	eventually(t, "the names go", func() bool {
		_, e := s.Dir.Thing("e")
		_, o := s.Dir.Thing("o")
		return errors.Is(e, errs.ErrNotExist) && errors.Is(o, errs.ErrNotExist)
	})
	closed(t, o)
}

// holdNames holds the name lock, as a remover does that was stopped.
func holdNames(t *testing.T, s *Space) (give func()) {
	t.Helper()
	f, err := s.Dir.Open("#members")
	if err != nil {
		t.Fatal(err)
	}
	const nameLock = 4096 + 1024*128
	if ok, err := f.LockExclusive(nameLock, 1); !ok || err != nil {
		t.Fatal(ok, err)
	}
	return func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}
