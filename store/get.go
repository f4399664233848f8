package store

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/table"
)

// Format is what the bytes of a value are.
type Format = table.Format

// Formats.
const (
	FormatBytes = table.Bytes // text, decimal numbers, anything
	FormatCBOR  = table.CBOR
	FormatJSON  = table.JSON
)

// Entry is a key and what it has.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64    // of its last change, among those of the key
	Expires  time.Time // zero: never
	Format   Format
}

func entryOf(e table.Entry) Entry {
	return Entry{Key: e.Key, Value: e.Value, Revision: e.Revision, Expires: timeOf(e.Expires), Format: e.Format}
}

func timeOf(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// Get returns the value of a key; shiplap.ErrNotExist if it has none. It waits for nobody: it sees the last value that
// was committed. Only where others change what stands beside the key faster than it can be copied does it take a writers' lock; shiplap.ErrBusy
// says that it got neither for ten seconds.
func (s *Store) Get(key string) ([]byte, error) {
	b, err := s.Append(nil, key)
	if err == nil && b == nil {
		b = []byte{}
	}
	return b, err
}

// Append is Get that appends the value to dst. With room enough in dst nothing is allocated.
func (s *Store) Append(dst []byte, key string) ([]byte, error) {
	b, _, err := s.read(dst, key)
	return b, err
}

func (s *Store) read(dst []byte, key string) ([]byte, table.Meta, error) {
	h := s.t.Hash(key) // fetches while the guard is passed
	if s.ungated {
		if out, m, err, ok := s.glance(dst, key, h); ok {
			return out, m, err
		}
	}
	return s.readInside(dst, key, h)
}

// glance reads without the gate, whose two atomic operations would cost a fifth of a Get: it looks first, and afterwards whether the
// memory was there all the time. If the handle is closed meanwhile, what it reads is thrown away, or it faults. It must not
// write. ok is false if the long way is to be taken.
func (s *Store) glance(dst []byte, key string, h uint64) (out []byte, m table.Meta, err error, ok bool) {
	if s.closed.Load() {
		return dst, m, nil, false
	}
	g := mem.Protect()
	defer func() {
		if g.End(); !g.Done {
			if v := recover(); v != nil && !mem.IsFault(v) {
				panic(v)
			}
			out, ok = dst, false
		}
	}()
	out, m, err, ok = s.t.Glance(dst, key, h)
	ok = ok && !s.removed() && !s.closed.Load()
	g.Done = true
	if !ok {
		return dst, m, nil, false
	}
	n := &s.hits
	if err != nil {
		n = &s.misses
	}
	k := n.Load() + 1
	n.StoreOrdered(k) // of two at a time one may be lost
	if k%tellEvery == 0 {
		_ = s.call(func() error { s.tell(); return nil })
	}
	return out, m, err, true
}

// readInside is the long way.
func (s *Store) readInside(dst []byte, key string, h uint64) (out []byte, m table.Meta, err error) {
	if !s.obj.Gate.Enter() {
		return dst, m, s.shut()
	}
	g := mem.Protect()
	defer func() { // spelt out: this is hot
		if g.End(); !g.Done {
			s.caught(&g, recover(), &err)
			out = dst
		}
		s.obj.Gate.Leave()
	}()
	out, m, err = s.t.Append(dst, key, h)
	if err == nil && !s.removed() {
		n := s.hits.Load() + 1
		s.hits.StoreOrdered(n) // of two at a time one may be lost
		if n%tellEvery == 0 {
			s.tell()
		}
		g.Done = true
		return out, m, nil
	}
	out, err = dst, s.missed(err)
	g.Done = true
	return out, m, err
}

// missed is the error of a read that found nothing. That a key does not exist is said as it is: it is no rarity.
func (s *Store) missed(err error) error {
	if s.removed() {
		return s.obj.Wrap(errs.ErrRemoved)
	}
	if err == errs.ErrNotExist {
		n := s.misses.Load() + 1
		s.misses.StoreOrdered(n)
		if n%tellEvery == 0 {
			s.tell()
		}
		return err
	}
	return s.obj.Wrap(err)
}

// GetOr is Get with a value for keys that have none.
func (s *Store) GetOr(key string, def []byte) ([]byte, error) {
	b, err := s.Get(key)
	if err == errs.ErrNotExist {
		return def, nil
	}
	return b, err
}

// Entry returns the value of a key and what else is known of it, as of one moment.
func (s *Store) Entry(key string) (Entry, error) {
	b, m, err := s.read([]byte{}, key)
	if err != nil {
		return Entry{}, err
	}
	return entryOf(table.Entry{Key: key, Value: b, Meta: m}), nil
}

// Has reports whether a key has a value.
func (s *Store) Has(key string) (bool, error) {
	err := s.call(func() error {
		_, err := s.t.Stat(key)
		return err
	})
	if errors.Is(err, errs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// TTL returns for how long a key will have its value: 0 if for ever; shiplap.ErrNotExist if it has none.
func (s *Store) TTL(key string) (left time.Duration, err error) {
	err = s.call(func() error {
		m, err := s.t.Stat(key)
		if err == nil && m.Expires != 0 {
			left = max(time.Until(time.Unix(0, m.Expires)), 1)
		}
		return err
	})
	return left, err
}

// Len is the number of keys, those included that have expired and whose memory did not come back yet.
func (s *Store) Len() (n int, err error) {
	err = s.call(func() error {
		n = s.t.Len()
		return nil
	})
	return n, err
}

// Revision is the number of changes so far.
func (s *Store) Revision() (rev uint64, err error) {
	err = s.call(func() error {
		rev = s.t.Revision()
		return nil
	})
	return rev, err
}

// All returns the entries whose keys begin with prefix, sorted, all as they were at one moment. Only if
// the store changes all the time it takes the writers' locks for that. Then it waits, until ctx is
// done, for each writer that is in the middle of a change, a stopped one too; nobody else waits
// because of that for longer than it takes All to read. Scan waits for no writer.
func (s *Store) All(ctx context.Context, prefix string) ([]Entry, error) {
	return s.all(ctx, prefix, true)
}

func (s *Store) all(ctx context.Context, prefix string, values bool) (all []Entry, err error) {
	err = s.call(func() error {
		some, err := s.t.All(ctx, prefix, values)
		all = make([]Entry, len(some))
		for i, e := range some {
			all[i] = entryOf(e)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
	return all, nil
}

// Keys returns the keys that begin with prefix, as All does.
func (s *Store) Keys(ctx context.Context, prefix string) ([]string, error) {
	all, err := s.all(ctx, prefix, false)
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(all))
	for i, e := range all {
		keys[i] = e.Key
	}
	return keys, nil
}

// Scan yields the entries whose keys begin with prefix, in no order, each as it is at some moment, without holding more than some
// of them at a time: for stores too large for All. An error comes last.
func (s *Store) Scan(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for next := 0; next >= 0; {
			var some []table.Entry
			err := s.call(func() (err error) {
				some, next, err = s.t.Scan(ctx, next, prefix)
				return err
			})
			for _, e := range some {
				if !yield(entryOf(e), nil) {
					return
				}
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
		}
	}
}
