package lock

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap"
)

// TestMisuse: what makes no sense is an error that says so, and changes nothing.
func TestMisuse(t *testing.T) {
	d := join(t)
	m, rw := must(CreateMutex(d, "m", nil))(t), must(CreateRWMutex(d, "rw", nil))(t)
	s := must(CreateSemaphore(d, "s", 3, nil))(t)
	u := must(CreateSemaphore(d, "u", 3, &SemaphoreOptions{Unowned: true}))(t)
	c, b := must(CreateCond(d, "c", nil))(t), must(CreateBarrier(d, "b", 1, nil))(t)
	other := must(OpenSemaphore(d, "s"))(t)
	two := func(_ any, err error) error { return err }
	ok(t, s.Acquire(bg, 1))
	for _, x := range []struct {
		name string
		err  error
		want error
	}{
		{"Unlock", m.Unlock(), shiplap.ErrConflict},
		{"Repaired", m.Repaired(), shiplap.ErrConflict},
		{"MarkSince", m.MarkSince(), shiplap.ErrConflict},
		{"RUnlock", rw.RUnlock(), shiplap.ErrConflict},
		{"RWMutex.Unlock", rw.Unlock(), shiplap.ErrConflict},
		{"RWMutex.Repaired", rw.Repaired(), shiplap.ErrConflict},
		{"Acquire 0", s.Acquire(bg, 0), shiplap.ErrTooLarge},
		{"Acquire -1", s.Acquire(bg, -1), shiplap.ErrTooLarge},
		{"Acquire 4 of 3", s.Acquire(bg, 4), shiplap.ErrTooLarge},
		{"Acquire too many for 32 bits", s.Acquire(bg, 1<<32+1), shiplap.ErrTooLarge},
		{"TryAcquire 0", s.TryAcquire(0), shiplap.ErrTooLarge},
		{"TryAcquire 4 of 3", s.TryAcquire(4), shiplap.ErrTooLarge},
		{"Release 0", s.Release(0), shiplap.ErrTooLarge},
		{"Release -1", s.Release(-1), shiplap.ErrTooLarge},
		{"Release 2 of 1", s.Release(2), shiplap.ErrConflict},
		{"Release of another handle's", other.Release(1), shiplap.ErrConflict},
		{"Release of too many, unowned", u.Release(1), shiplap.ErrConflict},
		{"Wait without the mutex", c.Wait(bg, m), ErrNotLocked},
		{"WaitFor without the mutex", c.WaitFor(bg, m, func() bool { return false }), shiplap.ErrConflict},
		{"no permits", two(CreateSemaphore(d, "x", 0, nil)), shiplap.ErrTooLarge},
		{"-1 permits", two(CreateSemaphore(d, "x", -1, nil)), shiplap.ErrTooLarge},
		{"too many permits", two(CreateSemaphore(d, "x", MaxCount+1, nil)), shiplap.ErrTooLarge},
		{"no parties", two(CreateBarrier(d, "x", 0, nil)), shiplap.ErrTooLarge},
		{"-1 parties", two(CreateBarrier(d, "x", -1, nil)), shiplap.ErrTooLarge},
		{"too many parties", two(CreateBarrier(d, "x", MaxParties+1, nil)), shiplap.ErrTooLarge},
		{"no name", two(CreateMutex(d, "", nil)), shiplap.ErrName},
		{"a name with a slash", two(CreateEvent(d, "a/b", nil)), nil},
		{"a name with a NUL", two(CreateEvent(d, "a\x00b", nil)), nil},
		{"a long name", two(CreateCond(d, strings.Repeat("x", 10_000), nil)), nil},
		{"a taken name", two(CreateRWMutex(d, "m", nil)), shiplap.ErrExist},
		{"a missing one", two(OpenBarrier(d, "x")), shiplap.ErrNotExist},
		{"a long label", two(CreateMutex(d, "x", &Options{Label: strings.Repeat("x", 257)})), shiplap.ErrTooLarge},
	} {
		if x.err == nil || x.want != nil && !errors.Is(x.err, x.want) {
			t.Errorf("%s: %v; %v is wanted", x.name, x.err, x.want)
		}
	}
	for range 3 { // alone at a barrier for one
		if n, err := b.Wait(bg); n != 0 || err != nil {
			t.Errorf("alone: %d, %v", n, err)
		}
	}
	ok(t, s.Release(1), m.TryLock(), m.Unlock(), rw.TryLock(), rw.Unlock(), s.TryAcquire(3), s.Release(3), u.TryAcquire(3), u.Release(3))
	for _, h := range []interface{ Close() error }{m, rw, s, u, c, b, other} {
		ok(t, h.Close())
	}
}

