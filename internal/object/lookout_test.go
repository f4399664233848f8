package object

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

// Files are deleted under a process, in each way that there is: its handles say so soon, without anybody's call.
func TestDeleted(t *testing.T) {
	for how, remove := range map[string]func(dir string) error{
		"file":      func(dir string) error { return os.Remove(dir + "/a") },
		"replaced":  func(dir string) error { return os.Rename(dir+"/b", dir+"/a") },
		"moved":     func(dir string) error { return os.Rename(dir+"/a", dir+"/c") },
		"all":       os.RemoveAll,
		"all moved": func(dir string) error { return os.Rename(dir, dir+"-away") },
		"all moved with its parents": func(dir string) error { // a name of its own there, or the same one
			user := filepath.Dir(filepath.Dir(dir))
			base, name := filepath.Split(user)
			return errors.Join(os.Mkdir(base+"away", 0o700), os.Rename(user, filepath.Join(base, "away", name)))
		},
		"members": func(dir string) error { return os.Remove(dir + "/#members") },
		"members replaced": func(dir string) error {
			b, err := os.ReadFile(dir + "/#members")
			return errors.Join(err, os.WriteFile(dir+"/new", b, 0o600), os.Rename(dir+"/new", dir+"/#members"))
		},
	} {
		t.Run(how, func(t *testing.T) {
			base := t.TempDir()
			s := enter(t, base)
			o, beside := create(t, s, "a", 0), create(t, s, "keep", 0)
			defer closed(t, o, beside)
			closed(t, create(t, s, "b", 0))
			other := open(t, s, "a")
			defer closed(t, other)
			if err := remove(s.Dir.Path()); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the handle is told", func() bool { return o.Err() != nil })
			for _, o := range []*Object{o, other} {
				if err := o.Err(); !errors.Is(err, errs.ErrRemoved) || !strings.Contains(err.Error(), "next: ") {
					t.Errorf("%v", err)
				}
			}
			if _, err := lockOf(o).Lock(bg); !errors.Is(err, errs.ErrRemoved) {
				t.Errorf("a free lock: %v", err)
			}
			whole := strings.HasPrefix(how, "all") || strings.HasPrefix(how, "members")
			if whole {
				eventually(t, "the others are told", func() bool { return beside.Err() != nil })
				if _, err := s.Create("n", spec(0)); !errors.Is(err, errs.ErrRemoved) {
					t.Errorf("create in what is gone: %v", err)
				}
				if _, err := s.Open("keep", Queue, parts); !errors.Is(err, errs.ErrRemoved) {
					t.Errorf("open in what is gone: %v", err)
				}
			} else if err := beside.Err(); err != nil {
				t.Errorf("the object beside: %v", err)
			}
			again := enter(t, base)
			n := create(t, again, "n", 0)
			defer closed(t, n)
			if err := n.Err(); err != nil {
				t.Errorf("a new one: %v", err)
			}
		})
	}
}

// One process notices, and all are told: the handle of another one takes its fast path and fails.
func TestDeletedBesideOthers(t *testing.T) {
	base := t.TempDir()
	s := enter(t, base)
	c := start(t, base)
	c.do(t, "create a")
	o := open(t, s, "a")
	defer closed(t, o)
	s.mu.Lock()
	delete(s.lookout.open, o) // nobody here looks
	s.mu.Unlock()
	if err := os.Remove(s.Dir.Path() + "/a"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "told by the other process", func() bool {
		_, err := lockOf(o).Lock(bg)
		if err == nil {
			lockOf(o).Unlock()
		}
		return errors.Is(err, errs.ErrRemoved)
	})
}

// A call that is about to wait asks the kernel, so that it does not depend on anybody's lookout.
func TestVerify(t *testing.T) {
	s := enter(t, t.TempDir())
	o := create(t, s, "a", 0)
	defer closed(t, o)
	s.mu.Lock()
	delete(s.lookout.open, o)
	s.mu.Unlock()
	if err := o.Verify(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.Dir.Path() + "/a"); err != nil {
		t.Fatal(err)
	}
	if err := o.Verify(); !errors.Is(err, errs.ErrRemoved) || !strings.Contains(err.Error(), s.Dir.Path()+"/a") {
		t.Errorf("%v", err)
	}
	if err := o.Err(); !errors.Is(err, errs.ErrRemoved) {
		t.Errorf("%v", err)
	}
}

// A removal in order is not reported as a deletion.
func TestRemovedInOrder(t *testing.T) {
	base := t.TempDir()
	s := enter(t, base)
	c := start(t, base)
	o := create(t, s, "a", 0)
	defer closed(t, o)
	c.do(t, "remove a")
	eventually(t, "the lookout has seen it", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.lookout.open[o]
	})
	if err := o.Err(); !errors.Is(err, errs.ErrRemoved) || strings.Contains(err.Error(), "deleted") {
		t.Errorf("%v", err)
	}
}

// The directory's times are a hint. A name that changes within a tick of the file system's clock is seen
// all the same.
func TestStamp(t *testing.T) {
	dir, err := segment.OpenDir(t.TempDir(), "d", true)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for i := range 1000 {
		if err := os.WriteFile(dir.Path()+"/f", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		before, err := dir.Stamp()
		if err != nil {
			t.Fatal(err)
		}
		if err := dir.Unlink("f"); err != nil {
			t.Fatal(err)
		}
		if after, err := dir.Stamp(); err != nil || before.Same(after) {
			t.Fatalf("round %d: unseen (%v)", i, err)
		}
	}
}

// The lookout looks only while something is open, and closes nothing that others use.
func TestLookoutEnds(t *testing.T) {
	s := enter(t, t.TempDir())
	closed(t, create(t, s, "a", Ephemeral))
	eventually(t, "it ends", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.lookout.timer == nil
	})
	o := create(t, s, "a", Ephemeral)
	s.mu.Lock()
	looks := s.lookout.timer != nil
	s.mu.Unlock()
	if !looks {
		t.Error("it does not begin again")
	}
	closed(t, o)
}
