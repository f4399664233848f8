package store

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shiplap-ipc/shiplap"
)

// As many processes as a store has locks die with a key each: nobody can lock another key until their locks are forgotten.
func TestLocksOfTheDead(t *testing.T) {
	const locks = 8
	s := create(t, domain(t), &Options{MaxBytes: 64 << 10, Locks: locks})
	w := &world{st: s}
	die := func(key string, opts ...LockOption) {
		t.Helper()
		l, err := s.Lock(bg, key, opts...)
		ok(t, err)
		l.done = true
		s.obj.Gate.Leave()
		ok(t, w.killLockers())
	}
	for i := range 3 * locks {
		die(fmt.Sprint("harmless", i), NoDamage())
	}
	for i := range locks {
		die(fmt.Sprintf("job/%d/%d", i%2, i))
	}
	_, err := s.Lock(bg, "another")
	is(t, err, shiplap.ErrFull)
	dead, err := s.DeadLocks()
	ok(t, err)
	if len(dead) != locks || !dead[0].Damaged || dead[0].KeyBytes != len(dead[0].Key) {
		t.Errorf("%+v", dead)
	}
	if n, err := s.ForgetLocks("job/1/"); n != locks/2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	l, err := s.Lock(bg, "another")
	ok(t, err)
	ok(t, l.Unlock())
	l, err = s.Lock(bg, "job/0/0")
	is(t, err, shiplap.ErrOwnerDied)
	if n, err := s.ForgetLocks(""); n != locks/2-1 || err != nil {
		t.Errorf("%d, %v: job/0/0 is locked by somebody alive", n, err)
	}
	ok(t, l.Repaired(), l.Unlock())
	if dead, err := s.DeadLocks(); len(dead) != 0 || err != nil {
		t.Errorf("%+v, %v", dead, err)
	}
	_, err = s.ForgetLocks(strings.Repeat("k", 49))
	is(t, err, shiplap.ErrTooLarge)
}
