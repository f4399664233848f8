package table

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// Hash is the hash of a key, and has its bucket fetched. The memory need not be there.
func (t *Table) Hash(key string) uint64 {
	h := t.hash(key)
	t.span.Prefetch(t.bucket(h))
	return h
}

// Append appends the value of a key to dst; errs.ErrNotExist if it has none. h is the key's Hash.
func (t *Table) Append(dst []byte, key string, h uint64) (out []byte, m Meta, err error) {
	return t.get(dst, key, h, true)
}

// Stat is Append without the value.
func (t *Table) Stat(key string) (Meta, error) {
	_, m, err := t.get(nil, key, t.hash(key), false)
	return m, err
}

// Glance is Append that looks once, and neither waits nor writes; ok is false if that does not do. The memory need not be there:
// then the result may be anything, or a fault.
func (t *Table) Glance(dst []byte, key string, h uint64) (out []byte, m Meta, err error, ok bool) {
	out, m, r := t.look(dst, key, h, true)
	if r == missing {
		return dst, Meta{}, errs.ErrNotExist, true
	}
	return out, m, nil, r == found
}

// Evicts reports whether reading marks what it finds as used.
func (t *Table) Evicts() bool { return t.geo.Evict }

func (t *Table) get(dst []byte, key string, h uint64, want bool) ([]byte, Meta, error) {
	out, m, r := t.look(dst, key, h, want)
	switch r {
	case found:
		return out, m, nil
	case missing:
		return dst, Meta{}, errs.ErrNotExist
	}
	return t.getAgain(dst, key, h, want)
}

func (t *Table) getAgain(dst []byte, key string, h uint64, want bool) (out []byte, m Meta, err error) {
	r := changed
	err = t.stripeOf(h).again(context.Background(), func() result {
		out, m, r = t.look(dst, key, h, want)
		return r
	})
	if err == nil && r == missing {
		err = errs.ErrNotExist
	}
	if err != nil {
		return dst, Meta{}, err
	}
	return out, m, nil
}

const (
	patience  = 10 * time.Second      // with buckets that never stand still, and whose writers never let go
	lockSlice = 50 * time.Millisecond // long enough to stand in line (package wordlock)
	freeTries = 8
	freeTime  = 20 * time.Millisecond
)

// again reads until it gets something that stood still. A living writer may be faster, with a large value, for ever: so
// the lock has to help. Its holder may be stopped: but then nothing changes. So the lock is waited for
// in slices, which are longer the longer reading takes, for so does writing.
func (s *stripe) again(ctx context.Context, read func() result) error {
	start := time.Now()
	free := start // since when it reads without the lock
	for i := 1; ; i++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		switch read() {
		case found, missing:
			return nil
		case wrong:
			return corrupt("a bucket, or an entry in it, is not as they are")
		}
		took := time.Since(free)
		if i%freeTries != 0 && took < freeTime {
			if i > 2 {
				mem.Pause(uint32(i))
			}
			continue
		}
		if done, err := s.readLocked(ctx, max(lockSlice, 4*took), read); done {
			return err
		}
		free = time.Now()
		if free.Sub(start) > patience {
			return fmt.Errorf("%w: for %v a bucket has changed whenever it was read, and its writers' lock was not to be had", errs.ErrBusy, patience)
		}
	}
}

// readLocked reads with the lock, unless that cannot be had for a while. Where a dead writer left
// something for which the heap's lock is needed, and that is held, no writer can go on either, and
// reading needs no lock.
func (s *stripe) readLocked(ctx context.Context, slice time.Duration, read func() result) (done bool, err error) {
	short, cancel := context.WithTimeout(ctx, slice)
	defer cancel()
	recovered, err := s.lock.Lock(short)
	if err != nil {
		return !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil, err
	}
	if err := s.acquired(noWait, recovered); err != nil {
		return err != errHeapBusy, err
	}
	defer s.unlock()
	switch read() {
	case found, missing:
		return true, nil
	case wrong:
		return true, corrupt("a bucket, or an entry in it, is not as they are")
	}
	return false, nil // changed under the lock
}
