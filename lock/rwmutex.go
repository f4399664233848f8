package lock

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/rwlock"
	"github.com/shiplap-ipc/shiplap/internal/shares"
)

const (
	offWriter  = object.HeaderSize + rwlock.Writer
	offDrained = object.HeaderSize + rwlock.Drained
)

// RWMutex lets many read or one write, among processes and among goroutines. All methods may be called
// concurrently. A goroutine must not take it twice.
type RWMutex struct {
	base
	l *rwlock.Lock

	readers atomic.Int64 // holds through this handle
	held    object.Hold  // for writing, through this handle
}

func rwmutexParts() []mem.Part { return []mem.Part{{Len: ctlSize}, {Len: shares.Readers.Size()}} }

func rwmutexSpec(opt *Options) object.Spec {
	return opt.fill(object.Spec{
		Kind: object.RWMutex, Parts: rwmutexParts(),
		Locks:  []object.LockAt{{Name: "writer", Off: offWriter}},
		Events: []int{offDrained},
	})
}

func newRWMutex(o *object.Object) (*RWMutex, error) {
	return &RWMutex{base: base{obj: o}, l: rwlock.New(rwlock.Config{
		Ctl: o.Ctl, Base: object.HeaderSize, Table: o.Region.Span(1), Stride: shares.Readers.Stride,
		Owners: o.Space.Table, Slot: o.Space.Table.Slot(), Sess: &o.Sess,
	})}, nil
}

// CreateRWMutex makes an RWMutex; shiplap.ErrExist when the name is taken.
func CreateRWMutex(d *shiplap.Domain, name string, opt *Options) (*RWMutex, error) {
	return create(d, name, rwmutexSpec(opt), newRWMutex)
}

// OpenRWMutex opens an RWMutex; shiplap.ErrIncompatible when the object is something else.
func OpenRWMutex(d *shiplap.Domain, name string) (*RWMutex, error) {
	return open(d, name, object.RWMutex, rwmutexParts(), newRWMutex)
}

// OpenOrCreateRWMutex opens the RWMutex, or makes it if it does not exist.
func OpenOrCreateRWMutex(d *shiplap.Domain, name string, opt *Options) (*RWMutex, error) {
	return object.OpenOrCreate(
		func() (*RWMutex, error) { return OpenRWMutex(d, name) },
		func() (*RWMutex, error) { return CreateRWMutex(d, name, opt) })
}

// hold runs take inside the gate, and stays inside if the lock is held afterwards.
func (m *RWMutex) hold(take func() (held bool, err error)) error {
	if !m.obj.Gate.Enter() {
		return m.obj.Wrap(errs.ErrClosed)
	}
	var held bool
	err := object.Guarded(func() (err error) {
		if err = m.obj.Err(); err == nil {
			held, err = take()
		}
		return err
	})
	if !held {
		m.obj.Gate.Leave()
		return m.obj.Wrap(err)
	}
	return err
}

// reading notes a new reader, after all that may fail, and is what it is told.
func (m *RWMutex) reading() (held bool, err error) {
	err = m.state()
	m.readers.Add(1)
	return true, err
}

// writing is reading for the new writer.
func (m *RWMutex) writing() (held bool, err error) {
	err = m.state()
	m.held.Begin()
	return true, err
}

func (m *RWMutex) state() error {
	if !m.l.Damaged() {
		return nil
	}
	return fmt.Errorf("rwmutex %q: %w while it wrote; the lock is held: a writer repairs what it protects, then calls Repaired",
		m.obj.Name, errs.ErrOwnerDied)
}

// RLock takes the lock for reading, waiting while somebody writes or waited to write before.
//
// shiplap.ErrOwnerDied means that the lock IS held for reading, and that a writer died: what it protects may be half
// changed until a writer has called Repaired.
func (m *RWMutex) RLock(ctx context.Context) error {
	return m.hold(func() (bool, error) {
		if err := m.l.RLock(ctx); err != nil {
			return false, err
		}
		return m.reading()
	})
}

