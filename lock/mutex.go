package lock

import (
	"context"

	"github.com/shiplap-ipc/shiplap"
	"github.com/shiplap-ipc/shiplap/internal/mutex"
	"github.com/shiplap-ipc/shiplap/internal/object"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

const offMutex = object.HeaderSize

// Mutex is mutual exclusion by name, among processes and among goroutines. All methods may be called
// concurrently.
type Mutex struct {
	base
	m *mutex.Mutex
}

func mutexSpec(opt *Options) object.Spec {
	return opt.fill(object.Spec{Kind: object.Mutex, Locks: []object.LockAt{{Name: "mutex", Off: offMutex}}})
}

func newMutex(o *object.Object) (*Mutex, error) {
	m, err := mutex.New(o, offMutex)
	return &Mutex{base{obj: o}, m}, err
}

// CreateMutex makes a mutex; shiplap.ErrExist when the name is taken.
func CreateMutex(d *shiplap.Domain, name string, opt *Options) (*Mutex, error) {
	return create(d, name, mutexSpec(opt), newMutex)
}

// OpenMutex opens a mutex; shiplap.ErrIncompatible when the object is something else.
func OpenMutex(d *shiplap.Domain, name string) (*Mutex, error) {
	return open(d, name, object.Mutex, nil, newMutex)
}

// OpenOrCreateMutex opens the mutex, or makes it if it does not exist.
func OpenOrCreateMutex(d *shiplap.Domain, name string, opt *Options) (*Mutex, error) {
	return object.OpenOrCreate(
		func() (*Mutex, error) { return OpenMutex(d, name) },
		func() (*Mutex, error) { return CreateMutex(d, name, opt) })
}

// Lock takes the mutex, waiting for it.
//
// shiplap.ErrOwnerDied means that the mutex IS held, and that a process died holding it: what it protects may
// be half changed. Repair that, call Repaired, go on; until somebody calls Repaired everybody who locks is told.
// With any other error it is not held.
func (m *Mutex) Lock(ctx context.Context) error { return m.m.Lock(ctx) }

// TryLock is Lock without waiting: shiplap.ErrBusy when it is held.
func (m *Mutex) TryLock() error { return m.m.TryLock() }

// Unlock gives the mutex to the next; shiplap.ErrConflict when it is not held through this handle. It need
// not be called by the goroutine that locked.
func (m *Mutex) Unlock() error { return m.m.Unlock() }

// Repaired says, while the mutex is held, that what it protects is in order again.
func (m *Mutex) Repaired() error { return m.m.Repaired() }

// MarkSince records, while the mutex is held, since when: for people who look, where it is held for long.
func (m *Mutex) MarkSince() error { return m.m.MarkSince() }

// Close gives up the handle; calls that wait return shiplap.ErrClosed. If the mutex is held through it,
// it stays held until Unlock, which still works.
func (m *Mutex) Close() error {
	err := m.close()
	m.m.Close()
	return err
}

// Stats tells who holds the mutex and who waits, at a glance and without locking.
func (m *Mutex) Stats() (s MutexStats, err error) {
	err = m.obj.Call(func() error {
		s = mutexStats(m.obj, offMutex)
		return nil
	})
	return s, err
}

// MutexStats is a mutex at one moment.
type MutexStats struct {
	Holder     int    `json:"holder"`     // pid, 0 when free; a dead one's is shown until somebody takes over
	Damaged    bool   `json:"damaged"`    // an owner died, and nobody has called Repaired
	Sleeps     uint64 `json:"sleeps"`     // how often somebody had to sleep for it
	Recoveries uint32 `json:"recoveries"` // how often it was taken over from a dead owner
	Waiters    []int  `json:"waiters"`    // pids of the first six
}

func mutexStats(o *object.Object, off int) MutexStats {
	st := wordlock.Inspect(o.Ctl, off)
	s := MutexStats{Holder: pid(o, st.Owner), Damaged: st.Damaged, Sleeps: st.Sleeps, Recoveries: st.Recoveries, Waiters: []int{}}
	for _, w := range st.Waiters {
		s.Waiters = append(s.Waiters, pid(o, w.Token))
	}
	return s
}

// pid is what the table says of a token's owner, 0 for nobody.
func pid(o *object.Object, token uint32) int {
	if token == 0 {
		return 0
	}
	m, _ := o.Space.Table.Lookup(token)
	return m.Pid
}
