package queue

import (
	"fmt"
	"reflect"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/mem"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

// coder turns elements into bytes and back, by the descriptor.
type coder[T any] struct {
	desc  schema.Descriptor
	check func([]byte) error // of decoded fixed layouts, nil when any bytes will do
}

func newCoder[T any](opt *Options) (c coder[T], err error) {
	codec := schema.Auto
	if opt != nil {
		codec = opt.Codec
	}
	c.desc, err = schema.Describe(reflect.TypeFor[T](), codec)
	if err == nil && c.desc.Fixed {
		c.check = c.desc.Checker()
	}
	return c, err
}

// matches compares with what an opened queue says of itself.
func (c *coder[T]) matches(q *Raw) error {
	if q.obj.Desc == c.desc.Text && q.obj.DescHash == c.desc.Hash {
		return nil
	}
	have, err := schema.Parse(q.obj.Desc)
	if err != nil {
		return err
	}
	if have.Hash != q.obj.DescHash {
		return fmt.Errorf("%w: the hash of the type descriptor does not fit it", errs.ErrCorrupt)
	}
	return schema.Incompatible(have, c.desc)
}

// asBytes is v itself where elements are bytes or of fixed layout.
func (c *coder[T]) asBytes(v *T) ([]byte, bool) {
	if c.desc.Fixed {
		return mem.AsBytes(v), true
	}
	if c.desc.Codec != schema.Raw {
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

func (c *coder[T]) append(dst []byte, v T) ([]byte, error) {
	if b, ok := c.asBytes(&v); ok {
		return append(dst, b...), nil
	}
	return c.desc.Codec.Append(dst, v)
}

func (c *coder[T]) many(vs []T) ([][]byte, error) {
	msgs := make([][]byte, len(vs))
	for i := range vs {
		b, ok := c.asBytes(&vs[i])
		if !ok {
			var err error
			if b, err = c.desc.Codec.Append(nil, vs[i]); err != nil {
				return nil, fmt.Errorf("element %d: %w", i, err)
			}
		}
		msgs[i] = b
	}
	return msgs, nil
}

// decode reads one element from bytes that are ours or are copied once: what is checked is the copy.
func (c *coder[T]) decode(b []byte, v *T) error {
	if c.desc.Fixed {
		if len(b) != c.desc.Size {
			return fmt.Errorf("%w: a message of %d bytes, elements have %d", errs.ErrCorrupt, len(b), c.desc.Size)
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
	if c.desc.Codec != schema.Raw {
		// A decoder reads its input more than once; a peer may change the queue's own memory meanwhile.
		return c.desc.Codec.Decode(append([]byte(nil), b...), v)
	}
	switch p := any(v).(type) {
	case *[]byte:
		*p = append((*p)[:0], b...)
	case *string:
		*p = string(b)
	}
	return nil
}
