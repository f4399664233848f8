package wordlock

import (
	"context"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// Owners tells who is alive.
type Owners = wait.Owners

// Lock is one process's view of a lock record. All methods may be called concurrently.
type Lock struct {
	word   *mem.U32
	line   *mem.U32
	me     uint32
	span   *mem.Span
	off    int
	owners Owners
	sess   *wait.Session

	// Stop, if set before first use, is asked before each sleep for a reason not to wait any longer.
	Stop func() error
}

// WakeAll lets everybody who waits for the lock look around.
func (l *Lock) WakeAll() { wakeAll(l.word) }

// New views the record at off. Blocked calls end when the session does.
func New(s *mem.Span, off int, o Owners, sess *wait.Session) *Lock {
	return &Lock{word: s.U32(off + offWord), line: s.U32(off + offLine), me: o.Self(), span: s, off: off, owners: o, sess: sess}
}

const (
	firstSleep = time.Millisecond
	lineSleep  = 20 * time.Millisecond // the longest that a newcomer stays behind somebody in line
	watchFrom  = 8 * time.Millisecond  // after a sleep that long: be told of the owner's death
)

// TryLock takes the lock if it is free or its owner is dead. It does not stand behind those in line.
func (l *Lock) TryLock() (ok, recovered bool) {
	for {
		if l.word.CAS(0, l.me) {
			mem.RaceAcquire(l.word)
			return true, false
		}
		v := l.word.Load()
		if v == 0 {
			continue
		}
		if !l.owners.Dead(v &^ waitersBit) {
			return false, false
		}
		if l.takeOver(v) {
			return true, true
		}
	}
}

// Lock takes the lock. recovered says that its last owner died holding it: the caller repairs what
// the lock protects before it goes on. An error means that the lock is not held.
func (l *Lock) Lock(ctx context.Context) (recovered bool, err error) {
	if l.Fast() {
		return false, nil
	}
	return l.lockSlow(ctx)
}

// Fast takes the lock if it is free and nobody stands in line. It is short enough to be inlined.
func (l *Lock) Fast() bool {
	if l.line.Load() != 0 || !l.word.CAS(0, l.me) {
		return false
	}
	mem.RaceAcquire(l.word)
	return true
}

// Unlock gives the lock to the next. It changes the word only from our own token, so that a wrong call cannot free
// another process's hold; it reports whether the word was ours.
func (l *Lock) Unlock() bool {
	mem.RaceRelease(l.word)
	return l.word.CAS(l.me, 0) || l.unlockSlow() // the first: one move of the cache line where others spin
}

// unlockSlow is Unlock where somebody may sleep, or where the word is not ours.
func (l *Lock) unlockSlow() bool {
	for {
		v := l.word.Load()
		if v&^waitersBit != l.me {
			return false
		}
		if l.word.CAS(v, 0) {
			if v&waitersBit != 0 {
				l.wakeOne()
			}
			return true
		}
	}
}

// Keep runs f with the lock in hand. Unless f succeeds the lock is given back, also when the memory faults: nobody is to
// wait for a living process that has nothing to do with the lock.
func (l *Lock) Keep(f func() error) error {
	kept := false
	defer func() {
		if !kept {
			l.Unlock()
		}
	}()
	err := f()
	kept = err == nil
	return err
}

// LockLong is Lock for one who keeps the lock until UnlockLong, if f succeeds.
func (l *Lock) LockLong(ctx context.Context, f func() error) error {
	if _, err := l.Lock(ctx); err != nil {
		return err
	}
	return l.Keep(func() error {
		if err := f(); err != nil {
			return err
		}
		l.MarkSince()
		return nil
	})
}

func (l *Lock) wakeOne() { wait.Wake(l.word, 1) }

// Mine reports whether this process holds the lock.
func (l *Lock) Mine() bool { return l.word.Load()&^waitersBit == l.me }

// Owner is the token of whoever holds the lock, dead or alive, 0 when it is free.
func (l *Lock) Owner() uint32 { return l.word.Load() &^ waitersBit }

// Held reports whether somebody, dead or alive, holds the lock.
func (l *Lock) Held() bool { return l.word.Load() != 0 }

// MarkSince records that the lock is held for long, for those who look; Unlock it with UnlockLong.
func (l *Lock) MarkSince() {
	l.span.U64(l.off + offSince).StoreRelease(uint64(time.Now().UnixNano()))
}

// ClearSince undoes MarkSince.
func (l *Lock) ClearSince() { l.span.U64(l.off + offSince).StoreRelease(0) }

// UnlockLong is Unlock after MarkSince.
func (l *Lock) UnlockLong() bool {
	if !l.Mine() {
		return false
	}
	l.ClearSince()
	return l.Unlock()
}

// takeOver replaces the dead owner in v. Exactly one of those who try wins. The waiters bit stays
// set: the dead owner may have swallowed a wake-up.
func (l *Lock) takeOver(v uint32) bool {
	if !l.word.CAS(v, l.me|waitersBit) {
		return false
	}
	mem.RaceAcquire(l.word)
	l.span.U64(l.off + offSince).StoreRelease(0)
	l.span.U32(l.off + offRecoveries).Add(1)
	return true
}
