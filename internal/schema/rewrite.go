package schema

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
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
	case reflect.Float32, reflect.Float64:
		if n, ok := wholeFloat(v); ok && free && r.codec == JSON {
			return reflect.ValueOf(n), nil // see instead
		}
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
		return r.instead(v, n), nil
	}
	e, err := r.value(e, true)
	if err != nil {
		return v, err
	}
	if r.codec == JSON && needsAddress(e.Type()) {
		e = pointerTo(e)
	}
	return r.instead(v, e.Interface()), nil
}

// instead puts n into the place of what an interface holds. One with methods may not hold it.
func (r rewriter) instead(v reflect.Value, n any) reflect.Value {
	into := reflect.New(v.Type()).Elem()
	e := reflect.ValueOf(n)
	switch {
	case e.Type().AssignableTo(v.Type()):
	case r.codec == JSON:
		return e // lists, maps and structs make room for it
	default:
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
	all, fit := make([]reflect.Value, v.Len()), true
	for i := range all {
		e, err := r.value(v.Index(i), free)
		if err != nil {
			return v, err
		}
		all[i], fit = e, fit && e.Type().AssignableTo(v.Type().Elem())
	}
	into := reflect.New(v.Type()).Elem()
	if !fit {
		into = reflect.New(reflect.TypeFor[[]any]()).Elem()
	}
	if into.Kind() == reflect.Slice {
		into.Set(reflect.MakeSlice(into.Type(), len(all), len(all)))
	}
	for i, e := range all {
		into.Index(i).Set(e)
	}
	return into, nil
}

func (r rewriter) mapping(v reflect.Value, free bool) (reflect.Value, error) {
	if v.IsNil() {
		return v, nil
	}
	into := reflect.MakeMapWithSize(v.Type(), v.Len())
	loose := func() { // room for values of other types
		old := into
		into = reflect.MakeMapWithSize(reflect.MapOf(v.Type().Key(), anyType), v.Len())
		for it := old.MapRange(); it.Next(); {
			into.SetMapIndex(it.Key(), it.Value())
		}
	}
	for it := v.MapRange(); it.Next(); {
		k, err := r.value(it.Key(), free)
		if err != nil {
			return v, err
		}
		e, err := r.value(it.Value(), free)
		if err != nil {
			return v, err
		}
		if !e.Type().AssignableTo(into.Type().Elem()) {
			loose()
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
	others := map[int]reflect.Value{}
	for i, f := range fields {
		from, ok := fieldAt(v, f.index)
		if !ok || guardOf(f.typ, place{codec: r.codec, free: free}) == nil {
			continue
		}
		e, err := r.value(from, free)
		if err != nil {
			return v, err
		}
		if !e.Type().AssignableTo(f.typ) {
			others[i] = e
			continue
		}
		to, err := ownField(into, f, copied)
		if err != nil {
			return v, err
		}
		to.Set(e)
	}
	if len(others) > 0 {
		return looseStruct(into, fields, others), nil
	}
	return into, nil
}

// looseStruct is a struct that is written as v is, but for fields that have others' values.
func looseStruct(v reflect.Value, fields []visibleField, others map[int]reflect.Value) reflect.Value {
	var types []reflect.StructField
	var values []reflect.Value
	for i, f := range fields {
		e, ok := fieldAt(v, f.index)
		if !ok {
			continue
		}
		name, opts, _ := strings.Cut(v.Type().FieldByIndex(f.index).Tag.Get(string(JSON)), ",")
		if !jsonName(name) {
			name = f.goName
		}
		typ := f.typ
		omitted := e.IsZero() && strings.Contains(opts, "omit")
		if other, ok := others[i]; ok && !f.quoted && !omitted {
			e, typ = other, anyType
		}
		tag := reflect.StructTag("json:" + strconv.Quote(name+","+opts))
		types = append(types, reflect.StructField{Name: "F" + strconv.Itoa(i), Type: typ, Tag: tag})
		values = append(values, e)
	}
	into := reflect.New(reflect.StructOf(types)).Elem()
	for i, e := range values {
		into.Field(i).Set(e)
	}
	return into
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
