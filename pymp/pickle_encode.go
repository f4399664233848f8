package pymp

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// EncodePickle writes a value as a pickle of protocol 4, which every Python since 3.4 reads. limits
// may be nil.
//
//	nil, nil pointers             None
//	bool                          bool
//	integers, big.Int             int
//	floats, complex numbers       float, complex
//	string                        str (must be valid UTF-8)
//	[]byte, byte arrays           bytes
//	ByteArray                     bytearray
//	slices, arrays                list
//	Tuple, Set, FrozenSet         tuple, set, frozenset
//	*Dict, maps                   dict (of a Go map, in the order of its keys)
//	structs                       dict of the exported fields; the tag `pickle:"name"` renames one, `pickle:"-"` skips it
//
// Pointers and interfaces are followed. A value that appears twice is written twice; cycles end in
// ErrTooLarge. Other types, such as functions and channels, are an error that wraps ErrIncompatible.
func EncodePickle(v any, limits *PickleLimits) ([]byte, error) {
	l, err := limits.resolve()
	if err != nil {
		return nil, err
	}
	e := encoder{limits: l, b: []byte{opProto, 4}}
	if err := e.value(v, 0); err != nil {
		return nil, fmt.Errorf("pickle of a %T: %w", v, err)
	}
	return append(e.b, opStop), nil
}

type encoder struct {
	limits PickleLimits
	b      []byte
	count  int
}

// value handles the types that need no reflection; they are most.
func (e *encoder) value(v any, depth int) error {
	if depth > e.limits.MaxDepth {
		return tooDeep(e.limits.MaxDepth)
	}
	if e.count++; e.count > e.limits.MaxObjects {
		return tooManyObjects(e.limits.MaxObjects)
	}
	switch v := v.(type) {
	case nil:
		e.b = append(e.b, opNone)
	case bool:
		e.bool(v)
	case int:
		e.int(int64(v))
	case int64:
		e.int(v)
	case float64:
		e.float(v)
	case string:
		return e.string(v)
	case []byte:
		e.bytes(v)
	case ByteArray:
		e.call("bytearray", func() { e.bytes(v) }, opTuple1)
	case complex128:
		e.call("complex", func() { e.float(real(v)); e.float(imag(v)) }, opTuple2)
	case *big.Int:
		if v == nil {
			e.b = append(e.b, opNone)
			return nil
		}
		e.big(v)
	case []any:
		e.b = append(e.b, opEmptyList)
		return e.items(slices.Values(v), len(v), opAppends, depth)
	case Tuple:
		e.b = append(e.b, opMark)
		if err := e.each(slices.Values(v), depth); err != nil {
			return err
		}
		e.b = append(e.b, opTuple)
	case Set:
		if err := hashable(slices.Values(v)); err != nil {
			return err
		}
		e.b = append(e.b, opEmptySet)
		return e.items(slices.Values(v), len(v), opAddItems, depth)
	case FrozenSet:
		if err := hashable(slices.Values(v)); err != nil {
			return err
		}
		e.b = append(e.b, opMark)
		if err := e.each(slices.Values(v), depth); err != nil {
			return err
		}
		e.b = append(e.b, opFrozenSet)
	case *Dict:
		if v == nil {
			e.b = append(e.b, opNone)
			return nil
		}
		e.b = append(e.b, opEmptyDict)
		return e.items(func(yield func(any) bool) {
			for k, x := range v.All() {
				if !yield(k) || !yield(x) {
					return
				}
			}
		}, 2*v.Len(), opSetItems, depth)
	default:
		return e.reflect(reflect.ValueOf(v), depth)
	}
	return nil
}

// items writes a mark, the n values and the opcode that adds them to the container before.
func (e *encoder) items(seq func(func(any) bool), n int, op byte, depth int) error {
	if n == 0 {
		return nil
	}
	e.b = append(e.b, opMark)
	err := e.each(seq, depth)
	e.b = append(e.b, op)
	return err
}

func (e *encoder) each(seq func(func(any) bool), depth int) (err error) {
	seq(func(v any) bool {
		err = e.value(v, depth+1)
		return err == nil
	})
	return err
}

func (e *encoder) call(builtin string, args func(), tuple byte) {
	e.short(opShortBinUnicode, "builtins")
	e.short(opShortBinUnicode, builtin)
	e.b = append(e.b, opStackGlobal)
	args()
	e.b = append(e.b, tuple, opReduce)
}

func (e *encoder) short(op byte, s string) {
	e.b = append(append(e.b, op, byte(len(s))), s...)
}

func (e *encoder) bool(v bool) {
	if v {
		e.b = append(e.b, opTrue)
	} else {
		e.b = append(e.b, opFalse)
	}
}

func (e *encoder) int(v int64) {
	switch {
	case v >= 0 && v <= math.MaxUint8:
		e.b = append(e.b, opBinInt1, byte(v))
	case v >= 0 && v <= math.MaxUint16:
		e.b = binary.LittleEndian.AppendUint16(append(e.b, opBinInt2), uint16(v))
	case v >= math.MinInt32 && v <= math.MaxInt32:
		e.b = binary.LittleEndian.AppendUint32(append(e.b, opBinInt), uint32(v))
	default:
		e.b = binary.LittleEndian.AppendUint64(append(e.b, opLong1, 8), uint64(v))
	}
}

