package store

import (
	"context"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/table"
)

// SetOption says what else a change does. Without one the value does not expire, and is bytes.
type SetOption struct {
	what   uint8
	expiry table.Expiry
	time   int64
	format Format
}

const (
	setExpiry = iota
	setFormat
)

// TTL lets the value expire after d; at once if d is not positive.
func TTL(d time.Duration) SetOption {
	return SetOption{what: setExpiry, expiry: table.After, time: int64(d)}
}

// ExpireAt lets the value expire at t. The zero time is never, as in Entry.Expires.
func ExpireAt(t time.Time) SetOption {
	if t.IsZero() {
		return SetOption{what: setExpiry, expiry: table.Never}
	}
	return SetOption{what: setExpiry, expiry: table.At, time: unix(t)}
}

// KeepTTL lets the value expire when the old one would have.
func KeepTTL() SetOption { return SetOption{what: setExpiry, expiry: table.Keep} }

// Encoded notes what the bytes of the value are.
func Encoded(f Format) SetOption { return SetOption{what: setFormat, format: f} }

// unix is what stands for a time in the table, where 0 is never.
func unix(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, 1)):
		return 1
	case t.After(time.Unix(0, 1<<63-1)):
		return 1<<63 - 1
	}
	return t.UnixNano()
}

func change(c table.Condition, rev uint64, opts []SetOption) table.Change {
	ch := table.Change{Condition: c, Revision: rev}
	for _, o := range opts {
		switch o.what {
		case setExpiry:
			ch.Expiry, ch.Time = o.expiry, o.time
		case setFormat:
			ch.Format = o.format
		}
	}
	return ch
}

// Set gives a key a value and returns the revision of the change. shiplap.ErrFull says that there is no room, shiplap.ErrNoSpace besides
// that the file system has none. It waits only for other writers.
func (s *Store) Set(ctx context.Context, key string, value []byte, opts ...SetOption) (rev uint64, err error) {
	return s.set(ctx, key, value, change(table.Always, 0, opts))
}

// Create is Set of a key that has no value; shiplap.ErrExist if it has one.
func (s *Store) Create(ctx context.Context, key string, value []byte, opts ...SetOption) (rev uint64, err error) {
	return s.set(ctx, key, value, change(table.IfAbsent, 0, opts))
}

// Update is Set if the last change of the key was that with revision rev; shiplap.ErrConflict if it was another one,
// shiplap.ErrNotExist if the key has no value.
func (s *Store) Update(ctx context.Context, key string, value []byte, rev uint64, opts ...SetOption) (uint64, error) {
	return s.set(ctx, key, value, change(table.IfSame, rev, opts))
}

func (s *Store) set(ctx context.Context, key string, value []byte, c table.Change) (rev uint64, err error) {
	if !s.obj.Gate.Enter() {
		return 0, s.shut()
	}
	g := mem.Protect()
	defer func() { // spelt out: this is hot
		if g.End(); !g.Done {
			s.caught(&g, recover(), &err)
		}
		s.obj.Gate.Leave()
	}()
	if s.removed() {
		err = s.obj.Wrap(errs.ErrRemoved)
	} else if rev, err = s.t.Set(ctx, key, value, c); err != nil {
		err = s.obj.Wrap(err)
	}
	g.Done = true
	return rev, err
}

// Delete takes a key away; shiplap.ErrNotExist if it has no value.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.delete(ctx, key, table.Change{})
}

// DeleteRev is Delete if the last change of the key was that with revision rev; shiplap.ErrConflict if it was another one.
func (s *Store) DeleteRev(ctx context.Context, key string, rev uint64) error {
	return s.delete(ctx, key, table.Change{Condition: table.IfSame, Revision: rev})
}

func (s *Store) delete(ctx context.Context, key string, c table.Change) error {
	return s.call(func() error {
		_, err := s.t.Delete(ctx, key, c)
		return err
	})
}

// Add adds delta to a whole number, which stands in the store as decimal text, and returns the sum. A key without a value counts as
// 0; one with something else is shiplap.ErrIncompatible, a sum beyond 64 bits shiplap.ErrTooLarge. The time when it
// expires is not changed. With an error the sum is 0.
func (s *Store) Add(ctx context.Context, key string, delta int64) (sum int64, err error) {
	err = s.call(func() error {
		sum, _, err = s.t.Add(ctx, key, delta)
		return err
	})
	return sum, err
}

// Expire lets the value of a key expire after d; shiplap.ErrNotExist if it has none.
func (s *Store) Expire(ctx context.Context, key string, d time.Duration) error {
	return s.expire(ctx, key, TTL(d))
}

// Persist undoes Expire.
func (s *Store) Persist(ctx context.Context, key string) error {
	return s.expire(ctx, key, SetOption{what: setExpiry, expiry: table.Never})
}

func (s *Store) expire(ctx context.Context, key string, o SetOption) error {
	return s.call(func() error {
		_, err := s.t.Expire(ctx, key, change(table.Always, 0, []SetOption{o}))
		return err
	})
}

// Clear takes all keys away, as one change. Their memory comes back little by little.
func (s *Store) Clear(ctx context.Context) error {
	return s.call(func() error { return s.t.Clear(ctx) })
}

// Reclaim takes back the memory of all that has expired or was cleared, at once instead of little by little, and returns how many
// entries that were. Others get their turns in between.
func (s *Store) Reclaim(ctx context.Context) (n int, err error) {
	err = s.call(func() error {
		n, err = s.t.Reclaim(ctx)
		return err
	})
	return n, err
}
