package object

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// noMappings takes all mappings that the process may still make, until end.
func noMappings(t *testing.T) (end func()) {
	t.Helper()
	const pages = 1 << 18 // twice what vm.max_map_count usually is, and more
	page := os.Getpagesize()
	b, err := unix.Mmap(-1, 0, pages*page, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < pages; i += 2 {
		if err := unix.Mprotect(b[i*page:(i+1)*page], unix.PROT_READ); err != nil {
			return func() { _ = unix.Munmap(b) }
		}
	}
	_ = unix.Munmap(b)
	t.Skip("this host allows more mappings than the test makes (vm.max_map_count)")
	return nil
}

// That a file is gone is told later if it could not be told when it was noticed.
func TestLossToldLater(t *testing.T) {
	s := enter(t, t.TempDir())
	o := create(t, s, "x", 0)
	defer closed(t, o)
	s.mu.Lock()
	s.lookout.timer.Stop() // the test looks
	s.mu.Unlock()
	if err := os.Remove(o.file.Path()); err != nil {
		t.Fatal(err)
	}
	end := noMappings(t)
	s.look()
	end()
	if o.Err() != nil {
		t.Error("it was told without memory: the test tries nothing")
	}
	s.look()
	if o.Err() == nil {
		t.Error("nobody is told any more")
	}
}

// A name that cannot be taken away now is noted once, however many come across it.
func TestLeftOnce(t *testing.T) {
	s := enter(t, t.TempDir())
	o := create(t, s, "x", 0)
	defer closed(t, o)
	if ok, err := s.Table.LockNames(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	defer s.Table.UnlockNames()
	for range 3 {
		if err := o.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.lookout.left); n != 1 {
		t.Errorf("the name is noted %d times", n)
	}
}
