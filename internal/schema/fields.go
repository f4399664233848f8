package schema

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// visibleField is one field of a struct as a codec sees it.
type visibleField struct {
	key    string // as spelled in a shape
	goName string
	typ    reflect.Type
	index  []int // as for reflect.Value.FieldByIndex
	quoted bool  // JSON's option "string"
	tagged bool
	depth  int
}

// visibleFields lists the fields that a codec writes, by Go's rules for embedded structs: the
// shallowest of one name wins, then the only tagged one, else none. They are sorted by key, or
// stand in their own order if the struct is written as an array.
func visibleFields(t reflect.Type, c Codec) (fields []visibleField, array bool, err error) {
	if f, ok := t.FieldByName("_"); ok && c == CBOR {
		_, opts, _ := strings.Cut(f.Tag.Get("cbor"), ",")
		array = slices.Contains(strings.Split(opts, ","), "toarray")
	}
	all, err := collect(t, c, nil, nil)
	if err != nil {
		return nil, false, err
	}
	for _, f := range all {
		if dominant(all, f) {
			fields = append(fields, f)
		}
	}
	if !array {
		slices.SortFunc(fields, func(a, b visibleField) int { return cmp.Compare(a.key, b.key) })
	}
	return fields, array, nil
}

func dominant(all []visibleField, f visibleField) bool {
	same := 0
	for _, g := range all {
		if g.key != f.key || g.depth > f.depth {
			continue
		}
		if g.depth < f.depth || g.tagged && !f.tagged {
			return false
		}
		if g.tagged == f.tagged {
			same++
		}
	}
	return same == 1
}

// collect lists the fields of t and of what it embeds; at leads to t from the outermost struct.
func collect(t reflect.Type, c Codec, at []int, outer []reflect.Type) ([]visibleField, error) {
	if slices.Contains(outer, t) {
		return nil, nil
	}
	outer = append(slices.Clip(outer), t)
	var fields []visibleField
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(slices.Clip(at), i)
		base := f.Type
		if f.Anonymous && base.Kind() == reflect.Pointer {
			base = base.Elem()
		}
		embedded := f.Anonymous && base.Kind() == reflect.Struct
		tag := f.Tag.Get(string(c))
		if tag == "" {
			tag = f.Tag.Get("json") // the CBOR codec falls back to it
		}
		if !f.IsExported() && !embedded || tag == "-" {
			continue
		}
		name, opts, _ := strings.Cut(tag, ",")
		if c == JSON && !jsonName(name) {
			name = ""
		}
		if embedded && name == "" {
			inner, err := collect(base, c, index, outer)
			if err != nil {
				return nil, err
			}
			fields = append(fields, inner...)
			continue
		}
		if !f.IsExported() {
			continue
		}
		v := visibleField{goName: f.Name, typ: f.Type, index: index, depth: len(at)}
		v.tagged = name != "" || c == CBOR && tag != ""
		if err := v.spell(name, strings.Split(opts, ","), c); err != nil {
			return nil, err
		}
		fields = append(fields, v)
	}
	return fields, nil
}

func (f *visibleField) spell(name string, opts []string, c Codec) (err error) {
	if name == "" {
		name = f.goName
	}
	if c == CBOR && slices.Contains(opts, "keyasint") {
		n, err := strconv.Atoi(name)
		if err != nil || n > maxNumber || n < -maxNumber {
			return fmt.Errorf("field %s: keyasint, but its name is %q", f.goName, name)
		}
		f.key = strconv.Itoa(n)
		return nil
	}
	f.quoted = c == JSON && slices.Contains(opts, "string") && quotable(f.typ)
	if f.key, err = key(name); err != nil {
		return fmt.Errorf("field %s: %w", f.goName, err)
	}
	return nil
}

func quotable(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer && t.Name() == "" {
		t = t.Elem()
	}
	_, ok := plain[t.Kind()]
	return ok
}

// jsonName is encoding/json's own rule for names in tags.
func jsonName(s string) bool {
	for _, r := range s {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return s != ""
}
