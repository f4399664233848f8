package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/schema"
	"github.com/shiplap-ipc/shiplap/internal/table"
)

// Get returns the value of a key as a T; shiplap.ErrNotExist if it has none, shiplap.ErrIncompatible if it holds something else.
func Get[T any](s *Store, key string) (T, error) { return As[T](s).Get(key) }

// GetOr is Get with a value for keys that have none.
func GetOr[T any](s *Store, key string, def T) (T, error) { return As[T](s).GetOr(key, def) }

// Set gives a key a value and returns the revision of the change.
func Set[T any](ctx context.Context, s *Store, key string, v T, opts ...SetOption) (uint64, error) {
	return As[T](s).Set(ctx, key, v, opts...)
}

// Typed is a view of a store whose values are Ts. It needs no Close. All methods may be called concurrently.
type Typed[T any] struct{ s *Store }

// As views the values of a store as Ts. Keys that hold something else may be there as well.
func As[T any](s *Store) Typed[T] { return Typed[T]{s} }

// TypedEntry is a key and what it has.
type TypedEntry[T any] struct {
	Key      string
	Value    T
	Revision uint64    // of its last change
	Expires  time.Time // zero: never
}

// TypedEvent is what a watcher is told: an entry, or, with Deleted, that its key has no value any more.
type TypedEvent[T any] struct {
	TypedEntry[T]
	Deleted bool
}

// Store is the store behind the view.
func (t Typed[T]) Store() *Store { return t.s }

// Get returns the value of a key; shiplap.ErrNotExist if it has none, shiplap.ErrIncompatible if that is no T.
func (t Typed[T]) Get(key string) (T, error) {
	e, err := t.Entry(key)
	return e.Value, err
}

// GetOr is Get with a value for keys that have none.
func (t Typed[T]) GetOr(key string, def T) (T, error) {
	v, err := t.Get(key)
	if err == errs.ErrNotExist {
		return def, nil
	}
	return v, err
}

// Entry is Get with what else is known of the key.
func (t Typed[T]) Entry(key string) (TypedEntry[T], error) {
	e, err := t.s.Entry(key)
	if err != nil {
		return TypedEntry[T]{}, err
	}
	return t.decode(e)
}

func (t Typed[T]) decode(e Entry) (typed TypedEntry[T], err error) {
	typed = TypedEntry[T]{Key: e.Key, Revision: e.Revision, Expires: e.Expires}
	if err = decode(e.Value, e.Format, &typed.Value); err != nil {
		var zero T
		typed.Value = zero
		err = t.s.obj.Wrap(fmt.Errorf("key %q: %w", e.Key, err))
	}
	return typed, err
}

// Set gives a key a value: see Store.Set.
func (t Typed[T]) Set(ctx context.Context, key string, v T, opts ...SetOption) (rev uint64, err error) {
	return t.set(ctx, key, v, change(table.Always, 0, opts))
}

// Create is Set of a key that has no value; shiplap.ErrExist if it has one.
func (t Typed[T]) Create(ctx context.Context, key string, v T, opts ...SetOption) (rev uint64, err error) {
	return t.set(ctx, key, v, change(table.IfAbsent, 0, opts))
}

// Update is Set if the last change of the key was that with revision rev: see Store.Update.
func (t Typed[T]) Update(ctx context.Context, key string, v T, rev uint64, opts ...SetOption) (uint64, error) {
	return t.set(ctx, key, v, change(table.IfSame, rev, opts))
}

func (t Typed[T]) set(ctx context.Context, key string, v T, c table.Change) (uint64, error) {
	b, f, err := encode(&v, t.s.codec)
	if err != nil {
		return 0, t.s.obj.Wrap(fmt.Errorf("key %q: %w", key, err))
	}
	c.Format = f
	return t.s.set(ctx, key, b, c)
}

// All returns the entries whose keys begin with prefix: see Store.All. It fails if one of them is no T.
func (t Typed[T]) All(ctx context.Context, prefix string) ([]TypedEntry[T], error) {
	all, err := t.s.All(ctx, prefix)
	if err != nil {
		return nil, err
	}
	typed := make([]TypedEntry[T], len(all))
	for i, e := range all {
		if typed[i], err = t.decode(e); err != nil {
			return nil, err
		}
	}
	return typed, nil
}

