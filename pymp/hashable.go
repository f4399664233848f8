package pymp

import (
	"fmt"
	"iter"
	"math/big"
	"reflect"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// hashable returns an error if a member of a set is something that Python cannot hash: its unpickler would fail, after the
// message was taken.
func hashable(members iter.Seq[any]) error {
	kr := newKeyer()
	for m := range members {
		if _, err := kr.key(m); err != nil {
			return unhashable(m, err)
		}
	}
	return nil
}

// goKeys is hashable for the keys of a Go map, two of which may be one in Python: 1, 1.0 and true.
func goKeys(keys []reflect.Value) error {
	if len(keys) == 0 {
		return nil
	}
	switch k := keys[0].Kind(); {
	case k == reflect.String, k == reflect.Bool, k >= reflect.Int && k <= reflect.Uintptr:
		return nil
	}
	kr := newKeyer()
	seen := make(map[any]any, len(keys))
	for _, v := range keys {
		k := v.Interface()
		hash, err := kr.key(k)
		if err != nil {
			return unhashable(k, err)
		}
		if other, ok := seen[hash]; ok {
			return fmt.Errorf("%w: the keys %v (%T) and %v (%T) of a map are the same in Python", errs.ErrIncompatible, other, other, k, k)
		}
		seen[hash] = k
	}
	return nil
}

func unhashable(v any, err error) error {
	if err, ok := err.(*keyError); ok {
		return fmt.Errorf("%w: a %s as key of a dict or member of a set, which Python cannot hash", errs.ErrIncompatible, err.python)
	}
	return err
}

// keyError is about a value that is no key.
type keyError struct{ python string }

func (e *keyError) Error() string {
	return badPickle("a value of type %s as key of a dict or member of a set", e.python).Error()
}
func (e *keyError) Unwrap() error { return ErrPickle }

// ordinary is a value of a Go type that is written like one of the types that Python's values are decoded into.
func ordinary(v any) any {
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Bool:
		return number(r.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return r.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return number(new(big.Int).SetUint64(r.Uint()))
	case reflect.Float32, reflect.Float64:
		return number(r.Float())
	case reflect.Complex64, reflect.Complex128:
		return number(r.Complex())
	case reflect.String:
		return r.String()
	case reflect.Slice, reflect.Array:
		if r.Type().Elem().Kind() == reflect.Uint8 {
			b := make([]byte, r.Len())
			for i := range b {
				b[i] = byte(r.Index(i).Uint())
			}
			return b
		}
	case reflect.Pointer:
		if r.IsNil() {
			return nil
		}
		if _, ok := v.(*Dict); !ok {
			return number(r.Elem().Interface())
		}
	case reflect.Struct:
		if n, ok := v.(big.Int); ok {
			return number(&n)
		}
	}
	return v
}
