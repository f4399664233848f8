package table

import (
	"context"
	"errors"
	"time"
)

// Holding locks. This file decides what is finished when a lock is taken, what is told when one is
// given back, and who may wait for which lock:
//
//   - A writer takes the lock of one stripe, then, if it needs blocks, the heap's. It waits for
//     both until its context ends.
//   - A writer that has the lock of a stripe and needs another stripe only tries.
//   - All stripes are taken by acquireAll, which waits for one with empty hands.
//   - Readers and watchers take a stripe's lock to keep writers out, or to finish what a dead one
//     left. They never wait for the heap's: if that cannot be had at once they give the stripe back.

// acquire takes the writer lock and finishes what its holders before left. Every change begins with it, or with
// acquireAll: if its context is over by then it does not happen.
func (s *stripe) acquire(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	recovered, err := s.lock.Lock(ctx)
	if err != nil {
		return err
	}
	return s.acquired(ctx, recovered)
}

// tryAcquire is acquire if no living process has the lock. With noWait it does not wait for
// the heap's lock either: errHeapBusy.
func (s *stripe) tryAcquire(ctx context.Context) (ok, recovered bool, err error) {
	if ok, recovered = s.lock.TryLock(); !ok {
		return false, false, nil
	}
	if err = s.acquired(ctx, recovered); err != nil {
		return false, recovered, err
	}
	return true, recovered, nil
}

// acquired begins a hold of the lock. With an error the lock is given back.
func (s *stripe) acquired(ctx context.Context, recovered bool) error {
	s.ctx, s.began, s.ring = ctx, s.revision.Load(), recovered
	if recovered {
		s.unsettled.StoreOrdered(1)
	}
	if s.armed.Load()|s.pending[0].Load()|s.pending[1].Load()|s.clearing.Load()|s.unsettled.Load() == 0 {
		return nil
	}
	return s.finish()
}

func (s *stripe) finish() (err error) {
	done := false
	defer func() { // also when the memory faults
		if !done {
			s.unlock()
		}
	}()
	err = s.recover()
	done = err == nil
	return err
}

// recover finishes what holders before left. What a dead one left in the heap comes first: a row
// there may put a block into its hands, or take one out of them. It may be cut short at any point,
// and done again by the next.
func (s *stripe) recover() error {
	if s.unsettled.Load() != 0 {
		if err := s.lockHeap(); err != nil {
			return err
		}
		s.unlockHeap()
		s.unsettled.StoreOrdered(0)
	}
	if err := s.row.again(s.Table); err != nil {
		return err
	}
	if e := s.clearing.Load(); e != 0 {
		if e == s.epoch.Load() {
			s.clear()
		} else {
			s.clearing.StoreOrdered(0) // it never began
		}
	}
	return s.emptyHands()
}

// emptyHands frees the blocks that the pending words name. Nobody stores over a pending word that
// is not 0, unless the same row puts the block somewhere else: the block would be lost. So each row
// that takes a block into the holder's hands comes after an emptyHands without error in the same
// hold of the lock. An error leaves the words as they are, for the next emptyHands, in this hold or
// in the next one (acquired).
func (s *stripe) emptyHands() error {
	if s.pending[0].Load()|s.pending[1].Load() == 0 {
		return nil // as a rule
	}
	return s.freeHands()
}

func (s *stripe) freeHands() error {
	for i, p := range s.pending {
		v := p.Load()
		if v == 0 {
			continue
		}
		if v > uint64(s.end) {
			return corrupt("the block in the writer's hands begins at granule %d of %d", v, s.end)
		}
		if err := s.release(i); err != nil {
			return err
		}
	}
	return nil
}

// unlock gives the lock back, and tells watchers if anything has changed since it was taken.
func (s *stripe) unlock() {
	if s.letGo() {
		s.event.WakeAll()
	}
}

// letGo is unlock that leaves the telling to its caller.
func (s *stripe) letGo() (changed bool) {
	changed = s.ring || s.revision.Load() != s.began
	s.ctx = nil
	s.lock.Unlock()
	return changed
}

