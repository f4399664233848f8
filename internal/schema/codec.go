package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

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

var cborEncode, cborDecode = cborModes()

func cborModes() (cbor.UserBufferEncMode, cbor.DecMode) {
	eo := cbor.CoreDetEncOptions()
	eo.Time = cbor.TimeRFC3339Nano
	eo.TimeTag = cbor.EncTagRequired
	eo.TextMarshaler = cbor.TextMarshalerTextString
	em, err := eo.UserBufferEncMode()
	if err != nil {
		panic(err)
	}
	dm, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  maxLevels,
		MaxArrayElements: maxElements,
		MaxMapPairs:      maxElements,
		IntDec:           cbor.IntDecConvertSignedOrBigInt,
		DefaultMapType:   reflect.TypeFor[map[string]any](),
		UTF8:             cbor.UTF8DecodeInvalid,
		TextUnmarshaler:  cbor.TextUnmarshalerTextString,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return em, dm
}

// Append appends the encoding of v, a value or a pointer to one. On error it returns dst as it
// was. What it appends is within the limits of Decode.
func (c Codec) Append(dst []byte, v any) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	v = addressable(v)
	var err error
	switch c {
	case CBOR:
		if err = cborEncode.MarshalToBuffer(v, buf); err == nil && buf.Len()-len(dst) > maxLevels {
			err = cborDecode.Wellformed(buf.Bytes()[len(dst):])
		}
	case JSON:
		e := json.NewEncoder(buf)
		e.SetEscapeHTML(false)
		if err = e.Encode(v); err == nil {
			buf.Truncate(buf.Len() - 1) // the encoder's newline
		}
	default:
		return dst, fmt.Errorf("codec %q does not encode", string(c))
	}
	if err != nil {
		return dst, fmt.Errorf("encode %T: %w", v, err)
	}
	return buf.Bytes(), nil
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
// merged into and absent fields stay. Bytes that are no such element are ErrCorrupt. Nothing in
// v refers to src afterwards.
func (c Codec) Decode(src []byte, v any) error {
	if r := reflect.ValueOf(v); r.Kind() != reflect.Pointer || r.IsNil() {
		return fmt.Errorf("decode into %T: not a pointer to a value", v)
	}
	var err error
	switch c {
	case CBOR:
		err = cborDecode.Unmarshal(src, v)
	case JSON:
		err = json.Unmarshal(src, v)
	default:
		return fmt.Errorf("codec %q does not decode", string(c))
	}
	if err != nil {
		return fmt.Errorf("%w: element of %d bytes is no %T: %w", errs.ErrCorrupt, len(src), v, err)
	}
	return nil
}
