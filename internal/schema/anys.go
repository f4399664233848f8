package schema

import (
	"encoding/json"
	"reflect"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// holders remembers what holdsAny found out.
var holders sync.Map // of holder, to bool

type holder struct {
	t reflect.Type
	c Codec
}

// holdsAny reports whether decoding a t may decode into an any.
func holdsAny(t reflect.Type, c Codec) bool {
	if known, ok := holders.Load(holder{t, c}); ok {
		return known.(bool)
	}
	yes := searchAny(t, c, map[reflect.Type]bool{})
	holders.Store(holder{t, c}, yes)
	return yes
}

func searchAny(t reflect.Type, c Codec, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	if t.Kind() == reflect.Interface {
		return t.NumMethod() == 0
	}
	if special(t, c) != "" {
		return special(t, c) == "any" && t.Kind() == reflect.Struct // cbor.Tag
	}
	if _, own := ownMethods(t, c); own {
		return false
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return searchAny(t.Elem(), c, seen)
	case reflect.Map:
		return searchAny(t.Key(), c, seen) || searchAny(t.Elem(), c, seen)
	case reflect.Struct:
		fields, _, err := visibleFields(t, c)
		for _, f := range fields {
			if err == nil && searchAny(f.typ, c, seen) {
				return true
			}
		}
	}
	return false
}

// eachAny replaces what the anys in a decoded value hold.
func eachAny(v reflect.Value, c Codec, f func(any) (any, error)) error {
	t := v.Type()
	if !holdsAny(t, c) {
		return nil
	}
	switch v.Kind() {
	case reflect.Interface:
		if v.IsNil() {
			return nil
		}
		n, err := f(v.Interface())
		if err == nil && n != nil {
			v.Set(reflect.ValueOf(n))
		}
		return err
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return eachAny(v.Elem(), c, f)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := eachAny(v.Index(i), c, f); err != nil {
				return err
			}
		}
	case reflect.Map:
		into := reflect.MakeMapWithSize(t, v.Len()) // another one: NaN as a key cannot be set again
		for it := v.MapRange(); it.Next(); {
			e := reflect.New(t.Elem()).Elem()
			e.Set(it.Value())
			if err := eachAny(e, c, f); err != nil {
				return err
			}
			into.SetMapIndex(it.Key(), e)
		}
		if !v.IsNil() {
			v.Set(into)
		}
	case reflect.Struct:
		return eachField(v, c, f)
	}
	return nil
}

func eachField(v reflect.Value, c Codec, f func(any) (any, error)) error {
	fields, _, err := visibleFields(v.Type(), c)
	if err != nil {
		return err
	}
	for _, vf := range fields {
		if field, ok := fieldAt(v, vf.index); ok {
			if err := eachAny(field, c, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// numbers gives the numbers of decoded JSON the kinds that CBOR has for them.
func numbers(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		return Number(v)
	case []any:
		for i := range v {
			n, err := numbers(v[i])
			if err != nil {
				return nil, err
			}
			v[i] = n
		}
	case map[string]any:
		for k := range v {
			n, err := numbers(v[k])
			if err != nil {
				return nil, err
			}
			v[k] = n
		}
	}
	return v, nil
}

// textMaps makes map[string]any of those maps that have no other keys.
func textMaps(v any) (any, error) {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i], _ = textMaps(v[i])
		}
	case cbor.Tag:
		v.Content, _ = textMaps(v.Content)
		return v, nil
	case map[any]any:
		text, mixed := make(map[string]any, len(v)), make(map[any]any, len(v)) // NaN as a key cannot be set again
		for k, e := range v {
			e, _ = textMaps(e)
			mixed[k] = e
			if s, ok := k.(string); ok {
				text[s] = e
			}
		}
		if len(text) == len(v) {
			return text, nil
		}
		return mixed, nil
	}
	return v, nil
}
