package table

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// die locks a key as a process that then dies.
func (w *world) die(t *testing.T, key string, token uint32, d Damage) {
	t.Helper()
	_, died, err := w.open(token).LockKey(bg, key, false, d)
	if err != nil || died {
		t.Fatal(died, err)
	}
	w.dead.Store(token, true)
}

func TestForgetLocks(t *testing.T) {
	const locks = 64
	long := strings.Repeat("k", KeyShown+10)
	w := newWorld(Geometry{Buckets: 8, Locks: locks})
	for i := range uint32(locks - 2) {
		w.die(t, fmt.Sprintf("job/%d/%d", i%2, i), 100+i, Kept)
	}
	w.die(t, long, 1, Kept)
	tb := w.open(2)
	mine, died, err := tb.LockKey(bg, "job/1/mine", false, Kept)
	if err != nil || died {
		t.Fatal(died, err)
	}
	_, _, err = tb.LockKey(bg, "another", false, Kept)
	is(t, err, errs.ErrFull)

	dead := 0
	for _, l := range tb.KeyLocks() {
		if l.Dead {
			dead++
		}
		if l.Key == long[:KeyShown] && l.Length != len(long) {
			t.Errorf("the long key has %d bytes", l.Length)
		}
	}
	if dead != locks-1 {
		t.Errorf("%d locks of dead owners", dead)
	}
	if n := tb.ForgetLocks("job/1/"); n != (locks-2)/2 {
		t.Errorf("%d are forgotten", n)
	}
	if !mine.lock.Mine() {
		t.Error("a lock of somebody alive was taken away")
	}
	must(t, mine.Unlock())
	for key, want := range map[string]bool{"job/1/1": false, "job/0/0": true, "another": false} {
		l, died, err := tb.LockKey(bg, key, false, Kept)
		if err != nil || died != want {
			t.Fatalf("%s: told of a death: %v, %v", key, died, err)
		}
		must(t, l.Unlock())
	}
	if n := tb.ForgetLocks(long[:KeyShown]); n != 1 {
		t.Errorf("%d long ones are forgotten", n)
	}
	if n := tb.ForgetLocks(""); n != (locks-2)/2 {
		t.Errorf("%d of the others are forgotten", n)
	}
	if n := len(tb.KeyLocks()); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// A lock whose death leaves no damage is free at once, for its key and for others. Damage from before stays.
func TestLockWithoutDamage(t *testing.T) {
	w := newWorld(Geometry{Buckets: 8, Locks: 2})
	for i := range uint32(5) {
		w.die(t, fmt.Sprint("job", i), 10+i, None)
	}
	w.die(t, "same", 20, None)
	w.die(t, "same", 21, None)
	tb := w.open(1)
	if st := tb.KeyLocks(); len(st) == 0 || st[0].Dead {
		t.Errorf("%+v", st)
	}
	w.die(t, "kept", 30, Kept)
	l, died, err := tb.LockKey(bg, "kept", false, None)
	if err != nil || !died {
		t.Fatalf("told of a death: %v, %v", died, err)
	}
	must(t, l.Unlock())
	if l, died, err = tb.LockKey(bg, "kept", false, None); err != nil || !died {
		t.Fatalf("told once more: %v, %v", died, err)
	}
	must(t, l.Repaired())
	must(t, l.Unlock())
}

// Whoever tries keys that nobody ever locked gets them, also while others give locks to theirs.
func TestTryKeyLockAmongOthers(t *testing.T) {
	defer func(d time.Duration) { bindPatience = d }(bindPatience)
	bindPatience = time.Minute // on a machine where processes stand still
	w := newWorld(Geometry{Buckets: 16, Locks: 4096})
	var wg sync.WaitGroup
	for i := range uint32(4) {
		tb := w.open(1 + i)
		wg.Go(func() {
			for n := range 300 {
				l, _, err := tb.LockKey(bg, fmt.Sprint(i, "/", n), true, Kept)
				if errors.Is(err, errs.ErrBusy) {
					t.Errorf("key %d: %v", n, err)
					return
				}
				if err == nil {
					err = l.Unlock()
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
