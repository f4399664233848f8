package schema

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strconv"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// refusal is the guard of what no value of a type can pass.
func refusal(err error) guard {
	return func(*walk, reflect.Value) error { return err }
}

// anyGuard is chosen by what the interface holds.
func anyGuard(w *walk, v reflect.Value) error {
	if v.IsNil() {
		return nil
	}
	return w.held(v.Elem().Interface())
}

// held looks at what an any holds. The kinds that any is decoded into do without reflection.
func (w *walk) held(v any) error {
	switch v := v.(type) {
	case nil, string, bool, []byte, int, int64:
		return nil
	case float64:
		return w.float(v, true)
	case []any:
		return w.plainList(v)
	case map[string]any:
		return w.plainMap(v)
	case json.Number:
		w.rewrite = w.rewrite || w.codec == CBOR // which has numbers of its own
		return checkNumber(v)
	}
	e := reflect.ValueOf(v)
	if w.codec == JSON && needsAddress(e.Type()) {
		w.rewrite = true
	}
	g := guardOf(e.Type(), place{codec: w.codec, free: true})
	if g == nil {
		return nil
	}
	if err := w.hop(); err != nil {
		return err
	}
	err := g(w, e)
	w.hops--
	return err
}

func (w *walk) plainList(l []any) error {
	if err := w.enter(); err != nil {
		return err
	}
	for i, v := range l {
		if err := w.held(v); err != nil {
			return inside("["+strconv.Itoa(i)+"]", err)
		}
	}
	w.levels--
	return nil
}

func (w *walk) plainMap(m map[string]any) error {
	if err := w.enter(); err != nil {
		return err
	}
	for k, v := range m {
		if err := w.held(v); err != nil {
			return inside(fmt.Sprintf("[%.40q]", k), err)
		}
	}
	w.levels--
	return nil
}

func pointerGuard(elem guard) guard {
	if elem == nil {
		return nil
	}
	return func(w *walk, v reflect.Value) error {
		if v.IsNil() {
			return nil
		}
		if err := w.hop(); err != nil {
			return err
		}
		err := elem(w, v.Elem())
		w.hops--
		return err
	}
}

func listGuard(elem guard) guard {
	if elem == nil {
		return nil
	}
	return func(w *walk, v reflect.Value) error {
		if err := w.enter(); err != nil {
			return err
		}
		for i := range v.Len() {
			if err := elem(w, v.Index(i)); err != nil {
				return inside("["+strconv.Itoa(i)+"]", err)
			}
		}
		w.levels--
		return nil
	}
}

func (c *compiler) mapGuard(t reflect.Type) guard {
	if c.codec == JSON {
		if !jsonKey(t.Key()) {
			return refusal(fmt.Errorf("it is a %s: JSON has no keys but text and whole numbers", t))
		}
		if needsAddress(t.Elem()) {
			return refusal(fmt.Errorf("it is a %s, whose values codec json cannot write: make them pointers", t))
		}
	}
	odd := c.codec == CBOR && !c.plainKey(t.Key())
	elem := c.guard(t.Elem())
	if elem == nil && !odd {
		return nil
	}
	free := c.free
	return func(w *walk, v reflect.Value) error {
		if err := w.enter(); err != nil {
			return err
		}
		if odd {
			if err := checkKeys(w, v, free); err != nil {
				return err
			}
		}
		if elem != nil {
			for it := v.MapRange(); it.Next(); {
				if err := elem(w, it.Value()); err != nil {
					return inside(keyStep(it.Key()), err)
				}
			}
		}
		w.levels--
		return nil
	}
}

func keyStep(k reflect.Value) string {
	for k.Kind() == reflect.Interface && !k.IsNil() {
		k = k.Elem()
	}
	if k.Kind() == reflect.String {
		return fmt.Sprintf("[%.40q]", k.String())
	}
	text := []rune(fmt.Sprint(k))
	return fmt.Sprintf("[%s]", string(text[:min(40, len(text))]))
}

// plainKey reports whether keys of t come back as they went, and two of them as two.
func (c *compiler) plainKey(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.AddrPort](), reflect.TypeFor[netip.Prefix]():
		return true
	}
	if _, own := ownMethods(t, c.codec); own {
		return false // two of them may be written alike
	}
	switch t.Kind() {
	case reflect.Bool, reflect.String,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return true
	case reflect.Uint, reflect.Uint64:
		return !c.free // any has int64 and big integers, and the latter are no keys in Go
	}
	return false
}

