package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/shiplap-ipc/shiplap/internal/errs"
)

// Codec names how elements become bytes.
type Codec string

const (
	Auto  Codec = ""      // by the type, see Describe
	Raw   Codec = "raw"   // bytes as they are
	Fixed Codec = "fixed" // memory as it lies, copied by package mem
	CBOR  Codec = "cbor"
	JSON  Codec = "json"
)

const (
	maxLevels   = 512
	maxElements = 1 << 20
)

var (
	cborEncode     = encodeMode()
	cborDecode     = decodeMode(reflect.TypeFor[map[string]any]())
	cborDecodeKeys = decodeMode(reflect.TypeFor[map[any]any]()) // for any with keys that are no text
)

func encodeMode() cbor.UserBufferEncMode {
	eo := cbor.CoreDetEncOptions()
	eo.Time = cbor.TimeRFC3339Nano
	eo.TimeTag = cbor.EncTagRequired
	eo.TextMarshaler = cbor.TextMarshalerTextString
	eo.NaNConvert = cbor.NaNConvertPreserveSignal
	em, err := eo.UserBufferEncMode()
	if err != nil {
		panic(err)
	}
	return em
}

func decodeMode(maps reflect.Type) cbor.DecMode {
	dm, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:   maxLevels,
		MaxArrayElements:  maxElements,
		MaxMapPairs:       maxElements,
		IntDec:            cbor.IntDecConvertSignedOrBigInt,
		DefaultMapType:    maps,
		UTF8:              cbor.UTF8DecodeInvalid,
		TextUnmarshaler:   cbor.TextUnmarshalerTextString,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return dm
}

// Append appends the encoding of v, a value or a pointer to one. On error it returns dst as it
// was. What it appends Decode can read, into the type of v and, where v has any, into any.
func (c Codec) Append(dst []byte, v any) ([]byte, error) {
	if c != CBOR && c != JSON {
		return dst, fmt.Errorf("codec %q does not encode", string(c))
	}
	v = addressable(v)
	typ := reflect.TypeOf(v)
	if typ != nil {
		if g := guardOf(typ, place{codec: c}); g != nil {
			var err error
			if v, err = guarded(g, c, v); err != nil {
				return dst, encodeError(typ, err)
			}
		}
	}
	buf := bytes.NewBuffer(dst)
	var err error
	if c == CBOR {
		if err = cborEncode.MarshalToBuffer(v, buf); err == nil && buf.Len()-len(dst) > maxLevels {
			err = cborDecode.Wellformed(buf.Bytes()[len(dst):])
		}
	} else {
		e := json.NewEncoder(buf)
		e.SetEscapeHTML(false)
		if err = e.Encode(v); err == nil {
			buf.Truncate(buf.Len() - 1) // the encoder's newline
		}
		var float *json.UnsupportedValueError
		if errors.As(err, &float) {
			err = located(err, place{codec: c, found: true}, v)
		}
	}
	if err != nil {
		return dst, encodeError(typ, err)
	}
	return buf.Bytes(), nil
}

// located says where in v the encoder found what it refused with err.
func located(err error, p place, v any) error {
	if g := guardOf(reflect.TypeOf(v), p); g != nil {
		if at := g(&walk{codec: p.codec}, reflect.ValueOf(v)); at != nil {
			return at
		}
	}
	return err
}

// guarded looks at v before it is encoded, and returns what to encode instead.
func guarded(g guard, c Codec, v any) (any, error) {
	w := walk{codec: c}
	r := reflect.ValueOf(v)
	err := g(&w, r)
	if err == nil && w.rewrite {
		r, err = rewriter{c}.value(r, false)
	}
	if err != nil {
		return nil, err
	}
	if w.rewrite {
		return r.Interface(), nil
	}
	return v, nil
}

// encodeError names the part of a value that an error is about: Job.Due.
func encodeError(t reflect.Type, err error) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if p, ok := err.(*partError); ok {
		name := "value"
		if t.Name() != "" {
			name = t.Name()
		}
		return fmt.Errorf("encode: %s%s: %w", name, p.path, p.err)
	}
	return fmt.Errorf("encode %v: %w", t, err)
}

// addressable returns a pointer to v, so that methods with pointer receivers take part.
func addressable(v any) any {
	r := reflect.ValueOf(v)
	if !r.IsValid() || r.Kind() == reflect.Pointer {
		return v
	}
	p := reflect.New(r.Type())
	p.Elem().Set(r)
	return p.Interface()
}

// Decode reads one element, all of src, into what v points to, which should be zero: maps are
// merged into and absent fields stay. Bytes that are well-formed, but no such element, are
// ErrIncompatible, all others ErrCorrupt. Nothing in v refers to src afterwards.
func (c Codec) Decode(src []byte, v any) error {
	r := reflect.ValueOf(v)
	if r.Kind() != reflect.Pointer || r.IsNil() {
		return fmt.Errorf("decode into %T: not a pointer to a value", v)
	}
	var err error
	var wellformed bool
	switch c {
	case CBOR:
		if err = decodeCBOR(src, v); err != nil {
			var twice *cbor.DupMapKeyError
			wellformed = cborDecode.Wellformed(src) == nil && !errors.As(err, &twice)
		}
	case JSON:
		if err = decodeJSON(src, v); err != nil {
			wellformed = json.Valid(src)
		}
	default:
		return fmt.Errorf("codec %q does not decode", string(c))
	}
	switch {
	case err == nil:
		return nil
	case wellformed:
		return fmt.Errorf("%w: element of %d bytes is no %v: %w", errs.ErrIncompatible, len(src), r.Type().Elem(), err)
	}
	return fmt.Errorf("%w: element of %d bytes is no %s: %w", errs.ErrCorrupt, len(src), strings.ToUpper(string(c)), err)
}

// decodeCBOR gives any a map[string]any where all keys of a map are text, else a map[any]any.
func decodeCBOR(src []byte, v any) error {
	err := cborDecode.Unmarshal(src, v)
	if err == nil {
		return nil
	}
	r := reflect.ValueOf(v).Elem()
	if !holdsAny(r.Type(), CBOR) {
		return err
	}
	r.SetZero()
	if cborDecodeKeys.Unmarshal(src, v) != nil {
		return err
	}
	return eachAny(r, CBOR, textMaps)
}

// decodeJSON keeps whole numbers in any whole.
func decodeJSON(src []byte, v any) error {
	r := reflect.ValueOf(v).Elem()
	if !holdsAny(r.Type(), JSON) {
		return json.Unmarshal(src, v)
	}
	d := json.NewDecoder(bytes.NewReader(src))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something stands behind the value")
	}
	return eachAny(r, JSON, numbers)
}
