package schema

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// shapeText spells what codec c writes for values of t; deep tells that the text nests deeper
// than a descriptor may.
func shapeText(t reflect.Type, c Codec) (text string, deep bool, err error) {
	w := shapeWriter{root: t, codec: c}
	if err := w.write(t, ""); err != nil {
		return "", false, err
	}
	return w.b.String(), w.deepest > maxDepth, nil
}

type shapeWriter struct {
	root    reflect.Type
	codec   Codec
	b       strings.Builder
	open    []reflect.Type // levels that enclose the current position
	deepest int
}

func (w *shapeWriter) write(t reflect.Type, path string) error {
	if w.b.Len() > maxShape {
		return fmt.Errorf("type %s: too large to describe", w.root)
	}
	if s := special(t, w.codec); s != "" {
		w.b.WriteString(s)
		return nil
	}
	if t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface {
		done, err := w.custom(t, path)
		if done || err != nil {
			return err
		}
	}
	if s, ok := plain[t.Kind()]; ok {
		w.b.WriteString(s)
		return nil
	}
	switch t.Kind() {
	case reflect.Interface:
		if t.NumMethod() == 0 {
			w.b.WriteString("any")
			return nil
		}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			w.b.WriteString("bytes")
			return nil
		}
		return w.level(t, func() error { return w.prefixed("[]", t.Elem(), path+"[]") })
	case reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 && w.codec == CBOR { // JSON has a list of numbers
			w.b.WriteString("bytes" + strconv.Itoa(t.Len()))
			return nil
		}
		prefix := "[" + strconv.Itoa(t.Len()) + "]"
		return w.level(t, func() error { return w.prefixed(prefix, t.Elem(), path+"[]") })
	case reflect.Pointer:
		return w.level(t, func() error { return w.prefixed("?", t.Elem(), path) })
	case reflect.Map:
		return w.level(t, func() error { return w.mapping(t, path) })
	case reflect.Struct:
		return w.level(t, func() error { return w.structure(t, path) })
	}
	return fmt.Errorf("type %s: %s: codec %s cannot carry it", w.root, subject(path, t), w.codec)
}

// level runs fn one level deeper, unless t is open already: then it refers back to it.
func (w *shapeWriter) level(t reflect.Type, fn func() error) error {
	if i := slices.Index(w.open, t); i >= 0 {
		w.b.WriteString("^" + strconv.Itoa(len(w.open)-i))
		return nil
	}
	w.open = append(w.open, t)
	w.deepest = max(w.deepest, len(w.open))
	err := fn()
	w.open = w.open[:len(w.open)-1]
	return err
}

func (w *shapeWriter) prefixed(prefix string, t reflect.Type, path string) error {
	w.b.WriteString(prefix)
	return w.write(t, path)
}

func (w *shapeWriter) mapping(t reflect.Type, path string) error {
	if w.codec == JSON && !jsonKey(t.Key()) {
		return fmt.Errorf("type %s: %s with keys of type %s: codec json cannot carry it",
			w.root, subject(path, t), t.Key())
	}
	w.b.WriteString("map[")
	if err := w.write(t.Key(), path+"[key]"); err != nil {
		return err
	}
	w.b.WriteString("]")
	return w.write(t.Elem(), path+"[]")
}

func (w *shapeWriter) structure(t reflect.Type, path string) error {
	fields, array, err := visibleFields(t, w.codec)
	if err != nil {
		return fmt.Errorf("type %s: %s: %w", w.root, subject(path, t), err)
	}
	if len(fields) == 0 && t.Size() > 0 {
		return fmt.Errorf("type %s: %s without exported fields: codec %s would lose it",
			w.root, subject(path, t), w.codec)
	}
	opening, closing := "{", "}"
	if array {
		opening, closing = "(", ")"
	}
	w.b.WriteString(opening)
	for i, f := range fields {
		if i > 0 {
			w.b.WriteByte(',')
		}
		w.b.WriteString(f.key + ":")
		if f.quoted {
			w.b.WriteByte('~')
		}
		if err := w.write(f.typ, strings.TrimPrefix(path+"."+f.goName, ".")); err != nil {
			return err
		}
	}
	w.b.WriteString(closing)
	return nil
}