// checkKeys writes and reads each key by itself.
func checkKeys(w *walk, m reflect.Value, free bool) error {
	key := m.Type().Key()
	if free {
		key = anyType
	}
	seen := make(map[string]bool, m.Len())
	for it := m.MapRange(); it.Next(); {
		if g := guardOf(it.Key().Type(), place{codec: w.codec, free: free}); g != nil {
			if err := g(w, it.Key()); err != nil {
				return inside(keyStep(it.Key()), err)
			}
		}
		b, err := cborEncode.Marshal(it.Key().Interface())
		if err != nil {
			return inside(keyStep(it.Key()), err)
		}
		if free && len(b) == 1 && b[0] == 0xf6 {
			return inside(keyStep(it.Key()), errors.New("null as a key would come back as text"))
		}
		if seen[string(b)] {
			return inside(keyStep(it.Key()), errors.New("two keys of the map are written alike"))
		}
		seen[string(b)] = true
		one := append(append([]byte{0xa1}, b...), 0xf6) // a map of this key to null
		if err := cborDecodeKeys.Unmarshal(one, reflect.New(reflect.MapOf(key, anyType)).Interface()); err != nil {
			return inside(keyStep(it.Key()), fmt.Errorf("it would not come back as a key: %w", err))
		}
	}
	return nil
}

// trialGuard tries what encodes itself, where the reader decodes it into any.
func trialGuard(w *walk, v reflect.Value) error {
	var back any
	if w.codec == JSON {
		b, err := json.Marshal(addressable(v.Interface()))
		if err != nil {
			return err
		}
		return decodeJSON(b, &back)
	}
	b, err := cborEncode.Marshal(v.Interface())
	if err != nil {
		return err
	}
	return decodeCBOR(b, &back)
}

// tagGuard tries a tag once its content is known to have an end: the encoder would run after one that has none.
func tagGuard(w *walk, v reflect.Value) error {
	if err := w.enter(); err != nil {
		return err
	}
	tag := v.Interface().(cbor.Tag)
	if err := w.held(tag.Content); err != nil {
		return inside(".Content", err)
	}
	w.levels--
	return trialGuard(w, v)
}

// numberGuard is the guard of text that is written as a number, where the reader decodes it into any.
func numberGuard(_ *walk, v reflect.Value) error { return checkNumber(json.Number(v.String())) }

func checkNumber(n json.Number) error {
	_, err := Number(n)
	return err
}

// timeGuard knows RFC 3339: years of four digits, offsets of whole minutes.
func timeGuard(w *walk, v reflect.Value) error {
	t := timeOf(v)
	if w.codec == CBOR && t.IsZero() { // null
		return nil
	}
	if !minutesOff(t) {
		w.rewrite = true
		t = t.UTC()
	}
	if y := t.Year(); y < 0 || y > 9999 {
		return fmt.Errorf("year %d cannot be written: times have years from 0 to 9999", y)
	}
	return nil
}

func timeOf(v reflect.Value) time.Time {
	if v.CanAddr() {
		return *v.Addr().Interface().(*time.Time)
	}
	return v.Interface().(time.Time)
}

// minutesOff reports whether RFC 3339 can write the offset of t.
func minutesOff(t time.Time) bool {
	_, off := t.Zone()
	return off%60 == 0 && -24*3600 < off && off < 24*3600
}

// jsonFloat is the guard of floats in JSON.
func jsonFloat(free bool) guard {
	return func(w *walk, v reflect.Value) error { return w.float(v.Float(), free) }
}

// float refuses what JSON has no number for. Inside any, a float that looks like a whole number is
// rewritten, or it would come back as one.
func (w *walk) float(f float64, free bool) error {
	if w.codec != JSON {
		return nil
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Errorf("%v cannot be written as JSON", f)
	}
	w.rewrite = w.rewrite || free && f == math.Trunc(f)
	return nil
}

// needsAddress reports whether values of t have methods for JSON that encoding/json finds only through a
// pointer: values in maps and interfaces would be written without them.
func needsAddress(t reflect.Type) bool {
	if _, own := ownMethods(t, JSON); own {
		return !t.Implements(methods[JSON][0].encode) && !t.Implements(methods[JSON][1].encode)
	}
	switch t.Kind() {
	case reflect.Array:
		return needsAddress(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); (f.IsExported() || f.Anonymous) && needsAddress(f.Type) {
				return true
			}
		}
	}
	return false
}

// Number is a number of JSON as any has it: int64 if it is whole and fits, big.Int if it is whole,
// float64 otherwise. One without text is 0, as encoding/json has it.
func Number(n json.Number) (any, error) {
	text := cmp.Or(n.String(), "0")
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i, nil
	}
	if whole(text) {
		if b, ok := new(big.Int).SetString(text, 10); ok {
			return *b, nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, fmt.Errorf("%.40q is no number that fits", text)
	}
	return f, nil
}

func whole(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c != '-' || i > 0) {
			return false
		}
	}
	return text != ""
}

var anyType = reflect.TypeFor[any]()