// TestMax: the largest counts work.
func TestMax(t *testing.T) {
	d := join(t)
	for _, unowned := range []bool{false, true} {
		s := must(CreateSemaphore(d, fmt.Sprint("s", unowned), MaxCount, &SemaphoreOptions{Unowned: unowned}))(t)
		ok(t, s.Acquire(bg, MaxCount))
		is(t, s.TryAcquire(1), shiplap.ErrBusy)
		ok(t, s.Release(1), s.TryAcquire(1), s.Release(MaxCount), s.TryAcquire(MaxCount), s.Release(MaxCount), s.Close())
	}
	b := must(CreateBarrier(d, "b", MaxParties, nil))(t)
	is(t, func() error { _, err := b.Wait(soon(t)); return err }(), context.DeadlineExceeded)
	ok(t, b.Close())
}

// kinds open and make an object of each kind under one name.
var kinds = []struct {
	name         string
	create, open func(d *shiplap.Domain) (interface{ Close() error }, error)
}{
	{"mutex", func(d *shiplap.Domain) (interface{ Close() error }, error) { return CreateMutex(d, "x", nil) },
		func(d *shiplap.Domain) (interface{ Close() error }, error) { return OpenMutex(d, "x") }},
	{"rwmutex", func(d *shiplap.Domain) (interface{ Close() error }, error) { return CreateRWMutex(d, "x", nil) },
		func(d *shiplap.Domain) (interface{ Close() error }, error) { return OpenRWMutex(d, "x") }},
	{"semaphore", func(d *shiplap.Domain) (interface{ Close() error }, error) { return CreateSemaphore(d, "x", 3, nil) },
		func(d *shiplap.Domain) (interface{ Close() error }, error) { return OpenSemaphore(d, "x") }},
	{"cond", func(d *shiplap.Domain) (interface{ Close() error }, error) { return CreateCond(d, "x", nil) },
		func(d *shiplap.Domain) (interface{ Close() error }, error) { return OpenCond(d, "x") }},
	{"event", func(d *shiplap.Domain) (interface{ Close() error }, error) { return CreateEvent(d, "x", nil) },
		func(d *shiplap.Domain) (interface{ Close() error }, error) { return OpenEvent(d, "x") }},
	{"barrier", func(d *shiplap.Domain) (interface{ Close() error }, error) { return CreateBarrier(d, "x", 3, nil) },
		func(d *shiplap.Domain) (interface{ Close() error }, error) { return OpenBarrier(d, "x") }},
}

// TestWrongKind: an object opens as what it is.
func TestWrongKind(t *testing.T) {
	d := join(t)
	for _, made := range kinds {
		h := must(made.create(d))(t)
		for _, as := range kinds {
			o, err := as.open(d)
			if as.name == made.name {
				ok(t, err, o.Close())
				continue
			}
			if !errors.Is(err, shiplap.ErrIncompatible) || !strings.Contains(err.Error(), made.name) || !strings.Contains(err.Error(), as.name) {
				t.Errorf("a %s, opened as a %s: %v", made.name, as.name, err)
			}
		}
		ok(t, h.Close(), d.Remove(bg, "x"))
	}
}

// TestClosedDomain: handles outlive their domain; after the last one no new one can be made.
func TestClosedDomain(t *testing.T) {
	d := must(shiplap.Join("", nil))(t)
	m := must(CreateMutex(d, "m", &Options{Ephemeral: true}))(t)
	ok(t, d.Close(), m.Lock(bg), m.Unlock())
	ok(t, m.Close())
	is(t, func() error { _, err := OpenMutex(d, "m"); return err }(), shiplap.ErrClosed)
	is(t, func() error { _, err := CreateEvent(d, "e", nil); return err }(), shiplap.ErrClosed)
}
