package schema

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"
)

// rewriter copies a value, with those parts in another form that would come back as something else: times
// whose offset has seconds, in UTC; inside any, numbers of JSON as numbers, whole floats as such, and values that
// only a pointer can encode as pointers. Guards find out that a value needs it, which is seldom.
type rewriter struct{ codec Codec }

func (r rewriter) value(v reflect.Value, free bool) (reflect.Value, error) {
	if guardOf(v.Type(), place{codec: r.codec, free: free}) == nil {
		return v, nil
	}
	switch t := v.Type(); {
	case t == reflect.TypeFor[time.Time]():
		if at := timeOf(v); !minutesOff(at) {
			return reflect.ValueOf(at.UTC()), nil
		}
		return v, nil
	case v.Kind() == reflect.Interface:
		return r.held(v)
	default:
		if _, own := ownMethods(t, r.codec); own {
			return v, nil
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v, nil
		}
		e, err := r.value(v.Elem(), free)
		return pointerTo(e), err
	case reflect.Slice, reflect.Array:
		return r.list(v, free)
	case reflect.Map:
		return r.mapping(v, free)
	case reflect.Struct:
		return r.structure(v, free)
	}
	return v, nil
}

func pointerTo(v reflect.Value) reflect.Value {
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p
}

// held is an interface with what it holds rewritten.
func (r rewriter) held(v reflect.Value) (reflect.Value, error) {
	if v.IsNil() {
		return v, nil
	}
	e := v.Elem()
	switch t := e.Type(); {
	case r.codec == CBOR && t == reflect.TypeFor[json.Number]():
		n, err := Number(json.Number(e.String()))
		if err != nil {
			return v, err
		}
		return instead(v, n), nil
	case r.codec == JSON && e.CanFloat():
		if n, ok := wholeFloat(e); ok {
			return instead(v, n), nil
		}
		return v, nil
	}
	e, err := r.value(e, true)
	if err != nil {
		return v, err
	}
	if r.codec == JSON && needsAddress(e.Type()) {
		e = pointerTo(e)
	}
	into := reflect.New(v.Type()).Elem()
	into.Set(e)
	return into, nil
}

// instead puts n into the place of what an interface holds, if that may hold it: one with methods may not.
func instead(v reflect.Value, n any) reflect.Value {
	into := reflect.New(v.Type()).Elem()
	e := reflect.ValueOf(n)
	if !e.Type().AssignableTo(v.Type()) {
		return v
	}
	into.Set(e)
	return into
}

// wholeFloat is a float without a fraction as a number of JSON that is none without one either.
func wholeFloat(v reflect.Value) (json.Number, bool) {
	f := v.Float()
	if _, own := ownMethods(v.Type(), JSON); own || f != math.Trunc(f) {
		return "", false
	}
	if math.Abs(f) < 1e21 {
		return json.Number(strconv.FormatFloat(f, 'f', 1, v.Type().Bits())), true
	}
	return json.Number(strconv.FormatFloat(f, 'e', -1, v.Type().Bits())), true
}

func (r rewriter) list(v reflect.Value, free bool) (reflect.Value, error) {
	if v.Kind() == reflect.Slice && v.IsNil() {
		return v, nil
	}
	into := reflect.New(v.Type()).Elem()
	if v.Kind() == reflect.Slice {
		into.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
	}
	for i := range v.Len() {
		e, err := r.value(v.Index(i), free)
		if err != nil {
			return v, err
		}
		into.Index(i).Set(e)
	}
	return into, nil
}

func (r rewriter) mapping(v reflect.Value, free bool) (reflect.Value, error) {
	if v.IsNil() {
		return v, nil
	}
	into := reflect.MakeMapWithSize(v.Type(), v.Len())
	for it := v.MapRange(); it.Next(); {
		k, err := r.value(it.Key(), free)
		if err != nil {
			return v, err
		}
		e, err := r.value(it.Value(), free)
		if err != nil {
			return v, err
		}
		into.SetMapIndex(k, e)
	}
	if into.Len() < v.Len() {
		return v, fmt.Errorf("two keys of a %s are written alike", v.Type())
	}
	return into, nil
}

func (r rewriter) structure(v reflect.Value, free bool) (reflect.Value, error) {
	fields, _, err := visibleFields(v.Type(), r.codec)
	if err != nil {
		return v, err
	}
	into := pointerTo(v).Elem()
	copied := map[string]bool{} // embedded pointers that lead to copies
	for _, f := range fields {
		from, ok := fieldAt(v, f.index)
		if !ok || guardOf(f.typ, place{codec: r.codec, free: free}) == nil {
			continue
		}
		e, err := r.value(from, free)
		if err != nil {
			return v, err
		}
		to, err := ownField(into, f, copied)
		if err != nil {
			return v, err
		}
		to.Set(e)
	}
	return into, nil
}

// ownField is a field of a copied struct; what embedded pointers lead to is copied on the way.
func ownField(v reflect.Value, f visibleField, copied map[string]bool) (reflect.Value, error) {
	for n, i := range f.index {
		if v.Kind() == reflect.Pointer {
			if at := fmt.Sprint(f.index[:n]); !copied[at] {
				if !v.CanSet() {
					return v, fmt.Errorf("field %s stands in an embedded pointer that is not exported: it cannot be written in another form", f.goName)
				}
				v.Set(pointerTo(v.Elem()))
				copied[at] = true
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v, nil
}
