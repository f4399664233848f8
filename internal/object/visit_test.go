package object

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// A visitor sees what members see, takes no slot, and changes nothing.
func TestVisit(t *testing.T) {
	base := t.TempDir()
	if _, err := Visit(base, "domain"); !errors.Is(err, errs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	s := enter(t, base)
	o := create(t, s, "e", Ephemeral)
	v, err := Visit(base, "domain")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := v.Release(); err != nil {
			t.Error(err)
		}
	}()
	if m := v.Table.Members(); len(m) != 1 || m[0].Token != s.Table.Self() || !m[0].Alive {
		t.Errorf("%+v", m)
	}
	if in, err := v.Stat("e"); err != nil || in.Err != nil || len(in.Users) != 1 {
		t.Errorf("%+v, %v", in, err)
	}
	if l, err := v.Locks("e"); err != nil || len(l) != 1 {
		t.Errorf("%+v, %v", l, err)
	}
	p := open(t, v, "e")
	if err := whole(p); err != nil {
		t.Error(err)
	}
	if !raceEnabled { // whose runtime a fault inside of an atomic operation ends
		err = p.Call(func() error { p.Ctl.U64(HeaderSize).Store(1); return nil })
		if !errors.Is(err, errs.ErrUnsupported) || o.Ctl.U64(HeaderSize).Load() != 0 {
			t.Errorf("a change: %v", err)
		}
	}
	if _, err := v.Create("n", spec(0)); !errors.Is(err, errs.ErrUnsupported) {
		t.Errorf("%v", err)
	}
	closed(t, o, p) // the member was the last user
	if s.exists("e") {
		t.Error("it is still there")
	}
	o = create(t, s, "e", Ephemeral)
	closed(t, open(t, v, "e"))
	if !s.exists("e") {
		t.Error("the visitor took it with it")
	}
	closed(t, o)
	closed(t, create(t, s, "r", 0))
	if err := v.Remove(bg, "r"); err != nil || s.exists("r") {
		t.Errorf("%v", err)
	}
	c := start(t, base)
	c.do(t, "temporary")
	c.killed(t, s)
	if sw, err := v.Sweep(bg, false); err != nil || len(sw) != 2 || v.Table.AnyDead() {
		t.Errorf("%+v, %v", sw, err)
	}
}

// A file with holes would take memory when it is read, as much as a peer likes. The error has the numbers.
func TestSparse(t *testing.T) {
	s := enter(t, inMemory(t))
	o := create(t, s, "a", 0)
	defer closed(t, o)
	path := s.Dir.Path() + "/a"
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, HeaderSize, testSize-HeaderSize); err != nil {
		t.Fatal(err)
	}
	_, opened := s.Open("a", Queue, parts)
	in, err := s.Stat("a")
	for what, err := range map[string]error{"open": opened, "stat": errors.Join(in.Err, err)} {
		if !errors.Is(err, errs.ErrCorrupt) || !strings.Contains(err.Error(), "4096 bytes of it are set aside, where there should be 8192") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := s.Remove(bg, "a"); err != nil {
		t.Error(err)
	}
}