// Watch yields changes: see Store.Watch. A value that is no T comes with an error of its own, and does not end it.
func (t Typed[T]) Watch(ctx context.Context, pattern string, opt *WatchOptions) iter.Seq2[TypedEvent[T], error] {
	events := t.s.Watch(ctx, pattern, opt)
	return func(yield func(TypedEvent[T], error) bool) {
		for e, err := range events {
			var typed TypedEvent[T]
			switch {
			case err != nil:
			case e.Deleted:
				typed = TypedEvent[T]{TypedEntry[T]{Key: e.Key}, true}
			default:
				typed.TypedEntry, err = t.decode(e.Entry)
			}
			if !yield(typed, err) {
				return
			}
		}
	}
}

// encode turns a value into bytes. Text and whole numbers stay readable for everybody.
func encode(p any, codec Codec) ([]byte, Format, error) {
	switch v := p.(type) {
	case *[]byte:
		return *v, FormatBytes, nil
	case *string:
		return []byte(*v), FormatBytes, nil
	case *int, *int8, *int16, *int32, *int64, *uint, *uint8, *uint16, *uint32, *uint64:
		return appendWhole(v), FormatBytes, nil
	}
	f := FormatCBOR
	if codec == schema.JSON {
		f = FormatJSON
	}
	b, err := codec.Append(nil, p)
	return b, f, err
}

func appendWhole(p any) []byte {
	switch v := p.(type) {
	case *int:
		return strconv.AppendInt(nil, int64(*v), 10)
	case *int8:
		return strconv.AppendInt(nil, int64(*v), 10)
	case *int16:
		return strconv.AppendInt(nil, int64(*v), 10)
	case *int32:
		return strconv.AppendInt(nil, int64(*v), 10)
	case *int64:
		return strconv.AppendInt(nil, *v, 10)
	case *uint:
		return strconv.AppendUint(nil, uint64(*v), 10)
	case *uint8:
		return strconv.AppendUint(nil, uint64(*v), 10)
	case *uint16:
		return strconv.AppendUint(nil, uint64(*v), 10)
	case *uint32:
		return strconv.AppendUint(nil, uint64(*v), 10)
	}
	return strconv.AppendUint(nil, *p.(*uint64), 10)
}

// decode turns bytes, which are ours alone, into *p.
func decode(b []byte, f Format, p any) error {
	switch f {
	case FormatCBOR:
		return schema.CBOR.Decode(b, p)
	case FormatJSON:
		return schema.JSON.Decode(b, p)
	}
	switch v := p.(type) {
	case *[]byte:
		*v = b
	case *string:
		*v = string(b)
	default:
		return whole(b, p)
	}
	return nil
}

func whole(b []byte, p any) (err error) {
	text := string(b)
	signed := func(bits int) (n int64) {
		n, err = strconv.ParseInt(text, 10, bits)
		return n
	}
	unsigned := func(bits int) (n uint64) {
		n, err = strconv.ParseUint(text, 10, bits)
		return n
	}
	switch v := p.(type) {
	case *int:
		*v = int(signed(strconv.IntSize))
	case *int8:
		*v = int8(signed(8))
	case *int16:
		*v = int16(signed(16))
	case *int32:
		*v = int32(signed(32))
	case *int64:
		*v = signed(64)
	case *uint:
		*v = uint(unsigned(strconv.IntSize))
	case *uint8:
		*v = uint8(unsigned(8))
	case *uint16:
		*v = uint16(unsigned(16))
	case *uint32:
		*v = uint32(unsigned(32))
	case *uint64:
		*v = unsigned(64)
	default:
		return fmt.Errorf("%w: the value is %d bytes that nobody encoded, and no %T", errs.ErrIncompatible, len(b), p)
	}
	if errors.Is(err, strconv.ErrRange) || errors.Is(err, strconv.ErrSyntax) {
		return fmt.Errorf("%w: the value %.40q is no %T", errs.ErrIncompatible, text, p)
	}
	return nil
}
