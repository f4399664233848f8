package pymp

import (
	"context"
)

// Lock is a Lock of Python's multiprocessing: a Semaphore of at most one unit. What is said there
// about dead holders is worst here: a process that dies with the lock leaves it locked for ever.
//
// As in Python, anybody may unlock it, not only who has locked it. An RLock can be opened as well: it
// is a lock here, which is not recursive; a Python that holds it several times lets go of it with its
// last release.
type Lock struct{ sem *Semaphore }

var lockOptions = &SemaphoreOptions{Max: 1}

// CreateLock makes a lock that is free. name is as for CreateSemaphore.
func CreateLock(name string) (*Lock, error) {
	s, err := CreateSemaphore(name, 1, lockOptions)
	if err != nil {
		return nil, err
	}
	return &Lock{s}, nil
}

// OpenLock opens what Python calls lock._semlock.name.
func OpenLock(name string) (*Lock, error) {
	s, err := OpenSemaphore(name, lockOptions)
	if err != nil {
		return nil, err
	}
	return &Lock{s}, nil
}

// Lock waits until the lock is free and takes it, or until ctx ends.
func (l *Lock) Lock(ctx context.Context) error { return l.sem.Acquire(ctx) }

// TryLock takes the lock if it is free.
func (l *Lock) TryLock() (bool, error) { return l.sem.TryAcquire() }

// Unlock frees the lock. If it is free already that is ErrFull, as Python's ValueError.
func (l *Lock) Unlock() error { return l.sem.Release() }

// Stats are those of its semaphore; the value is 0 while it is locked.
func (l *Lock) Stats() (SemaphoreStats, error) { return l.sem.Stats() }

// Name is what Python calls lock._semlock.name, with its slash.
func (l *Lock) Name() string { return l.sem.Name() }

// Python is Python code, one expression, that makes a multiprocessing Lock over it: see Semaphore.Python.
func (l *Lock) Python() string { return pythonExpr("Lock", kindSemaphore, 1, l.Name()) }

// PythonRLock is the same for an RLock. Python then sees a lock that Go holds as held by another process.
func (l *Lock) PythonRLock() string { return pythonExpr("RLock", kindRLock, 1, l.Name()) }

// Unlink removes the name: see Semaphore.Unlink.
func (l *Lock) Unlink() error { return l.sem.Unlink() }

// Close lets go of it. Calls that wait return ErrClosed. It does not unlock.
func (l *Lock) Close() error { return l.sem.Close() }

func (l *Lock) String() string { return "lock " + l.Name() }
