package schema

import (
	"bytes"
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Text is UTF-8 of at most as many bytes as the array A, [16]byte for example, has. It lies there with zero
// bytes behind it.
type Text[A any] struct{ a A }

// Bytes is a byte string of at most as many bytes as the array A, [16]byte for example, has. It lies there
// with zero bytes behind it, so that it cannot end with some: NumPy's S16. Take [16]byte itself for bytes that can.
type Bytes[A any] struct{ a A }

// chars is Text or Bytes of some length.
type chars interface {
	spelling() string // in a layout
	cborShape() string
}

// arrayBytes is the memory of a *[N]byte.
func arrayBytes(a any) []byte {
	v := reflect.ValueOf(a).Elem()
	if v.Kind() != reflect.Array || v.Type().Elem().Kind() != reflect.Uint8 || v.Len() == 0 {
		panic(fmt.Sprintf("shared.Text and shared.Bytes are of an array of bytes, not of %s", v.Type()))
	}
	return v.Bytes()
}

func content(a any) []byte { return bytes.TrimRight(arrayBytes(a), "\x00") }

func fill(a any, s []byte) error {
	b := arrayBytes(a)
	if len(s) > len(b) {
		return fmt.Errorf("%w: %d bytes, there is room for %d", errs.ErrTooLarge, len(s), len(b))
	}
	if len(s) > 0 && s[len(s)-1] == 0 {
		return fmt.Errorf("%w: it ends with a zero byte, which would not come back", errs.ErrIncompatible)
	}
	clear(b[copy(b, s):])
	return nil
}

// String is the text. A peer may have left something else there: what is no UTF-8 becomes U+FFFD.
func (t Text[A]) String() string { return string(bytes.ToValidUTF8(content(&t.a), []byte("\ufffd"))) }

// Set replaces the text; shiplap.ErrTooLarge if it does not fit.
func (t *Text[A]) Set(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%w: %.40q is no UTF-8", errs.ErrIncompatible, s)
	}
	return fill(&t.a, []byte(s))
}

// Bytes is a copy of the byte string.
func (b Bytes[A]) Bytes() []byte { return bytes.Clone(content(&b.a)) }

// Set replaces the byte string; shiplap.ErrTooLarge if it does not fit.
func (b *Bytes[A]) Set(s []byte) error { return fill(&b.a, s) }

// MarshalText writes the text, in CBOR and JSON.
func (t Text[A]) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads a text.
func (t *Text[A]) UnmarshalText(s []byte) error { return t.Set(string(s)) }

// MarshalBinary writes a byte string, in CBOR.
func (b Bytes[A]) MarshalBinary() ([]byte, error) { return b.Bytes(), nil }

// UnmarshalBinary reads a byte string.
func (b *Bytes[A]) UnmarshalBinary(s []byte) error { return b.Set(s) }

func (t Text[A]) spelling() string  { return fmt.Sprintf("utf8[%d]", len(arrayBytes(&t.a))) }
func (b Bytes[A]) spelling() string { return fmt.Sprintf("|S%d", len(arrayBytes(&b.a))) }
func (Text[A]) cborShape() string   { return "str" }
func (Bytes[A]) cborShape() string  { return "bytes" }

// checkChars refuses a Text or Bytes that is not of an array of bytes.
func checkChars(t reflect.Type) error {
	if t.Kind() != reflect.Struct || t.NumField() != 1 || t.Field(0).Name != "a" || !t.Implements(reflect.TypeFor[chars]()) {
		return nil
	}
	if _, ok := charsOf(t); !ok {
		return fmt.Errorf("type %s: Text and Bytes are of an array of bytes, like [16]byte, not of %s", t, t.Field(0).Type)
	}
	return nil
}

// charsOf returns the zero value of t if it is a Text or Bytes.
func charsOf(t reflect.Type) (chars, bool) {
	if t.Kind() != reflect.Struct || !t.Implements(reflect.TypeFor[chars]()) {
		return nil, false
	}
	if f := t.Field(0); t.NumField() != 1 || f.Name != "a" || f.Type.Kind() != reflect.Array || f.Type.Elem().Kind() != reflect.Uint8 || f.Type.Len() == 0 {
		return nil, false // or what embeds one
	}
	return reflect.Zero(t).Interface().(chars), true
}