// custom spells a type that has methods of its own for the codec. A type that can only encode
// is refused now, before anybody has sent what nobody can read.
func (w *shapeWriter) custom(t reflect.Type, path string) (bool, error) {
	if err := checkChars(t); err != nil {
		return false, err
	}
	p := reflect.PointerTo(t)
	for _, m := range methods[w.codec] {
		if !p.Implements(m.encode) {
			continue
		}
		if !p.Implements(m.decode) {
			return false, fmt.Errorf("type %s: %s that has %s, but not %s",
				w.root, subject(path, t), m.encode.Method(0).Name, m.decode.Method(0).Name)
		}
		name := t.Name()
		if t.PkgPath() != "" {
			name = t.PkgPath() + "." + name
		}
		q, err := quote(name)
		if err != nil {
			return false, fmt.Errorf("type %s: %w", w.root, err)
		}
		w.b.WriteString("@" + q)
		return true, nil
	}
	return false, nil
}

var plain = map[reflect.Kind]string{
	reflect.Bool: "bool", reflect.String: "str", reflect.Float32: "f32", reflect.Float64: "f64",
	reflect.Int8: "i8", reflect.Int16: "i16", reflect.Int32: "i32", reflect.Int64: "i64", reflect.Int: "i64",
	reflect.Uint8: "u8", reflect.Uint16: "u16", reflect.Uint32: "u32", reflect.Uint64: "u64", reflect.Uint: "u64",
}

type methodPair struct{ encode, decode reflect.Type }

var textMethods = methodPair{
	reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
}

// methods lists what each codec looks for in a type, in its order.
var methods = map[Codec][]methodPair{
	CBOR: {
		{reflect.TypeFor[cbor.Marshaler](), reflect.TypeFor[cbor.Unmarshaler]()},
		{reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.BinaryUnmarshaler]()},
		textMethods,
	},
	JSON: {
		{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler]()},
		textMethods,
	},
}

func special(t reflect.Type, c Codec) string {
	switch t {
	case reflect.TypeFor[time.Time]():
		return "time"
	case reflect.TypeFor[big.Int]():
		return "big"
	case reflect.TypeFor[Float16]():
		return "f16"
	case reflect.TypeFor[BFloat16]():
		return "bf16"
	case reflect.TypeFor[json.Number]():
		if c == JSON {
			return "number"
		}
	case reflect.TypeFor[json.RawMessage]():
		if c == JSON {
			return "any"
		}
	case reflect.TypeFor[cbor.RawMessage](), reflect.TypeFor[cbor.Tag](), reflect.TypeFor[cbor.RawTag]():
		if c == CBOR {
			return "any"
		}
	}
	if n, ok := charsOf(t); ok && (c == CBOR || n.cborShape() == "str") {
		return n.cborShape()
	}
	return ""
}

func jsonKey(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	return t.Implements(textMethods.encode)
}

// key spells a field's name: as it is, or quoted.
func key(name string) (string, error) {
	if isName(name) {
		return name, nil
	}
	return quote(name)
}

func isName(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError || !isNameRune(r, i == 0) {
			return false
		}
	}
	return s != "" && s != "_"
}

func isNameRune(r rune, first bool) bool {
	return r == '_' || unicode.IsLetter(r) || !first && unicode.IsDigit(r)
}

func quote(s string) (string, error) {
	var b strings.Builder
	b.WriteByte('"')
	for i, r := range s {
		switch {
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return "", fmt.Errorf("name %q: character %d cannot be printed", s, i)
		case r == '"' || r == '\\':
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	b.WriteByte('"')
	return b.String(), nil
}
