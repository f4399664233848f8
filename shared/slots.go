package shared

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
)

// slots are n ≥ 2 places for one thing of which there are versions; version v stands in place v mod n.
//
// A writer, who holds the writer lock, fills the place of version+1 and stores the new version: the commit. Whatever
// dies before leaves the last version as it was, and nothing to repair. A reader loads the version, copies its place,
// and loads the version again: place v is written to only when version v+n-1 is out, so what it has is whole if
// at most n-2 versions came meanwhile. It stores nothing, and needs no living writer.
//
// Orders. Writer: the version store is a release store, so what was filled comes before it. The next filling comes
// after it: it comes after the lock was taken, which is an acquire load, which is not done before an earlier release
// store (STLR, LDAR on arm64; on amd64 stores stay in order anyway). Reader: the first load is an acquire load;
// the store in fence is a release store, before which all loads of the copy are done, and the second load, an acquire
// load, is not done before that.
type slots struct {
	h       *handle
	span    *mem.Span
	base    int
	stride  int
	size    int
	n       uint64
	fromOne bool // version 0 is nothing
}

const (
	maxVersion = 1 << 62 // more were never written
	readTries  = 64
	readRounds = 200
	readWait   = 5 * time.Millisecond
)

func (s *slots) bytes(v uint64) []byte { return s.span.Bytes(s.base+int(v%s.n)*s.stride, s.size) }

// version is the newest one.
func (s *slots) version() (uint64, error) {
	v := s.h.word.Load()
	if v == 0 && s.fromOne {
		return 0, errs.ErrEmpty
	}
	if v > maxVersion {
		return 0, fmt.Errorf("%w: version %d", errs.ErrCorrupt, v)
	}
	return v, nil
}

// still reports whether what was read of version v before is whole.
func (s *slots) still(v uint64) bool {
	var fence mem.U32
	fence.Store(1)
	return s.h.word.Load()-v <= s.n-2
}

// read copies the newest version into dst, of size bytes.
func (s *slots) read(dst []byte) (uint64, error) {
	for range readRounds {
		for i := range readTries {
			v, err := s.version()
			if err != nil {
				return 0, err
			}
			copy(dst, s.bytes(v))
			if s.still(v) {
				mem.RaceAcquire(s.h.changed.Word())
				return v, nil
			}
			mem.Pause(uint32(1 + i))
		}
		// Writers are faster than we copy: stand behind them. If one is stopped with the lock, its
		// version stays, and the next round reads it.
		v, err := s.readBehind(dst)
		if !errors.Is(err, context.DeadlineExceeded) {
			return v, err
		}
		if err := s.h.obj.Err(); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("%w: it changed %d times while it was being copied, and its writer lock was not to be had within %v",
		errs.ErrBusy, readRounds*readTries, readRounds*readWait)
}

func (s *slots) readBehind(dst []byte) (uint64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), readWait)
	defer cancel()
	if _, err := s.h.writer.Lock(ctx); err != nil {
		return 0, err
	}
	defer s.h.writer.Unlock()
	return s.readLocked(dst)
}

// readLocked copies the newest version for the holder of the writer lock.
func (s *slots) readLocked(dst []byte) (uint64, error) {
	v, err := s.version()
	if err == nil {
		copy(dst, s.bytes(v))
	}
	return v, err
}

// next is the version that the holder of the writer lock is to write, and its place.
func (s *slots) next() (uint64, []byte, error) {
	v := s.h.word.Load()
	if v >= maxVersion {
		return 0, nil, fmt.Errorf("%w: version %d", errs.ErrCorrupt, v)
	}
	return v + 1, s.bytes(v + 1), nil
}

// commit publishes version v, whose place the caller, who holds the writer lock, has filled. It wakes nobody.
func (s *slots) commit(v uint64) {
	mem.RaceRelease(s.h.changed.Word())
	s.h.word.StoreRelease(v)
}

// publish fills the next place by fill, and commits it.
func (s *slots) publish(ctx context.Context, fill func(place []byte) error) (v uint64, err error) {
	if _, err := s.h.writer.Lock(ctx); err != nil {
		return 0, err
	}
	if v, err = s.publishUnlock(fill); err == nil {
		s.h.changed.WakeAll()
	}
	return v, err
}

// publishUnlock gives the lock back also when fill panics or the memory faults.
func (s *slots) publishUnlock(fill func(place []byte) error) (uint64, error) {
	defer s.h.writer.Unlock()
	if err := s.h.obj.Err(); err != nil {
		return 0, err
	}
	v, place, err := s.next()
	if err == nil {
		err = fill(place)
	}
	if err != nil {
		return 0, err
	}
	s.commit(v)
	return v, nil
}

// newer is ready when the version is not v any more.
type newer struct {
	word *mem.U64
	v    uint64
}

func (n *newer) Ready() bool { return n.word.Load() != n.v }
