package table

import (
	"context"
	"errors"
	"fmt"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Key locks. There is a fixed number of lock records, each with a binding: the hash of the key whose lock it is at present,
// and whether somebody is inside. A binding is changed only by whoever holds both the binding lock and the record's
// lock, and the record is not damaged. Hence:
//
//   - Two records are never bound to one key, for who binds looks at all of them first, under the binding lock.
//   - A record that is held, by somebody alive or dead, or damaged, keeps its key. So two keys never share a record while
//     one of them is held.
//   - Who waited for a record and gets it looks whether it is still bound to his key; if not, he gives it back and starts
//     over. Who sleeps meanwhile asks before each sleep.
//
// "Inside" is stored by whoever has the record for its key, and is cleared before the unlock. It says what the owner's
// death means (Damage). A dead owner who was not inside was binding, or had just got the record, or was about to unlock:
// nobody is told of him.

const (
	bindHash   = 0  // u64 of the key, never 0 once bound
	bindInside = 8  // u32 0, or a Damage
	bindLength = 12 // u32 of the key
	bindKey    = 16 // the first 48 bytes of the key

	// KeyShown is how much of a locked key its record has.
	KeyShown = bindBytes - bindKey
)

// Damage says what the death of a key lock's owner leaves.
type Damage uint32

// What a death leaves.
const (
	Kept Damage = 1 // damage, as in package mutex: the key keeps its record until somebody has repaired it
	None Damage = 2 // nothing: the record is free at once
)

// KeyLock is a key's lock, held.
type KeyLock struct {
	t      *Table
	i      int
	lock   *wordlock.Lock
	inside *mem.U32
}

func (t *Table) record(i int) int   { return int(t.geo.locksAt()) + i*wordlock.Size }
func (t *Table) bindAt(i int) int   { return int(t.geo.bindsAt()) + i*bindBytes }
func (t *Table) bound(i int) uint64 { return t.span.U64(t.bindAt(i) + bindHash).Load() }

// bindTries is how often one who does not wait follows a key from record to record.
const bindTries = 100

// errRebound: the record that was waited for belongs to another key now.
var errRebound = errors.New("rebound")

// LockKey locks a key; errs.ErrFull if too many keys are locked. died says that a process died inside, and nobody has
// repaired what it left. d is what our death would leave.
func (t *Table) LockKey(ctx context.Context, key string, try bool, d Damage) (l *KeyLock, died bool, err error) {
	h := t.lockHash(key)
	for n := 0; ; n++ {
		if ctx.Err() != nil {
			return nil, false, context.Cause(ctx)
		}
		if try && n > bindTries {
			return nil, false, errs.ErrBusy
		}
		i, ok := t.boundTo(h)
		if !ok {
			if l, i, err = t.bind(ctx, key, h, try, d); err != nil || l != nil {
				return l, false, err
			}
		}
		l := t.view(i)
		var recovered bool
		if try {
			if ok, recovered = l.lock.TryLock(); !ok {
				if t.bound(i) != h {
					continue
				}
				return nil, false, errs.ErrBusy
			}
		} else {
			l.lock.Stop = func() error {
				if t.bound(i) != h {
					return errRebound
				}
				return t.stop()
			}
			if recovered, err = l.lock.Lock(ctx); err == errRebound {
				continue
			} else if err != nil {
				return nil, false, err
			}
		}
		died = l.settle(recovered)
		if t.bound(i) != h {
			l.lock.Unlock()
			continue
		}
		l.inside.StoreRelease(uint32(d))
		return l, died, nil
	}
}

func (t *Table) lockHash(key string) uint64 { return max(t.hash(key), 1) }

func (t *Table) view(i int) *KeyLock {
	return &KeyLock{
		t: t, i: i, inside: t.span.U32(t.bindAt(i) + bindInside),
		lock: wordlock.New(t.span, t.record(i), t.owners, t.sess),
	}
}

// settle notes that the last owner died inside, and reports whether one did whose damage was not repaired.
func (l *KeyLock) settle(recovered bool) (damaged bool) {
	word := l.lock.Damaged()
	if in := Damage(l.inside.Load()); recovered && in != 0 && in != None {
		word.StoreRelease(1)
	}
	l.inside.StoreRelease(0)
	return word.Load() != 0
}

// boundTo finds the record that is bound to a key. Those that are not in use are looked at first where they would be.
func (t *Table) boundTo(h uint64) (int, bool) {
	n := int(t.geo.Locks)
	first := int(h % t.geo.Locks)
	for k := range n {
		if i := (first + k) % n; t.bound(i) == h {
			return i, true
		}
	}
	return 0, false
}

// bind gives a free record to a key. If somebody was faster it returns a nil lock and his record.
func (t *Table) bind(ctx context.Context, key string, h uint64, try bool, d Damage) (l *KeyLock, i int, err error) {
	if err := t.lockBinding(ctx, try); err != nil {
		return nil, 0, err
	}
	defer t.binding.Unlock()
	if i, ok := t.boundTo(h); ok {
		return nil, i, nil
	}
	n := int(t.geo.Locks)
	first := int(h % t.geo.Locks)
	for k := range 2 * n { // the second time also those for which somebody waits, who will have to look for another
		i := (first + k) % n
		if k < n && len(wordlock.Inspect(t.span, t.record(i)).Waiters) > 0 {
			continue
		}
		l := t.view(i)
		ok, recovered := l.lock.TryLock()
		if !ok {
			continue
		}
		if l.settle(recovered) {
			l.lock.Unlock()
			continue
		}
		t.span.U64(t.bindAt(i) + bindHash).StoreRelease(h)
		t.span.U32(t.bindAt(i) + bindLength).StoreRelease(uint32(len(key)))
		t.span.StoreString(t.bindAt(i)+bindKey, key[:min(len(key), KeyShown)])
		l.inside.StoreRelease(uint32(d))
		return l, i, nil
	}
	return nil, 0, fmt.Errorf("%w: all %d key locks are held, or were by processes that died, and are not repaired; "+
		"unlock or repair some, forget those of the dead, or make it with more", errs.ErrFull, n)
}

// bindPatience is how long one that only tries waits for those who give locks to keys.
var bindPatience = lockSlice

// lockBinding takes the binding lock. Living processes hold it for moments, so one that only tries waits for these; a
// stopped holder must not hold it up for longer.
func (t *Table) lockBinding(ctx context.Context, try bool) error {
	if !try {
		_, err := t.binding.Lock(ctx)
		return err
	}
	if ok, _ := t.binding.TryLock(); ok {
		return nil
	}
	short, cancel := context.WithTimeout(ctx, bindPatience)
	defer cancel()
	_, err := t.binding.Lock(short)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("%w: somebody has been giving a lock to a key for all of %v", errs.ErrBusy, bindPatience)
	}
	return err
}

// Unlock gives the lock to the next; errs.ErrConflict if this process does not have it.
func (l *KeyLock) Unlock() error {
	if err := l.mine(); err != nil {
		return err
	}
	l.inside.StoreRelease(0)
	l.lock.Unlock()
	return nil
}

// Repaired says that what the key's lock protects is in order again; errs.ErrConflict if this process
// does not have it.
func (l *KeyLock) Repaired() error {
	if err := l.mine(); err != nil {
		return err
	}
	l.lock.Damaged().StoreRelease(0)
	return nil
}

func (l *KeyLock) mine() error {
	if !l.lock.Mine() {
		return fmt.Errorf("%w: key lock %d is not held by this process", errs.ErrConflict, l.i)
	}
	return nil
}
