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
// told. With any other error it is not locked: shiplap.ErrFull says that as many keys are locked as the store has locks.
//
// It excludes goroutines as well as processes. Locking a key keeps nobody from reading or changing it: those who agree
// on it exclude each other. The key need not have a value.
func (s *Store) Lock(ctx context.Context, key string) (*KeyLock, error) {
	return s.lock(ctx, key, false)
}

// TryLock is Lock without waiting: shiplap.ErrBusy when the key is locked.
func (s *Store) TryLock(key string) (*KeyLock, error) {
	return s.lock(context.Background(), key, true)
}

func (s *Store) lock(ctx context.Context, key string, try bool) (*KeyLock, error) {
	if !s.obj.Gate.Enter() {
		return nil, s.shut()
	}
	k := &KeyLock{s: s, key: key}
	var died bool
	err := object.Guarded(func() (err error) {
		if err = s.gone(); err == nil {
			k.l, died, err = s.t.LockKey(ctx, key, try)
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
