package main

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/shiplap-ipc/shiplap/internal/schema"
)

// cborToJSON writes CBOR as JSON; bytes become base64, times RFC 3339, keys of maps text, and what JSON has no number for
// "NaN", "Infinity" and "-Infinity".
func cborToJSON(b []byte) ([]byte, error) { return anyShape.cborToJSON(nil, b) }

var anyShape = &shape{kind: "any", count: -1}

// cborToJSON appends CBOR as JSON. What the type says is checked on the way.
func (s *shape) cborToJSON(dst, b []byte) ([]byte, error) {
	var v any
	if err := schema.CBOR.Decode(b, &v); err != nil {
		return dst, err
	}
	return s.show(dst, v)
}

// show appends a value that was decoded from CBOR. A number has a fraction or an exponent if it is a float of unknown type, so that
// the same text makes the same value again.
func (s *shape) show(dst []byte, v any) ([]byte, error) {
	if s.kind == "own" || s.kind == "unknown" {
		s = anyShape
	}
	if v == nil {
		if !s.nullable(true) {
			return dst, s.misfit(v)
		}
		return append(dst, "null"...), nil
	}
	if s = s.settled(); s == nil {
		s = anyShape
	}
	free := s.kind == "any"
	switch v := v.(type) {
	case bool:
		if free || s.kind == "bool" {
			return strconv.AppendBool(dst, v), nil
		}
	case int64:
		if free || s.kind == "big" || s.holds(v) {
			return strconv.AppendInt(dst, v, 10), nil
		}
	case big.Int:
		if free || s.kind == "big" || s.kind == "u64" && v.IsUint64() {
			return v.Append(dst, 10), nil
		}
	case float64:
		return s.showFloat(dst, v)
	case string:
		if free || s.kind == "str" {
			return schema.JSON.Append(dst, v)
		}
	case []byte:
		if free || s.kind == "bytes" && (s.count < 0 || s.count == len(v)) {
			return strconv.AppendQuote(dst, base64.StdEncoding.EncodeToString(v)), nil
		}
	case time.Time:
		if free || s.kind == "time" {
			return strconv.AppendQuote(dst, v.Format(time.RFC3339Nano)), nil
		}
	case []any:
		return s.showList(dst, v)
	case map[string]any:
		m := make(map[any]any, len(v))
		for k := range v {
			m[k] = v[k]
		}
		return s.showMap(dst, m)
	case map[any]any:
		return s.showMap(dst, v)
	case cbor.Tag:
		if free {
			dst = fmt.Appendf(dst, `{"Number":%d,"Content":`, v.Number)
			dst, err := s.show(dst, v.Content)
			return append(dst, '}'), err
		}
	default:
		if free {
			return schema.JSON.Append(dst, v)
		}
	}
	return dst, s.misfit(v)
}

func (s *shape) misfit(v any) error {
	return fmt.Errorf("a %T is not %s", v, s.describe())
}

// holds reports whether n is in the range of a whole number.
func (s *shape) holds(n int64) bool {
	bits, err := strconv.Atoi(s.kind[1:])
	switch {
	case err != nil:
		return false
	case s.kind[0] == 'i':
		return n<<(64-bits)>>(64-bits) == n
	case s.kind[0] == 'u':
		return n >= 0 && (bits == 64 || n>>bits == 0)
	}
	return s.kind[0] == 'f'
}

func (s *shape) showFloat(dst []byte, f float64) ([]byte, error) {
	switch s.kind {
	case "any", "f16", "bf16", "f32", "f64":
	default:
		return dst, s.misfit(f)
	}
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...), nil
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...), nil
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...), nil
	case s.kind == "any":
		v := any(f)
		return schema.JSON.Append(dst, &v)
	case s.kind == "f64":
		return schema.JSON.Append(dst, f)
	}
	return schema.JSON.Append(dst, float32(f))
}

func (s *shape) showList(dst []byte, l []any) (_ []byte, err error) {
	switch {
	case s.kind == "any", s.kind == "()" && len(l) == len(s.fields):
	case s.kind == "[]" && (s.count < 0 || len(l) == s.count):
	default:
		return dst, s.misfit(l)
	}
	dst = append(dst, '[')
	for i, v := range l {
		if i > 0 {
			dst = append(dst, ',')
		}
		of := s
		switch s.kind {
		case "()":
			of = s.fields[i].shape
		case "[]":
			of = s.elem
		}
		if dst, err = of.show(dst, v); err != nil {
			return dst, fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return append(dst, ']'), nil
}

func (s *shape) showMap(dst []byte, m map[any]any) (_ []byte, err error) {
	if s.kind != "any" && s.kind != "map" && s.kind != "{}" {
		return dst, s.misfit(m)
	}
	type pair struct {
		key string
		v   any
		of  *shape
	}
	var pairs []pair
	for k, v := range m {
		p := pair{v: v, of: s}
		if p.key, err = keyText(k); err != nil {
			return dst, err
		}
		switch s.kind {
		case "map":
			p.of = s.elem
		case "{}":
			if p.of = anyShape; s.field(p.key) != nil {
				p.of = s.field(p.key).shape
			}
		}
		pairs = append(pairs, p)
	}
	slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	dst = append(dst, '{')
	for i, p := range pairs {
		if i > 0 {
			if p.key == pairs[i-1].key {
				return dst, fmt.Errorf("two keys of a map are %q in JSON", p.key)
			}
			dst = append(dst, ',')
		}
		if dst, err = schema.JSON.Append(dst, p.key); err != nil {
			return dst, err
		}
		if dst, err = p.of.show(append(dst, ':'), p.v); err != nil {
			return dst, fmt.Errorf("%s: %w", p.key, err)
		}
	}
	return append(dst, '}'), nil
}

// keyText is the text that stands for a key.
func keyText(k any) (string, error) {
	switch k := k.(type) {
	case string:
		return k, nil
	case int64:
		return strconv.FormatInt(k, 10), nil
	case bool:
		return strconv.FormatBool(k), nil
	case float64:
		return strconv.FormatFloat(k, 'g', -1, 64), nil
	case time.Time:
		return k.Format(time.RFC3339Nano), nil
	case cbor.ByteString:
		return base64.StdEncoding.EncodeToString([]byte(k)), nil
	case nil:
		return "null", nil
	}
	return "", fmt.Errorf("JSON has no keys like a %T", k)
}
