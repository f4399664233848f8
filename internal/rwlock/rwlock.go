// Package rwlock is the algorithm of a lock that many processes may read or one may write: its words,
// its table of readers and its fences. No two are inside of which one writes, a process that dies
// inside holds nobody up, and the death of a writer is noted for everybody who comes after it.
//
// Package lock makes handles of it; package explore checks this very code.
//
// A reader notes itself in its process's entry of the table, then looks whether the writers' lock is
// free. A writer takes that lock, then looks at the entries. Each does the second after the first with
// a full fence between, so one of them sees the other. A reader that finds the lock held withdraws,
// takes the lock itself, as one among the writers, notes itself, and gives the lock back: so neither
// kind starves the other.
package rwlock

import (
	"context"

	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/shares"
	"github.com/shiplap-ipc/shiplap/internal/wait"
	"github.com/shiplap-ipc/shiplap/internal/wordlock"
)

// Offsets from the base, a multiple of 64.
const (
	Writer  = 0             // lock record
	Writing = wordlock.Size // u32 1: the owner of the writers' lock may have changed something
	Drained = Writing + 64  // event: a reader left
	Bitmap  = Drained + 64  // of the table of readers
	Size    = Bitmap + shares.BitmapSize
)

// Config says where the words are and to whom they matter.
type Config struct {
	Ctl    *mem.Span
	Base   int       // of the words in Ctl
	Table  *mem.Span // the entries of the readers,
	Stride int       // so far from each other
	Owners wordlock.Owners
	Slot   int // of this process in the table
	Sess   *wait.Session
}

// Lock is one process's view. All methods may be called concurrently, but those for the holder.
type Lock struct {
	writer  *wordlock.Lock
	writing *mem.U32
	damaged *mem.U32
	drained wait.Event
	table   *shares.Table
	sess    *wait.Session
	long    bool // the writer called MarkSince
}

// New views a lock. Blocked calls end when the session does.
func New(c Config) *Lock {
	w := wordlock.New(c.Ctl, c.Base+Writer, c.Owners, c.Sess)
	return &Lock{
		writer: w, writing: c.Ctl.U32(c.Base + Writing), damaged: w.Damaged(),
		drained: wait.NewEvent(c.Ctl.U32(c.Base + Drained)),
		table:   shares.New(c.Ctl, c.Base+Bitmap, c.Table, c.Stride, c.Owners, c.Slot),
		sess:    c.Sess,
	}
}

// RLock takes the lock for reading. It waits while somebody writes, and behind those who waited to
// write before.
func (l *Lock) RLock(ctx context.Context) error {
	if l.enterFast() {
		return nil
	}
	recovered, err := l.writer.Lock(ctx)
	if err == nil {
		l.enterSlow(recovered)
	}
	return err
}

// TryRLock is RLock without waiting.
func (l *Lock) TryRLock() bool {
	if l.enterFast() {
		return true
	}
	ok, recovered := l.writer.TryLock()
	if ok {
		l.enterSlow(recovered)
	}
	return ok
}

func (l *Lock) enterFast() bool {
	l.table.Add(1)
	if !l.writer.Held() {
		mem.RaceAcquire(l.writing)
		return true
	}
	l.withdraw()
	return false
}

// enterSlow notes a reader with the writers' lock in hand, and gives that back.
func (l *Lock) enterSlow(recovered bool) {
	if recovered {
		l.recover()
	}
	l.table.Add(1)
	l.writer.Unlock()
}

func (l *Lock) withdraw() {
	l.table.Add(-1)
	if l.writer.Held() { // perhaps it waits for us
		l.drained.WakeAll()
	}
}

// RUnlock ends one RLock.
func (l *Lock) RUnlock() {
	mem.RaceRelease(l.writing)
	l.withdraw()
}

// Lock takes the lock for writing: alone. It waits for readers that are inside; those that come later
// wait for it.
func (l *Lock) Lock(ctx context.Context) error {
	recovered, err := l.writer.Lock(ctx)
	if err != nil {
		return err
	}
	writes := false
	defer l.giveBack(&writes)
	if recovered {
		l.recover()
	}
	err = l.table.Wait(ctx, l.sess, l.drained, func(t *shares.Table) (bool, error) { return !t.Living(), nil })
	if err == nil {
		writes = true
		l.begin()
	}
	return err
}

// giveBack gives the writers' lock back unless its holder writes. It is deferred, for the memory of the table may fault:
// others would wait for a living process that does not write.
func (l *Lock) giveBack(writes *bool) {
	if !*writes {
		l.writer.Unlock()
	}
}

// TryLock is Lock without waiting.
func (l *Lock) TryLock() (writes bool) {
	ok, recovered := l.writer.TryLock()
	if !ok {
		return false
	}
	defer l.giveBack(&writes)
	if recovered {
		l.recover()
	}
	if writes = !l.table.Living(); writes {
		l.begin()
	}
	return writes
}

func (l *Lock) begin() {
	l.writing.StoreRelease(1)
	mem.RaceAcquire(l.writing)
}

// recover notes what the dead owner of the writers' lock may have left. It may be repeated.
func (l *Lock) recover() {
	if l.writing.Load() != 0 { // else it was a reader on its way, or a writer that had not begun
		l.damaged.StoreRelease(1)
		l.writing.StoreRelease(0)
	}
}

// Unlock ends writing. Only the writer may call it.
func (l *Lock) Unlock() {
	mem.RaceRelease(l.writing)
	if l.long {
		l.long = false
		l.writer.ClearSince()
	}
	l.writing.StoreRelease(0)
	l.writer.Unlock()
}

// Damaged reports whether a writer died, and what the lock protects is not repaired yet.
func (l *Lock) Damaged() bool { return l.damaged.Load() != 0 }

// Repaired says that what the lock protects is in order again. Only the writer may say so.
func (l *Lock) Repaired() { l.damaged.StoreRelease(0) }

// MarkSince records since when the lock is held for writing. Only the writer may call it.
func (l *Lock) MarkSince() {
	l.long = true
	l.writer.MarkSince()
}

// Writing reports whether somebody, dead or alive, writes.
func (l *Lock) Writing() bool { return l.writing.Load() != 0 }

// Readers lists the processes that read, the dead too.
func (l *Lock) Readers() []shares.Entry { return l.table.All() }
