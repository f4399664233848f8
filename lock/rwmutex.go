package lock

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/holders"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// A reader notes itself in its process's entry, then looks whether the writer's lock is free; a writer takes
// that lock, then looks at the entries. Each does the second after the first with a full fence between,
// so one of them sees the other. A reader who finds the lock held withdraws, takes the lock himself, as one
// among the writers, notes itself, and gives the lock back: so neither kind starves the other.
const (
	offWriter  = object.HeaderSize // lock record
	offWriting = offWriter + wordlock.Size
	offDrained = offWriting + 64 // event: a reader left; the bitmap of the readers follows
)

// RWMutex lets many read or one write, among processes and among goroutines. All methods may be called
// concurrently. A goroutine must not take it twice.
type RWMutex struct {
	base
	writer  *wordlock.Lock
	writing *mem.U32 // 1: whoever has the writer's lock may have changed something
	damaged *mem.U32
	drained wait.Event
	table   *holders.Table

	readers atomic.Int64 // holds through this handle
	held    atomic.Bool  // for writing, through this handle
	long    bool         // whoever holds it for writing called MarkSince
}

func rwmutexParts() []mem.Part { return []mem.Part{{Len: ctlSize}, {Len: holders.Readers.Size()}} }

func rwmutexSpec(opt *Options) object.Spec {
	return opt.fill(object.Spec{
		Kind: object.RWMutex, Parts: rwmutexParts(),
		Locks:  []object.LockAt{{Name: "writer", Off: offWriter}},
		Events: []int{offDrained},
	})
}

func newRWMutex(o *object.Object) (*RWMutex, error) {
	w := wordlock.New(o.Ctl, offWriter, o.Space.Table, &o.Sess)
	return &RWMutex{
		base: base{obj: o}, writer: w, writing: o.Ctl.U32(offWriting), damaged: w.Damaged(),
		drained: wait.NewEvent(o.Ctl.U32(offDrained)),
		table:   holders.New(o.Ctl, holders.Readers.Bitmap, o.Region.Span(1), holders.Readers.Stride, o.Space.Table, o.Space.Table.Slot()),
	}, nil
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

// state is what a new holder is told.
func (m *RWMutex) state() error {
	if m.damaged.Load() == 0 {
		return nil
	}
	return fmt.Errorf("rwmutex %q: %w while it wrote; the lock is held: a writer repairs what it protects, then calls Repaired",
		m.obj.Name, errs.ErrOwnerDied)
}

// recover notes what the dead holder of the writer's lock may have left. It may be repeated.
func (m *RWMutex) recover() {
	if m.writing.Load() != 0 { // else it was a reader on its way, or a writer who had not begun
		m.damaged.StoreRelease(1)
		m.writing.StoreRelease(0)
	}
}

// RLock takes the lock for reading, waiting while somebody writes or waited to write before.
//
// shiplap.ErrOwnerDied means that the lock IS held for reading, and that a writer died: what it protects may be half
// changed until a writer has called Repaired.
func (m *RWMutex) RLock(ctx context.Context) error {
	return m.hold(func() (bool, error) {
		if m.enterFast() {
			return true, m.state()
		}
		recovered, err := m.writer.Lock(ctx)
		if err != nil {
			return false, err
		}
		m.enterSlow(recovered)
		return true, m.state()
	})
}

// TryRLock is RLock without waiting: shiplap.ErrBusy where that would wait.
func (m *RWMutex) TryRLock() error {
	return m.hold(func() (bool, error) {
		if m.enterFast() {
			return true, m.state()
		}
		ok, recovered := m.writer.TryLock()
		if !ok {
			return false, cmp.Or(m.obj.Err(), errs.ErrBusy)
		}
		m.enterSlow(recovered)
		return true, m.state()
	})
}

func (m *RWMutex) enterFast() bool {
	m.table.Add(1)
	if !m.writer.Held() {
		m.readers.Add(1)
		mem.RaceAcquire(m.writing)
		return true
	}
	m.withdraw()
	return false
}

// enterSlow notes a reader with the writer's lock in hand, and gives that back.
func (m *RWMutex) enterSlow(recovered bool) {
	if recovered {
		m.recover()
	}
	m.table.Add(1)
	m.readers.Add(1)
	m.writer.Unlock()
}

func (m *RWMutex) withdraw() {
	m.table.Add(-1)
	if m.writer.Held() { // perhaps he waits for us
		m.drained.WakeAll()
	}
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
		mem.RaceRelease(m.writing)
		m.withdraw()
		return nil
	}))
}

// Lock takes the lock for writing: alone. It waits for readers who are inside; those who come later wait
// for it. shiplap.ErrOwnerDied is as for Mutex.Lock: the lock IS held.
func (m *RWMutex) Lock(ctx context.Context) error {
	return m.hold(func() (bool, error) {
		recovered, err := m.writer.Lock(ctx)
		if err != nil {
			return false, err
		}
		if recovered {
			m.recover()
		}
		err = m.table.Wait(ctx, &m.obj.Sess, m.drained, func() (bool, error) { return !m.table.Living(), nil })
		if err != nil {
			m.writer.Unlock()
			return false, err
		}
		m.begin()
		return true, m.state()
	})
}

// TryLock is Lock without waiting: shiplap.ErrBusy while somebody reads or writes.
func (m *RWMutex) TryLock() error {
	return m.hold(func() (bool, error) {
		ok, recovered := m.writer.TryLock()
		if !ok {
			return false, cmp.Or(m.obj.Err(), errs.ErrBusy)
		}
		if recovered {
			m.recover()
		}
		if m.table.Living() {
			m.writer.Unlock()
			return false, errs.ErrBusy
		}
		m.begin()
		return true, m.state()
	})
}

func (m *RWMutex) begin() {
	m.writing.StoreRelease(1)
	m.held.Store(true)
	mem.RaceAcquire(m.writing)
}

// Unlock ends writing; shiplap.ErrConflict when the lock is not held for writing through this handle.
func (m *RWMutex) Unlock() error {
	if !m.held.CompareAndSwap(true, false) {
		return m.misuse("Unlock")
	}
	defer m.obj.Gate.Leave()
	return m.obj.Wrap(object.Guarded(func() error {
		mem.RaceRelease(m.writing)
		if m.long {
			m.long = false
			m.writer.ClearSince()
		}
		m.writing.StoreRelease(0)
		m.writer.Unlock()
		return nil
	}))
}

// Repaired says, while the lock is held for writing, that what it protects is in order again.
func (m *RWMutex) Repaired() error {
	if !m.held.Load() {
		return m.misuse("Repaired")
	}
	return m.obj.Wrap(object.Guarded(func() error {
		m.damaged.StoreRelease(0)
		return nil
	}))
}

// MarkSince records, while the lock is held for writing, since when: for people who look, where it is held for long.
func (m *RWMutex) MarkSince() error {
	if !m.held.Load() {
		return m.misuse("MarkSince")
	}
	return m.obj.Wrap(object.Guarded(func() error {
		m.long = true
		m.writer.MarkSince()
		return nil
	}))
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

func holdersOf(o *object.Object, t *holders.Table) []Holder {
	all := []Holder{}
	for _, e := range t.All() {
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
		s = RWMutexStats{mutexStats(m.obj, offWriter), m.writing.Load() != 0, holdersOf(m.obj, m.table)}
		return nil
	})
	return s, err
}
