//go:build explore

package lock

import (
	"github.com/shiplap-ipc/shiplap/internal/mutex"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Handles on objects without a space, for package explore: owners, and the slot of this process among them, stand for its
// table of members.

// MutexAmong makes a handle on a mutex.
func MutexAmong(o *object.Object, owners wordlock.Owners) (*Mutex, error) {
	m, err := mutex.NewAmong(o, offMutex, owners)
	return &Mutex{base{obj: o}, m}, err
}

// CondOn makes a handle on a condition variable.
func CondOn(o *object.Object) (*Cond, error) { return newCond(o) }

// EventOn makes a handle on an event.
func EventOn(o *object.Object) (*Event, error) { return newEvent(o) }

// SemaphoreAmong makes a handle on a semaphore.
func SemaphoreAmong(o *object.Object, owners wordlock.Owners, slot int) (*Semaphore, error) {
	return semaphoreAmong(o, owners, slot)
}
