// Package message turns Go values into the bytes of messages and back, by their type's descriptor: what typed
// handles have above raw ones.
package message

import (
	"bytes"
	"fmt"
	"reflect"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

// Coder of elements of type T. It may be copied, and used concurrently.
type Coder[T any] struct {
	Desc  schema.Descriptor
	check func([]byte) error // of decoded fixed layouts, nil when any bytes will do
}

// New describes T under a codec.
func New[T any](codec schema.Codec) (c Coder[T], err error) {
	c.Desc, err = schema.Describe(reflect.TypeFor[T](), codec)
	if err == nil && c.Desc.Fixed {
		c.check = c.Desc.Checker()
	}
	return c, err
}

// Matches compares with what an object says of its elements: nil, or errs.ErrIncompatible with both.
func (c *Coder[T]) Matches(text string, hash uint64) error {
	if text == c.Desc.Text && hash == c.Desc.Hash {
		return nil
	}
	have, err := schema.Parse(text)
	if err != nil {
		return err
	}
	if have.Hash != hash {
		return fmt.Errorf("%w: the hash of the type descriptor does not fit it", errs.ErrCorrupt)
	}
	return schema.Incompatible(have, c.Desc)
}

// Bytes is *v itself where elements are bytes or of fixed layout.
func (c *Coder[T]) Bytes(v *T) ([]byte, bool) {
	if c.Desc.Fixed {
		return mem.AsBytes(v), true
	}
	if c.Desc.Codec != schema.Raw {
		return nil, false
	}
	switch p := any(v).(type) {
	case *[]byte:
		return *p, true
	case *string:
		return []byte(*p), true
	}
	return nil, false
}

// Append appends the bytes of v.
func (c *Coder[T]) Append(dst []byte, v T) ([]byte, error) {
	if c.Desc.Fixed {
		return append(dst, mem.AsBytes(&v)...), nil
	}
	if c.Desc.Codec != schema.Raw {
		return c.Desc.Codec.Append(dst, &v)
	}
	b, _ := c.Bytes(&v)
	return append(dst, b...), nil
}

// Many is the bytes of each element; they may be the elements' own memory.
func (c *Coder[T]) Many(vs []T) ([][]byte, error) {
	msgs := make([][]byte, len(vs))
	for i := range vs {
		b, ok := c.Bytes(&vs[i])
		if !ok {
			var err error
			if b, err = c.Desc.Codec.Append(nil, &vs[i]); err != nil {
				return nil, fmt.Errorf("element %d: %w", i, err)
			}
		}
		msgs[i] = b
	}
	return msgs, nil
}

// Decode reads one element from bytes that nobody else can change. Nothing in *v refers to them afterwards.
func (c *Coder[T]) Decode(b []byte, v *T) error {
	if c.Desc.Fixed {
		if len(b) != c.Desc.Size {
			return fmt.Errorf("%w: a message of %d bytes, elements have %d", errs.ErrCorrupt, len(b), c.Desc.Size)
		}
		copy(mem.AsBytes(v), b)
		if c.check != nil {
			if err := c.check(mem.AsBytes(v)); err != nil {
				clear(mem.AsBytes(v)) // nobody must see a bool that is neither
				return err
			}
		}
		return nil
	}
	if c.Desc.Codec != schema.Raw {
		return c.Desc.Codec.Decode(b, v)
	}
	switch p := any(v).(type) {
	case *[]byte:
		*p = append((*p)[:0], b...)
	case *string:
		*p = string(b)
	}
	return nil
}

// Own is what Decode can read of bytes that others may change meanwhile: a copy, where a decoder reads its
// input more than once.
func (c *Coder[T]) Own(b []byte) []byte {
	if c.Desc.Fixed || c.Desc.Codec == schema.Raw {
		return b
	}
	return bytes.Clone(b)
}
