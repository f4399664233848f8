package member

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap/internal/bell"
	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/segment"
)

// Table is this process's membership of a domain, shared by all that ask for it; or what a visitor sees of the members.
type Table struct {
	file     *segment.File
	region   *mem.Region
	span     *mem.Span
	slot     int    // -1 of a visitor
	token    uint32 // 0 of a visitor
	key      key
	refs     int  // guarded by joined
	readOnly bool // a visitor without write access

	gate    sync.RWMutex // read: in use; write: closing
	claims  sync.Mutex   // claim locks are the open file's, so goroutines exclude each other by this
	closed  bool
	names   sync.Mutex // the name lock among goroutines; the file lock is among processes
	watches watches
	bell    *bell.Bell
	proved  [Slots]atomic.Uint32 // by slot: a token whose process was proved dead
}

type key struct{ dev, ino uint64 }

// joined holds the one table per domain that this process has.
var joined struct {
	sync.Mutex
	m map[key]*Table
}

// Join makes this process a member, or shares the membership that it has. Leave must follow.
func Join(dir *segment.Dir) (*Table, error) {
	joined.Lock()
	defer joined.Unlock()
	for range turns {
		f, err := openOrCreate(dir)
		if err != nil {
			return nil, beyondRepair(dir, err)
		}
		k := key{f.Dev, f.Ino}
		if t := joined.m[k]; t != nil {
			t.refs++
			return t, f.Close()
		}
		t := &Table{file: f, key: k, refs: 1, slot: -1}
		if err := t.enter(dir); err != nil {
			t.release()
			return nil, beyondRepair(dir, err)
		}
		if dir.Leads(FileName, f) == segment.Gone { // the domain was deleted under our hands
			t.release()
			continue
		}
		if joined.m == nil {
			joined.m = map[key]*Table{}
		}
		joined.m[k] = t
		return t, nil
	}
	return nil, deletedAgain(dir)
}

// turns bounds what is done again because somebody deletes files meanwhile.
const turns = 100

func deletedAgain(dir *segment.Dir) error {
	return fmt.Errorf("%w: %s/%s was made and deleted %d times in a row", errs.ErrBusy, dir.Path(), FileName, turns)
}

// openOrCreate says fs.ErrNotExist if the directory itself is gone.
func openOrCreate(dir *segment.Dir) (*segment.File, error) {
	for range turns {
		f, err := dir.Open(FileName)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		if at, err := dir.Stamp(); err == nil && at.Deleted {
			return nil, &fs.PathError{Op: "join", Path: dir.Path(), Err: fs.ErrNotExist}
		}
		if err := create(dir); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("make the table of members: %w", err)
		}
	}
	return nil, deletedAgain(dir)
}

// In reports whether this is the table of the members of that directory; segment.Gone: it was deleted or replaced, and
// nobody who joins now can know those who are in it.
func (t *Table) In(dir *segment.Dir) segment.Presence { return dir.Leads(FileName, t.file) }

// create publishes a new table. Its temporary has no member behind it yet, so the maker holds a
// lock on its first byte; a sweep that comes between making and locking takes the file away, which
// shows as fs.ErrNotExist here and starts over.
func create(dir *segment.Dir) error {
	f, err := dir.Create(fmt.Sprintf("members.%d.%08x", os.Getpid(), rand.Uint32()), fileSize)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.LockExclusive(0, 1); err != nil {
		f.Discard()
		return err
	}
	r, err := mem.Map(f.Fd(), mem.Part{Len: fileSize})
	if err != nil {
		f.Discard()
		return err
	}
	defer r.Unmap()
	initTable(r.Span(0))
	if err := f.Publish(FileName); err != nil {
		f.Discard()
		return err
	}
	return nil
}

