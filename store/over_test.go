package store

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A call whose context is over when it begins returns that, and changes nothing.
func TestContextIsOver(t *testing.T) {
	s := create(t, domain(t), nil)
	_, err := s.Set(bg, "a", []byte("old"))
	ok(t, err)
	_, err = s.Set(bg, "expires", nil, TTL(time.Hour))
	ok(t, err)
	before, err := s.Stats()
	ok(t, err)

	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(bg)
	cancel(why)
	calls := blocking(s)
	calls["Lock, another key"] = func(ctx context.Context) error {
		l, err := s.Lock(ctx, "free")
		if l != nil {
			err = errors.Join(err, l.Unlock())
		}
		return err
	}
	calls["All"] = func(ctx context.Context) error {
		_, err := s.All(ctx, "")
		return err
	}
	calls["Scan"] = func(ctx context.Context) error {
		for _, err := range s.Scan(ctx, "") {
			return err
		}
		return nil
	}
	for name, call := range calls {
		if err := call(ctx); !errors.Is(err, why) {
			t.Errorf("%s: %v", name, err)
		}
	}
	after, err := s.Stats()
	ok(t, err)
	if after.Revision != before.Revision || len(after.Locks) > 0 {
		t.Errorf("revision %d became %d, %d keys are locked", before.Revision, after.Revision, len(after.Locks))
	}
}

// The zero time is "never" in an entry, so it is in a change as well.
func TestExpireAtZeroTime(t *testing.T) {
	s := create(t, domain(t), nil)
	_, err := s.Set(bg, "a", []byte("1"))
	ok(t, err)
	e, err := s.Entry("a")
	ok(t, err)
	_, err = s.Set(bg, "copy", e.Value, ExpireAt(e.Expires))
	ok(t, err)
	c, err := s.Entry("copy")
	ok(t, err)
	if !c.Expires.IsZero() {
		t.Errorf("the copy expires at %v", c.Expires)
	}
	_, err = s.Set(bg, "long ago", nil, ExpireAt(time.Unix(0, 0)))
	ok(t, err)
	if has, err := s.Has("long ago"); has || err != nil {
		t.Errorf("%v, %v", has, err)
	}
}

func TestAddBeyond64Bits(t *testing.T) {
	s := create(t, domain(t), nil)
	_, err := s.Add(bg, "n", 1<<62)
	ok(t, err)
	if sum, err := s.Add(bg, "n", 1<<62); sum != 0 || err == nil {
		t.Errorf("%d, %v", sum, err)
	}
}
