package pymp

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"math/big"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Dict is a Python dict: in the order of insertion, with every key that Python can have: strings,
// numbers, bool, nil, []byte, Tuple, FrozenSet. As in Python the keys 1, 1.0 and true are the same.
// It may be used by one goroutine at a time.
type Dict struct {
	keys, values []any
	index        map[any]int
}

// NewDict is an empty dict.
func NewDict() *Dict { return new(Dict) }

// Len is the number of entries.
func (d *Dict) Len() int { return len(d.keys) }

// Get is the value of a key.
func (d *Dict) Get(key any) (value any, ok bool) {
	k, err := newKeyer().key(key)
	if err != nil {
		return nil, false
	}
	i, ok := d.index[k]
	if !ok {
		return nil, false
	}
	return d.values[i], true
}

// Set gives a key a value. Keys of other Go types count as what they are written as: int32 as a number. A key that Python cannot
// hash, a list for example, is an error that wraps ErrIncompatible.
func (d *Dict) Set(key, value any) error {
	if err := d.set(newKeyer(), key, value); err != nil {
		return unhashable(key, err)
	}
	return nil
}

func (d *Dict) set(kr *keyer, key, value any) error {
	k, err := kr.key(key)
	if err != nil {
		return err
	}
	if i, ok := d.index[k]; ok {
		d.values[i] = value
		return nil
	}
	if d.index == nil {
		d.index = map[any]int{}
	}
	d.index[k] = len(d.keys)
	d.keys = append(d.keys, key)
	d.values = append(d.values, value)
	return nil
}

// All are the entries in their order.
func (d *Dict) All() iter.Seq2[any, any] {
	return func(yield func(any, any) bool) {
		for i, k := range d.keys {
			if !yield(k, d.values[i]) {
				return
			}
		}
	}
}

// Map is the dict as a Go map, if all keys are strings.
func (d *Dict) Map() (map[string]any, error) {
	m := make(map[string]any, len(d.keys))
	for i, k := range d.keys {
		s, ok := k.(string)
		if !ok {
			return nil, fmt.Errorf("%w: a key is of type %T, not string", errs.ErrIncompatible, k)
		}
		m[s] = d.values[i]
	}
	return m, nil
}

// MarshalJSON refuses: without it, encoders would take a Dict for a struct without fields.
func (d *Dict) MarshalJSON() ([]byte, error) { return nil, d.unencodable("JSON") }

// MarshalCBOR refuses, as MarshalJSON does.
func (d *Dict) MarshalCBOR() ([]byte, error) { return nil, d.unencodable("CBOR") }

func (d *Dict) unencodable(codec string) error {
	return fmt.Errorf("%w: a Python dict with keys of any type, here %d, has no form in %s: send what Map returns, or EncodePickle makes", errs.ErrUnsupported, d.Len(), codec)
}

func (d *Dict) String() string {
	var b strings.Builder
	b.WriteByte('{')
	for i, k := range d.keys {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%#v: %v", k, d.values[i])
	}
	b.WriteByte('}')
	return b.String()
}

// keyer turns Python's hashable values into comparable ones, equal where Python's are equal. It does
// so many bytes and no more: a small pickle can say a large key often.
type keyer struct{ left int }

const keyBudget = 1 << 26

func newKeyer() *keyer { return &keyer{keyBudget} }

type composite string // canonical bytes of a key that is no string, integer or float

func (kr *keyer) key(v any) (any, error) {
	v = number(v)
	switch v := v.(type) {
	case string:
		return v, kr.charge(len(v))
	case int64, float64:
		return v, kr.charge(8)
	}
	b, err := kr.append(nil, v, 0)
	return composite(b), err
}

func (kr *keyer) charge(n int) error {
	if kr.left -= n + 1; kr.left < 0 {
		return fmt.Errorf("%w: the keys of dicts and sets take more than %d bytes", errs.ErrTooLarge, keyBudget)
	}
	return nil
}

func (kr *keyer) append(b []byte, v any, depth int) ([]byte, error) {
	if depth > defaultMaxDepth {
		return nil, tooDeep(defaultMaxDepth)
	}
	field := func(tag byte, n int) ([]byte, error) {
		b = binary.AppendUvarint(append(b, tag), uint64(n))
		return b, kr.charge(n)
	}
	var err error
	switch v := number(v).(type) {
	case nil:
		return field('n', 0)
	case int64:
		b, err = field('i', 8)
		return binary.BigEndian.AppendUint64(b, uint64(v)), err
	case float64:
		b, err = field('f', 8)
		return appendFloat(b, v), err
	case complex128:
		b, err = field('c', 16)
		return appendFloat(appendFloat(b, real(v)), imag(v)), err
	case *big.Int:
		if b, err = field('l'+byte(1+v.Sign()), (v.BitLen()+7)/8); err != nil {
			return nil, err
		}
		return append(b, v.Bytes()...), nil
	case string:
		if b, err = field('s', len(v)); err != nil {
			return nil, err
		}
		return append(b, v...), nil
	case []byte:
		if b, err = field('b', len(v)); err != nil {
			return nil, err
		}
		return append(b, v...), nil
	case Tuple:
		if b, err = field('t', len(v)); err != nil {
			return nil, err
		}
		for _, e := range v {
			if b, err = kr.append(b, e, depth+1); err != nil {
				return nil, err
			}
		}
		return b, nil
	case FrozenSet:
		parts := make([]string, len(v))
		for i, e := range v {
			p, err := kr.append(nil, e, depth+1)
			if err != nil {
				return nil, err
			}
			parts[i] = string(p)
		}
		slices.Sort(parts)
		parts = slices.Compact(parts)
		if b, err = field('z', len(parts)); err != nil {
			return nil, err
		}
		for _, p := range parts {
			b = append(b, p...)
		}
		return b, nil
	}
	return nil, &keyError{pythonType(v)}
}

var nans atomic.Uint64

// appendFloat gives each NaN a number of its own: no two are equal.
func appendFloat(b []byte, f float64) []byte {
	if f != f {
		return binary.BigEndian.AppendUint64(append(b, 'N'), nans.Add(1))
	}
	return binary.BigEndian.AppendUint64(b, math.Float64bits(f))
}

// number brings numbers that are equal in Python to one form. Others are returned as they are.
func number(v any) any {
	switch v := v.(type) {
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case int:
		return int64(v)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<63 {
			return int64(v)
		}
	case complex128:
		if imag(v) == 0 {
			return number(real(v))
		}
	case *big.Int:
		if v.IsInt64() {
			return v.Int64()
		}
	case nil, int64, string, []byte, Tuple, FrozenSet, ByteArray, Set, []any, *Dict:
	default:
		return ordinary(v)
	}
	return v
}

func pythonType(v any) string {
	switch v.(type) {
	case []any:
		return "list"
	case *Dict:
		return "dict"
	case Set:
		return "set"
	case ByteArray:
		return "bytearray"
	}
	return fmt.Sprintf("%T", v)
}
