package shm

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// A segment that is kept gets its name back; one that is not cannot.
func TestRelink(t *testing.T) {
	for _, tmpfile := range []bool{true, false} {
		withTmpfile(t, tmpfile)
		o := in(t)
		s := created(t, "x", 10, &Options{Dir: o.Dir, Keep: true})
		plain := created(t, "y", 10, o)
		ok(t, errors.Join(s.Relink(), plain.Relink())) // nothing to do
		copy(s.Bytes(), "hello")
		ok(t, errors.Join(Unlink("x", o), Unlink("y", o)))
		if s.Linked() || plain.Linked() {
			t.Error("linked")
		}
		err := plain.Relink()
		is(t, "not kept", err, errs.ErrRemoved)
		says(t, err, "nobody kept it")
		ok(t, s.Relink())
		if a := attached(t, "x", o); string(a.Bytes()[:5]) != "hello" || !s.Linked() {
			t.Errorf("%q", a.Bytes())
		}
		ok(t, s.Unlink())
		created(t, "x", 1, o)
		is(t, "taken", s.Relink(), errs.ErrExist)
		ok(t, Unlink("x", o))
		ok(t, s.Close())
		if left := names(t, o.Dir); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// Several keep one segment; the last one takes the spare link away.
func TestKeepers(t *testing.T) {
	o := in(t)
	k := &Options{Dir: o.Dir, Keep: true}
	s := created(t, "x", 10, o)
	a, b := attached(t, "x", k), attached(t, "x", k)
	if i, err := s.Stat(); err != nil || i.Links != 2 {
		t.Errorf("%+v, %v", i, err)
	}
	ok(t, a.Close())
	removed, err := Sweep(o)
	if len(removed) > 0 || err != nil {
		t.Errorf("swept %v, %v", removed, err)
	}
	ok(t, Unlink("x", o))
	ok(t, s.Relink()) // another's spare link serves as well
	if list, err := List(o); err != nil || len(list) != 2 || list[0].Kind != KindPrivate || list[1].Name != "x" {
		t.Errorf("%v, %v", list, err)
	}
	ok(t, b.Close())
	if left := names(t, o.Dir); !slices.Equal(left, []string{"x"}) {
		t.Errorf("left: %v", left)
	}
}

// A descriptor that was passed on does not hold the lock of a handle that is closed.
func TestKeepPassed(t *testing.T) {
	k := &Options{Dir: t.TempDir(), Keep: true}
	s := created(t, "x", 10, k)
	f, err := s.File()
	ok(t, err)
	defer f.Close()
	ok(t, s.Close())
	a := attached(t, "x", k)
	ok(t, errors.Join(a.Unlink(), a.Relink(), a.Unlink(), a.Close()))
	if left := names(t, k.Dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// Who unlinks while somebody holds it loses.
func TestHold(t *testing.T) {
	o := in(t)
	s := created(t, "x", 10, &Options{Dir: o.Dir, Keep: true})
	ctx, cancel := context.WithCancel(t.Context())
	held := make(chan error)
	go func() { held <- s.Hold(ctx) }()
	for range 20 {
		if err := Unlink("x", o); err != nil && !errors.Is(err, errs.ErrNotExist) {
			t.Fatal(err)
		}
		a, err := AttachWait(t.Context(), "x", o)
		ok(t, err)
		ok(t, a.Close())
	}
	cancel()
	ok(t, <-held)
	plain := created(t, "y", 10, o)
	if err := plain.Hold(t.Context()); !errors.Is(err, os.ErrInvalid) {
		t.Error(err)
	}
}

// A name that is removed between two looks of Relink is put back, too: it is never told of a name in its way.
func TestRelinkWhileUnlinked(t *testing.T) {
	o := in(t)
	s := created(t, "x", 10, &Options{Dir: o.Dir, Keep: true})
	stop, done := make(chan bool), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := Unlink("x", o); err != nil && !errors.Is(err, errs.ErrNotExist) {
				done <- err
				return
			}
		}
	}()
	for range 5000 {
		if err := s.Relink(); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	ok(t, <-done)
}

func TestAttachWait(t *testing.T) {
	o := in(t)
	got := make(chan *Segment)
	wait := func() {
		s, err := AttachWait(t.Context(), "x", o)
		if err != nil {
			t.Error(err)
		}
		got <- s
	}
	// Made as Python makes it, in two steps; tried in this order a few times, for each of the windows.
	for range 20 {
		go wait()
		f, err := os.OpenFile(o.Dir+"/x", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		ok(t, err)
		ok(t, f.Truncate(10))
		s := <-got
		if s.Size() != 10 {
			t.Errorf("%v", s)
		}
		ok(t, errors.Join(s.Close(), f.Close(), Unlink("x", o)))
		go wait()
		s = created(t, "x", 20, o)
		if a := <-got; a.Size() != 20 {
			t.Errorf("%v", a)
		} else {
			ok(t, a.Close())
		}
		ok(t, errors.Join(s.Close(), s.Unlink()))
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	go func() {
		_, err := AttachWait(ctx, "x", o)
		is(t, "cancelled", err, cause)
		is(t, "why it waited", err, errs.ErrNotExist)
		got <- nil
	}()
	cancel(cause)
	<-got
	_, err := AttachWait(t.Context(), "a/b", o)
	is(t, "name", err, errs.ErrName)
}

func TestUsers(t *testing.T) {
	o := in(t)
	s := created(t, "x", 10, o)
	attached(t, "x", &Options{Dir: o.Dir, ReadOnly: true})
	created(t, "sem.x", 10, o)
	list, err := List(o)
	if err != nil || len(list) != 2 || list[0].Kind != KindSemaphore || list[1].Kind != KindFile {
		t.Fatalf("%v, %v", list, err)
	}
	c := start(t, inRole(t, "hold", "DIR="+o.Dir, "NAME=x"))
	c.line()
	users, err := Users(list)
	ok(t, err)
	i, err := s.Stat()
	ok(t, err)
	var pids []int
	for _, u := range users[i.ID()] {
		pids = append(pids, u.Pid)
		if u.Writable != (u.Pid == os.Getpid()) || !strings.Contains(u.Command, "shm") {
			t.Errorf("%+v", u)
		}
	}
	want := []int{os.Getpid(), c.Process.Pid}
	slices.Sort(want)
	if !slices.Equal(pids, want) {
		t.Errorf("%v, want %v", pids, want)
	}
	ok(t, c.wait())
}