// TryRLock is RLock without waiting: shiplap.ErrBusy where that would wait.
func (m *RWMutex) TryRLock() error {
	return m.hold(func() (bool, error) {
		if !m.l.TryRLock() {
			return false, cmp.Or(m.obj.Err(), errs.ErrBusy)
		}
		return m.reading()
	})
}

// RUnlock ends one RLock of this handle; shiplap.ErrConflict when there is none.
func (m *RWMutex) RUnlock() error {
	for {
		n := m.readers.Load()
		if n == 0 {
			return fmt.Errorf("rwmutex %q: %w: RUnlock without holding it for reading through this handle", m.obj.Name, errs.ErrConflict)
		}
		if m.readers.CompareAndSwap(n, n-1) {
			break
		}
	}
	defer m.obj.Gate.Leave()
	return m.obj.Wrap(object.Guarded(func() error {
		m.l.RUnlock()
		return nil
	}))
}

// Lock takes the lock for writing: alone. It waits for readers who are inside; those who come later wait
// for it. shiplap.ErrOwnerDied is as for Mutex.Lock: the lock IS held.
func (m *RWMutex) Lock(ctx context.Context) error {
	return m.hold(func() (bool, error) {
		if err := m.l.Lock(ctx); err != nil {
			return false, err
		}
		return m.writing()
	})
}

// TryLock is Lock without waiting: shiplap.ErrBusy while somebody reads or writes.
func (m *RWMutex) TryLock() error {
	return m.hold(func() (bool, error) {
		if !m.l.TryLock() {
			return false, cmp.Or(m.obj.Err(), errs.ErrBusy)
		}
		return m.writing()
	})
}

// Unlock ends writing; shiplap.ErrConflict when the lock is not held for writing through this handle.
func (m *RWMutex) Unlock() error {
	if !m.held.End() {
		return m.misuse("Unlock")
	}
	defer m.obj.Gate.Leave()
	return m.obj.Wrap(object.Guarded(func() error {
		m.l.Unlock()
		return nil
	}))
}

// Repaired says, while the lock is held for writing, that what it protects is in order again.
func (m *RWMutex) Repaired() error { return m.whileHeld("Repaired", m.l.Repaired) }

// MarkSince records, while the lock is held for writing, since when: for people who look, where it is held for long.
func (m *RWMutex) MarkSince() error { return m.whileHeld("MarkSince", m.l.MarkSince) }

// whileHeld runs f in a hold for writing, whose end waits for it.
func (m *RWMutex) whileHeld(what string, f func()) error {
	var was bool
	err := object.Guarded(func() error {
		was = m.held.Use(f)
		return nil
	})
	if err == nil && !was {
		return m.misuse(what)
	}
	return m.obj.Wrap(err)
}

func (m *RWMutex) misuse(what string) error {
	return fmt.Errorf("rwmutex %q: %w: %s without holding it for writing through this handle", m.obj.Name, errs.ErrConflict, what)
}

// Close gives up the handle; calls that wait return shiplap.ErrClosed. Holds through it go on until they are
// unlocked, which still works.
func (m *RWMutex) Close() error { return m.close() }

// Holder is a process and how much it holds.
type Holder struct {
	Pid    int    `json:"pid"`
	Number uint32 `json:"number"` // of holds, of permits, of waiting goroutines
}

func holdersOf(o *object.Object, entries []shares.Entry) []Holder {
	all := []Holder{}
	for _, e := range entries {
		all = append(all, Holder{pid(o, e.Token), e.Number})
	}
	return all
}

// RWMutexStats is an RWMutex at one moment.
type RWMutexStats struct {
	MutexStats          // of the writers' lock; readers take it for a moment when they have to wait
	Writing    bool     `json:"writing"`
	Readers    []Holder `json:"readers"` // dead ones too, until a writer comes by
}

// Stats tells who holds the lock and who waits, at a glance and without locking.
func (m *RWMutex) Stats() (s RWMutexStats, err error) {
	err = m.obj.Call(func() error {
		s = RWMutexStats{mutexStats(m.obj, offWriter), m.l.Writing(), holdersOf(m.obj, m.l.Readers())}
		return nil
	})
	return s, err
}