func (e *encoder) uint(v uint64) {
	if v <= math.MaxInt64 {
		e.int(int64(v))
		return
	}
	e.b = append(binary.LittleEndian.AppendUint64(append(e.b, opLong1, 9), v), 0)
}

// big writes two's complement, little-endian, with room for the sign.
func (e *encoder) big(v *big.Int) {
	n := v.BitLen()/8 + 1
	u := v
	if v.Sign() < 0 {
		u = new(big.Int).Add(v, new(big.Int).Lsh(big.NewInt(1), uint(8*n)))
	}
	p := u.FillBytes(make([]byte, n))
	slices.Reverse(p)
	if n <= math.MaxUint8 {
		e.b = append(e.b, opLong1, byte(n))
	} else {
		e.b = binary.LittleEndian.AppendUint32(append(e.b, opLong4), uint32(n))
	}
	e.b = append(e.b, p...)
}

func (e *encoder) float(v float64) {
	e.b = binary.BigEndian.AppendUint64(append(e.b, opBinFloat), math.Float64bits(v))
}

func (e *encoder) string(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%w: a string that is not UTF-8 cannot be a str (send it as []byte)", errs.ErrIncompatible)
	}
	e.sized(opShortBinUnicode, opBinUnicode, opBinUnicode8, len(s))
	e.b = append(e.b, s...)
	return nil
}

func (e *encoder) bytes(p []byte) {
	e.sized(opShortBinBytes, opBinBytes, opBinBytes8, len(p))
	e.b = append(e.b, p...)
}

func (e *encoder) sized(op1, op4, op8 byte, n int) {
	switch {
	case n <= math.MaxUint8:
		e.b = append(e.b, op1, byte(n))
	case n <= math.MaxUint32:
		e.b = binary.LittleEndian.AppendUint32(append(e.b, op4), uint32(n))
	default:
		e.b = binary.LittleEndian.AppendUint64(append(e.b, op8), uint64(n))
	}
}

// reflect handles types by their kind. It counts as a level and an object of its own only where it
// goes back to value.
func (e *encoder) reflect(v reflect.Value, depth int) error {
	switch v.Kind() {
	case reflect.Bool:
		e.bool(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.int(v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		e.uint(v.Uint())
	case reflect.Float32, reflect.Float64:
		e.float(v.Float())
	case reflect.Complex64, reflect.Complex128:
		return e.value(v.Complex(), depth)
	case reflect.String:
		return e.string(v.String())
	case reflect.Slice, reflect.Array:
		return e.slice(v, depth)
	case reflect.Map:
		return e.goMap(v, depth)
	case reflect.Struct:
		return e.structure(v, depth)
	case reflect.Pointer:
		if v.IsNil() {
			e.b = append(e.b, opNone)
			return nil
		}
		return e.value(v.Elem().Interface(), depth+1)
	default:
		return fmt.Errorf("%w: Python has nothing for a %s", errs.ErrIncompatible, v.Type())
	}
	return nil
}

func (e *encoder) slice(v reflect.Value, depth int) error {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		p := make([]byte, v.Len())
		for i := range p {
			p[i] = byte(v.Index(i).Uint()) // arrays may have no address, and elements a type of their own
		}
		e.bytes(p)
		return nil
	}
	e.b = append(e.b, opEmptyList)
	return e.items(func(yield func(any) bool) {
		for i := range v.Len() {
			if !yield(v.Index(i).Interface()) {
				return
			}
		}
	}, v.Len(), opAppends, depth)
}

func (e *encoder) goMap(v reflect.Value, depth int) error {
	keys := v.MapKeys()
	switch kind := v.Type().Key().Kind(); {
	case kind == reflect.String:
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	case kind >= reflect.Int && kind <= reflect.Int64:
		slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.Int(), b.Int()) })
	case kind >= reflect.Uint && kind <= reflect.Uintptr:
		slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.Uint(), b.Uint()) })
	}
	if err := goKeys(keys); err != nil {
		return err
	}
	e.b = append(e.b, opEmptyDict)
	return e.items(func(yield func(any) bool) {
		for _, k := range keys {
			if !yield(k.Interface()) || !yield(v.MapIndex(k).Interface()) {
				return
			}
		}
	}, 2*len(keys), opSetItems, depth)
}

func (e *encoder) structure(v reflect.Value, depth int) error {
	if n, ok := v.Interface().(big.Int); ok {
		e.big(&n)
		return nil
	}
	if d, ok := v.Interface().(Dict); ok {
		return e.value(&d, depth)
	}
	var pairs []any
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := f.Name
		if tag := f.Tag.Get("pickle"); tag != "" {
			name = tag
		}
		if f.IsExported() && name != "-" {
			pairs = append(pairs, name, v.Field(i).Interface())
		}
	}
	if len(pairs) == 0 && v.NumField() > 0 {
		return fmt.Errorf("%w: a %s has no exported fields", errs.ErrIncompatible, v.Type())
	}
	e.b = append(e.b, opEmptyDict)
	return e.items(slices.Values(pairs), len(pairs), opSetItems, depth)
}
