package wordlock

import (
	"context"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/futex"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/wait"
)

// Owners tells who is alive. Package member implements it.
type Owners interface {
	// Self is the token of this process, never 0, bit 31 clear.
	Self() uint32
	// Dead reports that the kernel proves the owner of a token gone. It never is for Self.
	Dead(token uint32) bool
	// Watch arranges for f to be called once the owner dies; ok is false where that cannot be
	// had. stop must be called, and f may still run while it is.
	Watch(token uint32, f func()) (stop func(), ok bool)
}

// Lock is one process's view of a lock record. All methods may be called concurrently.
type Lock struct {
	word   *mem.U32
	span   *mem.Span
	off    int
	owners Owners
	sess   *wait.Session

	// Stop, if set before first use, is asked before each sleep for a reason not to wait any longer.
	Stop func() error
}

// WakeAll lets everybody who waits for the lock look around.
func (l *Lock) WakeAll() { wait.Wake(l.word, futex.All) }

// New views the record at off. Blocked calls end when the session does.
func New(s *mem.Span, off int, o Owners, sess *wait.Session) *Lock {
	return &Lock{word: s.U32(off + offWord), span: s, off: off, owners: o, sess: sess}
}

const (
	spinTries  = 40 // looks with a growing pause between, some microseconds in all
	spinPause  = 8
	firstSleep = time.Millisecond
	watchFrom  = 16 * time.Millisecond // a sleep that long: have the kernel tell of the owner's death
	unwatched  = 90 * time.Millisecond // the longest sleep where it cannot: promise P1 says 100 ms
)

// TryLock takes the lock if it is free or its owner is dead.
func (l *Lock) TryLock() (ok, recovered bool) {
	me := l.owners.Self()
	for {
		if l.word.CAS(0, me) {
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
	if l.word.CAS(0, l.owners.Self()) {
		mem.RaceAcquire(l.word)
		return false, nil
	}
	return l.lockSlow(ctx)
}

// Unlock gives the lock to the next. Only its holder may call it.
func (l *Lock) Unlock() {
	mem.RaceRelease(l.word)
	if l.word.Swap(0)&waitersBit != 0 {
		wait.Wake(l.word, 1)
	}
}

// Mine reports whether this process holds the lock.
func (l *Lock) Mine() bool { return l.word.Load()&^waitersBit == l.owners.Self() }

// Held reports whether somebody, dead or alive, holds the lock.
func (l *Lock) Held() bool { return l.word.Load() != 0 }

// MarkSince records that the lock is held for long, for those who look; Unlock it with UnlockLong.
func (l *Lock) MarkSince() {
	l.span.U64(l.off + offSince).StoreRelease(uint64(time.Now().UnixNano()))
}

// UnlockLong is Unlock after MarkSince.
func (l *Lock) UnlockLong() {
	l.span.U64(l.off + offSince).StoreRelease(0)
	l.Unlock()
}

// takeOver replaces the dead owner in v. Exactly one of those who try wins. The waiters bit stays
// set: the dead owner may have swallowed a wake-up.
func (l *Lock) takeOver(v uint32) bool {
	if !l.word.CAS(v, l.owners.Self()|waitersBit) {
		return false
	}
	mem.RaceAcquire(l.word)
	l.span.U64(l.off + offSince).StoreRelease(0)
	l.span.U32(l.off + offRecoveries).Add(1)
	return true
}

func (l *Lock) lockSlow(ctx context.Context) (recovered bool, err error) {
	me := l.owners.Self()
	if spinUseful() {
		for i := range spinTries {
			if v := l.word.Load(); v == 0 && l.word.CAS(0, me) {
				mem.RaceAcquire(l.word)
				return false, nil
			}
			mem.Pause(uint32(1 + min(i, spinPause)))
		}
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	w := l.startWait(ctx)
	defer w.end()
	for bound := firstSleep; ; bound *= 2 {
		v := l.word.Load()
		switch owner := v &^ waitersBit; {
		case v == 0:
			if l.word.CAS(0, me|waitersBit) { // others may sleep: keep them in mind
				mem.RaceAcquire(l.word)
				return false, nil
			}
			bound = firstSleep
			continue
		case l.owners.Dead(owner):
			if l.takeOver(v) {
				return true, nil
			}
			continue
		case v&waitersBit == 0:
			if !l.word.CAS(v, v|waitersBit) {
				continue
			}
			v |= waitersBit
		}
		if l.Stop != nil {
			if err := l.Stop(); err != nil {
				return false, err
			}
		}
		if bound >= watchFrom {
			bound = w.watch(v&^waitersBit, bound)
		}
		if err := w.call.Sleep(l.word, v, bound, nil); err != nil {
			if l.word.Load() == 0 {
				wait.Wake(l.word, 1) // the wake-up that reached us was meant for one who takes the lock
			}
			return false, err
		}
	}
}