func (t *Table) enter(dir *segment.Dir) (err error) {
	if err := t.hang(dir); err != nil {
		return err
	}
	if err := t.load(mem.Map); err != nil {
		return err
	}
	g := mem.Protect()
	defer g.Recover(&err)
	id := self()
	for _, dead := range []bool{false, true} { // free slots first, then those of the dead
		for slot := range Slots {
			used := t.span.U32(slotOff(slot)+slotState).Load() != 0
			if used != dead {
				continue
			}
			if ok, err := t.claim(slot, id); ok || err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("%w: the domain at %s has %d living members, which is the most it can hold; shiplap members shows who they are",
		errs.ErrFull, t.file.Path(), Slots)
}

// claiming is called, if set, between the end of the old owner's tokens and the beginning of the new one's: tests look
// from beside then.
var claiming func()

// claim takes a slot if nobody has it. The old owner's tokens are void from the new generation on, the
// new owner's are valid once he holds the alive lock; a death or a stop in between leaves a slot
// whose last owner is dead.
func (t *Table) claim(slot int, id identity) (ok bool, err error) {
	ok, err = t.withClaim(slot, func() error {
		if t.span.U32(slotOff(slot)+slotState).Load() != 0 {
			t.bell.Silence(slot) // of its dead owner
		}
		raiseGeneration(t.span, slot)
		if claiming != nil {
			claiming()
		}
		ok, err := t.file.LockExclusive(int64(slotOff(slot)+aliveLock), 1)
		if err == nil && !ok {
			err = fmt.Errorf("%w: somebody holds the lock of member slot %d without claiming it", errs.ErrCorrupt, slot)
		}
		if err == nil {
			t.slot, t.token = slot, writeSlot(t.span, slot, id)
		}
		return err
	})
	return ok, err
}

// withClaim runs f while this process has the claim lock of a slot without a living owner; ok is
// false if there is one, or somebody else who claims it.
func (t *Table) withClaim(slot int, f func() error) (ok bool, err error) {
	t.claims.Lock()
	defer t.claims.Unlock()
	if err := t.mayWrite(); err != nil {
		return false, err
	}
	at := int64(slotOff(slot))
	if ok, err := t.file.LockExclusive(at+claimLock, 1); !ok || err != nil {
		return false, err
	}
	alive, err := t.file.Locked(at+aliveLock, 1)
	if err == nil && !alive {
		ok, err = true, f()
	}
	return ok, errors.Join(err, t.file.Unlock(at+claimLock, 1))
}

// Leave gives up one share of the membership; with the last one the process is no member any more.
func (t *Table) Leave() error {
	joined.Lock()
	defer joined.Unlock()
	if t.refs--; t.refs > 0 {
		return nil
	}
	delete(joined.m, t.key)
	t.stopWatching()
	return t.release()
}

func (t *Table) release() error {
	t.gate.Lock()
	defer t.gate.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	var faults error
	if t.bell != nil {
		faults = t.bell.Close() // takes the FIFO away while the slot is ours
	}
	if t.token != 0 {
		faults = errors.Join(faults, t.setState(t.slot, 0))
	}
	if t.region != nil {
		t.region.Unmap()
	}
	return errors.Join(faults, t.file.Close()) // drops the lock
}

func (t *Table) setState(slot int, state uint32) (err error) {
	g := mem.Protect()
	defer g.Recover(&err)
	t.span.U32(slotOff(slot) + slotState).Store(state)
	g.Done = true
	return nil
}

// Self is the token of this process; 0 if it only visits.
func (t *Table) Self() uint32 { return t.token }

// Dead reports that the owner of a token is gone for certain: its slot has another generation by now, the kernel has
// dropped its lock, or its process was watched and seen to end (see Watch). The last tells the dead from their children,
// which have their descriptors, hence their locks, between fork and exec.
func (t *Table) Dead(token uint32) (dead bool) {
	if token == t.token && t.slot >= 0 {
		return false
	}
	if t.isProved(token) {
		return true
	}
	t.gate.RLock()
	defer t.gate.RUnlock()
	if t.closed {
		return false
	}
	var fault error
	defer func() {
		if fault != nil {
			dead = false // nothing is proved
		}
	}()
	g := mem.Protect()
	defer g.Recover(&fault)
	slot, gen := splitToken(token)
	if t.span.U32(slotOff(slot)+slotGen).Load()&genMask != gen {
		return true
	}
	locked, err := t.file.Locked(int64(slotOff(slot)+aliveLock), 1)
	return err == nil && !locked && slot != t.slot
}

// Lookup tells who a token names; ok is false when its slot has passed on.
func (t *Table) Lookup(token uint32) (in Info, ok bool) {
	slot, _ := splitToken(token)
	in, state := t.read(slot)
	if state == 0 || in.Token != token {
		return Info{Token: token}, false
	}
	in.Alive = !t.Dead(token)
	return in, true
}

func (t *Table) read(slot int) (in Info, state uint32) {
	t.gate.RLock()
	defer t.gate.RUnlock()
	if t.closed {
		return in, 0
	}
	var fault error
	g := mem.Protect()
	defer g.Recover(&fault)
	return readSlot(t.span, slot)
}

// inUse lists the tokens of all slots that are not free, those of the dead too.
func (t *Table) inUse() (tokens []uint32) {
	t.gate.RLock()
	defer t.gate.RUnlock()
	if t.closed {
		return nil
	}
	var fault error
	g := mem.Protect()
	defer g.Recover(&fault)
	for slot := range Slots {
		if t.span.U32(slotOff(slot)+slotState).Load() != 0 {
			tokens = append(tokens, makeToken(slot, t.span.U32(slotOff(slot)+slotGen).Load()))
		}
	}
	return tokens
}

// Members lists all slots in use, those of the dead too.
func (t *Table) Members() []Info {
	var all []Info
	for _, token := range t.inUse() {
		slot, _ := splitToken(token)
		if in, state := t.read(slot); state != 0 {
			in.Alive = !t.Dead(in.Token)
			all = append(all, in)
		}
	}
	return all
}

// LockNames takes the domain's name lock, which orders the removals of names. try again later if it
// is not ok: another process is at it (or was stopped in the middle).
func (t *Table) LockNames() (ok bool, err error) {
	if err := t.mayWrite(); err != nil {
		return false, err
	}
	if !t.names.TryLock() {
		return false, nil
	}
	ok, err = t.file.LockExclusive(nameLock, 1)
	if !ok {
		t.names.Unlock()
	}
	return ok, err
}

// UnlockNames gives it back.
func (t *Table) UnlockNames() error {
	defer t.names.Unlock()
	return t.file.Unlock(nameLock, 1)
}

// Slot is the number of this process's slot. A visitor has none: it gets 0, to which it can write nothing.
func (t *Table) Slot() int { return max(t.slot, 0) }