// How long acquireAll stands with some locks in its hands and wants the next. Each time that this
// does not do it waits with empty hands, and then stands for longer: writers that copy large values
// have their locks nearly all the time.
const (
	standFirst = 100 * time.Microsecond
	standMost  = time.Second
)

// acquireAll takes the locks of all stripes. A writer that is stopped holds up only those who wait
// for its stripe, and not the other stripes for as long as somebody waits for all: that one has the
// others' locks for a moment only.
func (t *Table) acquireAll(ctx context.Context) error {
	for stand := standFirst; ; stand = min(2*stand, standMost) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		missing, err := t.tryAll(ctx, stand)
		if missing == nil || err != nil {
			return err
		}
		if err := missing.acquire(ctx); err != nil {
			return err
		}
		missing.unlock()
	}
}

// tryAll takes the locks of all stripes, in their order, or none: then missing is the stripe whose
// lock was not to be had.
func (t *Table) tryAll(ctx context.Context, stand time.Duration) (missing *stripe, err error) {
	n := 0
	defer func() { // also when the memory faults
		if n < len(t.stripes) {
			t.unlockFirst(n)
		}
	}()
	for ; n < len(t.stripes); n++ {
		s := &t.stripes[n]
		ok, _, err := s.tryAcquire(noWait)
		if err == errHeapBusy || err == nil && !ok {
			ok, err = s.standFor(ctx, stand)
		}
		if err != nil {
			return nil, err
		}
		if !ok {
			return s, nil
		}
		s.ctx = ctx
	}
	return nil, nil
}

// standFor is acquire that gives up after a while.
func (s *stripe) standFor(ctx context.Context, d time.Duration) (ok bool, err error) {
	short, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if err := s.acquire(short); err != nil {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
		return false, err
	}
	return true, nil
}

func (t *Table) unlockAll() { t.unlockFirst(len(t.stripes)) }

func (t *Table) unlockFirst(n int) {
	changed := false
	for i := range n {
		changed = t.stripes[i].letGo() || changed
	}
	if changed {
		t.event.WakeAll()
	}
}

// noWait stands for a caller that does not wait for the heap's lock.
var noWait context.Context

// errHeapBusy: the heap's lock is held, and this caller does not wait for it.
var errHeapBusy = errors.New("the heap is locked")

// lockHeap takes the heap's lock and finishes what a dead holder left.
func (s *stripe) lockHeap() error {
	if s.ctx == noWait {
		if ok, _ := s.heapLock.TryLock(); !ok {
			return errHeapBusy
		}
	} else if _, err := s.heapLock.Lock(s.ctx); err != nil {
		return err
	}
	if s.heapRow.armed.Load() == 0 {
		return nil
	}
	done := false
	defer func() { // also when the memory faults
		if !done {
			s.unlockHeap()
		}
	}()
	err := s.heapRow.again(s.Table)
	done = err == nil
	return err
}

// unlockHeap gives the heap's lock back. A row that a fault has cut short will be done by the
// heap's next holder, and may be about our pending words: the stripe's next holder has to see to
// that first, as after a death.
func (s *stripe) unlockHeap() {
	defer s.heapLock.Unlock()
	if s.heapRow.armed.Load() != 0 {
		s.unsettled.StoreOrdered(1)
	}
}

// Settle finishes what dead writers began, and reports whether there was such a thing: watchers
// look for changes that were made and not told. It does not wait. What needs the heap's lock while
// somebody else has that is left for the next call.
func (t *Table) Settle() (did bool, err error) {
	for i := range t.stripes {
		s := &t.stripes[i]
		begun := s.armed.Load()|s.clearing.Load() != 0
		if !s.lock.Held() && !begun {
			continue
		}
		ok, recovered, err := s.tryAcquire(noWait)
		if ok {
			s.unlock()
		}
		if err != nil && err != errHeapBusy {
			return did, err
		}
		did = did || recovered || ok && begun
	}
	return did, nil
}
