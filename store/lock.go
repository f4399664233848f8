package store

import (
	"context"
	"fmt"
	"sync"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/table"
)

// KeyLock is a key that is locked. Its methods may be called from any goroutine.
type KeyLock struct {
	s   *Store
	key string
	l   *table.KeyLock

	mu   sync.Mutex
	done bool // unlocked, and out of the gate
}

// Lock locks a key, waiting for it.
//
// shiplap.ErrOwnerDied means that the key IS locked, and that a process died with it locked: what it
// protects may be half changed. Repair that, call Repaired, go on; until somebody calls Repaired everybody who locks that key is
// told. With any other error it is not locked: shiplap.ErrFull says that as many keys are locked as the store has locks. Those
// of dead owners count until somebody repairs what they protect, or calls ForgetLocks; with NoDamage they do not.
//
// It excludes goroutines as well as processes. Locking a key keeps nobody from reading or changing it: those who agree
// on it exclude each other. The key need not have a value.
func (s *Store) Lock(ctx context.Context, key string, opts ...LockOption) (*KeyLock, error) {
	return s.lock(ctx, key, false, opts)
}

// TryLock is Lock without waiting: shiplap.ErrBusy when the key is locked. (For the moments in which somebody else gives a
// lock to a key it waits, for 50 ms at most.)
func (s *Store) TryLock(key string, opts ...LockOption) (*KeyLock, error) {
	return s.lock(context.Background(), key, true, opts)
}

// LockOption says what else there is about the lock of a key.
type LockOption struct{ damage table.Damage }

// NoDamage says that nothing is half changed if the owner of the lock dies: the next one is not told, and the store does not
// keep the lock for the key. It is meant for work that is done again from its beginning, by whoever gets the lock next.
func NoDamage() LockOption { return LockOption{table.None} }

func (s *Store) lock(ctx context.Context, key string, try bool, opts []LockOption) (*KeyLock, error) {
	damage := table.Kept
	for _, o := range opts {
		if o.damage != 0 {
			damage = o.damage
		}
	}
	if !s.obj.Gate.Enter() {
		return nil, s.shut()
	}
	k := &KeyLock{s: s, key: key}
	var died bool
	err := object.Guarded(func() (err error) {
		if err = s.gone(); err == nil {
			k.l, died, err = s.t.LockKey(ctx, key, try, damage)
		}
		return err
	})
	if k.l == nil || err != nil {
		s.obj.Gate.Leave()
		return nil, s.obj.Wrap(err)
	}
	if died {
		return k, fmt.Errorf("store %q: key %q: %w with the lock; it is yours now: repair what it protects, then call Repaired",
			s.obj.Name, key, errs.ErrOwnerDied)
	}
	return k, nil // inside of the gate until Unlock
}

// Key is the key that is locked.
func (k *KeyLock) Key() string { return k.key }

// String names the key and its store.
func (k *KeyLock) String() string { return fmt.Sprintf("lock of key %q of %v", k.key, k.s) }

// Unlock gives the key to the next; shiplap.ErrConflict when that was done already.
func (k *KeyLock) Unlock() error {
	return k.held(func() error {
		k.done = true
		defer k.s.obj.Gate.Leave()
		return object.Guarded(k.l.Unlock)
	})
}

// Repaired says, while the key is locked, that what it protects is in order again.
func (k *KeyLock) Repaired() error {
	return k.held(func() error { return object.Guarded(k.l.Repaired) })
}

// held calls f if the key is still locked through k. It stays locked meanwhile, so the memory is there.
func (k *KeyLock) held(f func() error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.done {
		return k.s.obj.Wrap(fmt.Errorf("%w: key %q is not locked through this any more", errs.ErrConflict, k.key))
	}
	return k.s.obj.Wrap(f())
}

// DeadLocks lists the keys whose owners died with them locked, and that nobody has repaired.
func (s *Store) DeadLocks() (dead []LockStats, err error) {
	err = s.call(func() error {
		for _, l := range s.t.KeyLocks() {
			if l.Dead {
				st := s.keyLockStats(&l)
				st.Damaged = true // as the next one to lock it will be told
				dead = append(dead, st)
			}
		}
		return nil
	})
	return dead, err
}

// ForgetLocks says of all keys that begin with prefix that what their dead owners left is in order, as Repaired does of one,
// and returns how many those were: their locks are free. Keys that living processes have locked, whoever had them before, stay
// locked and damaged. It waits for nobody.
//
// Of a key the store has the first 48 bytes only; a longer prefix is shiplap.ErrTooLarge. Lock such a key, and call Repaired.
func (s *Store) ForgetLocks(prefix string) (n int, err error) {
	err = s.call(func() error {
		if len(prefix) > table.KeyShown {
			return fmt.Errorf("%w: a prefix of %d bytes, of a locked key only the first %d are kept; lock the key and call Repaired",
				errs.ErrTooLarge, len(prefix), table.KeyShown)
		}
		n = s.t.ForgetLocks(prefix)
		return nil
	})
	return n, err
}
