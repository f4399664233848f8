package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"time"

	"github.com/shiplap-ipc/shiplap/internal/schema"
)

// value checks a value that was decoded from JSON, and turns its parts into what the codec is to write.
func (s *shape) value(v any, cbor bool) (any, error) {
	if s = s.settledOr(v); s == nil {
		return nil, errors.New("it points to itself, and has no end")
	}
	if v == nil {
		if !s.nullable(cbor) {
			return nil, s.wrong(v)
		}
		return nil, nil
	}
	switch s.kind {
	case "any":
		return written(v, cbor)
	case "unknown":
		return nil, errors.New("the type is too long to stand in the header, so nothing can be checked; --raw sends bytes as they are")
	case "own":
		if cbor {
			return nil, fmt.Errorf("only programs know how a %s is written; --raw sends bytes as they are", s.name)
		}
		return v, nil
	case "~":
		return s.inString(v, cbor)
	}
	switch t := v.(type) {
	case bool:
		if s.kind == "bool" {
			return v, nil
		}
	case json.Number:
		return s.number(t, cbor)
	case string:
		return s.text(t)
	case []any:
		return s.list(t, cbor)
	case map[string]any:
		return s.object(t, cbor)
	}
	return nil, s.wrong(v)
}

// settledOr is the shape for v: null is for the outermost pointer.
func (s *shape) settledOr(v any) *shape {
	if v == nil {
		return s
	}
	return s.settled()
}

// inString reads a scalar that stands in a string.
func (s *shape) inString(v any, cbor bool) (any, error) {
	text, ok := v.(string)
	if !ok {
		return nil, s.wrong(v)
	}
	inner, err := decodeText([]byte(text))
	if err == nil {
		_, err = s.elem.value(inner, cbor)
	}
	if err != nil {
		return nil, s.wrong(v)
	}
	return v, nil
}

// number reads a number; JSON has it as it stands there.
func (s *shape) number(n json.Number, cbor bool) (any, error) {
	switch s.kind {
	case "big":
		b, ok := new(big.Int).SetString(n.String(), 10)
		switch {
		case !ok:
			return nil, s.wrong(n)
		case !cbor:
			return n, nil
		}
		return b, nil
	case "number":
		return n, nil
	case "f16", "bf16":
		return s.short(n, cbor)
	}
	bits, _ := strconv.Atoi(s.kind[1:])
	if bits == 0 {
		return nil, s.wrong(n)
	}
	var v any
	var err error
	switch s.kind[0] {
	case 'i':
		v, err = strconv.ParseInt(n.String(), 10, bits)
	case 'u':
		v, err = strconv.ParseUint(n.String(), 10, bits)
	default:
		v, err = strconv.ParseFloat(n.String(), bits)
	}
	switch {
	case err != nil:
		return nil, s.wrong(n)
	case !cbor:
		return n, nil
	}
	return v, nil
}

// short reads a float of two bytes.
func (s *shape) short(n json.Number, cbor bool) (any, error) {
	f, err := strconv.ParseFloat(n.String(), 32)
	if err != nil {
		return nil, s.wrong(n)
	}
	var v interface{ Float32() float32 } = schema.ToFloat16(float32(f))
	if s.kind == "bf16" {
		v = schema.ToBFloat16(float32(f))
	}
	switch {
	case math.IsInf(float64(v.Float32()), 0):
		return nil, s.wrong(n)
	case !cbor:
		return n, nil
	}
	return v.Float32(), nil
}

func (s *shape) text(t string) (any, error) {
	var v any = t
	var err error
	switch s.kind {
	case "str":
	case "bytes":
		var b []byte
		if b, err = base64.StdEncoding.DecodeString(t); err == nil && s.count >= 0 && len(b) != s.count {
			err = errors.New("another length")
		}
		v = b
	case "time":
		v, err = time.Parse(time.RFC3339, t)
	case "f16", "bf16", "f32", "f64":
		if t != "NaN" && t != "Infinity" && t != "-Infinity" { // as they are shown
			return nil, s.wrong(t)
		}
		v, err = strconv.ParseFloat(t, 64)
	default:
		err = errors.New("another kind")
	}
	if err != nil {
		return nil, s.wrong(t)
	}
	return v, nil
}

func (s *shape) list(l []any, cbor bool) (any, error) {
	switch {
	case s.kind == "()" && len(l) == len(s.fields):
	case s.kind == "[]" && (s.count < 0 || len(l) == s.count):
	default:
		return nil, s.wrong(l)
	}
	for i := range l {
		of, at := s.elem, fmt.Sprintf("[%d]", i)
		if s.kind == "()" {
			of, at = s.fields[i].shape, s.fields[i].name
		}
		var err error
		if l[i], err = of.value(l[i], cbor); err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
	}
	return l, nil
}

func (s *shape) object(m map[string]any, cbor bool) (any, error) {
	switch s.kind {
	case "map":
		return s.mapping(m, cbor)
	case "{}":
	default:
		return nil, s.wrong(m)
	}
	out := make(map[any]any, len(m))
	text := make(map[string]any, len(m))
	for k, v := range m {
		f := s.field(k)
		if f == nil {
			return nil, fmt.Errorf("there is no field %q; there are %s", k, s.names())
		}
		v, err := f.value(v, cbor)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
		if text[k] = v; f.number {
			n, _ := strconv.ParseInt(k, 10, 64)
			out[n] = v
		} else {
			out[k] = v
		}
	}
	if !cbor {
		return text, nil
	}
	return out, nil
}

// mapping reads a map; keys that are no text stand in text, for JSON has no others.
func (s *shape) mapping(m map[string]any, cbor bool) (any, error) {
	out := make(map[any]any, len(m))
	text := make(map[string]any, len(m))
	for k, v := range m {
		key, err := s.key.keyValue(k, cbor)
		if err != nil {
			return nil, fmt.Errorf("key %.40q: %w", k, err)
		}
		if v, err = s.elem.value(v, cbor); err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
		out[key], text[k] = v, v
	}
	if !cbor {
		return text, nil
	}
	return out, nil
}

// keyValue is a key of a map, read from the text that stands for it.
func (s *shape) keyValue(text string, cbor bool) (any, error) {
	switch s.kind {
	case "str", "any":
		return text, nil
	case "bool":
		switch text {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, s.wrong(text)
	case "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64":
		return s.number(json.Number(text), true)
	case "f16", "bf16", "f32", "f64":
		if v, err := s.text(text); err == nil {
			return v, nil
		}
		return s.number(json.Number(text), true)
	case "own":
		if !cbor {
			return text, nil
		}
	}
	return nil, errors.New("JSON has no such keys; --raw sends bytes as they are")
}

// written prepares a JSON value of no known shape: in CBOR, numbers become whole numbers or floats.
func written(v any, cbor bool) (any, error) {
	switch v := v.(type) {
	case json.Number:
		n, err := schema.Number(v)
		if err != nil || cbor {
			return n, err
		}
	case []any:
		for i := range v {
			var err error
			if v[i], err = written(v[i], cbor); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			var err error
			if v[k], err = written(v[k], cbor); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}
