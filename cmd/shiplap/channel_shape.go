package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// shape is what a message of CBOR or JSON has to look like, read from its type as internal/schema spells it. What cannot be told of
// JSON, types that encode themselves and the like, is "any".
type shape struct {
	kind   string // a scalar, "any", "?", "[]", "map" or "{}"
	count  int    // of a list of one length, else -1
	elem   *shape
	key    *shape
	fields map[string]*shape
	names  []string
}

var anyShape = &shape{kind: "any"}

// shapeOf reads the text of a shape that schema.Parse has accepted.
func shapeOf(text string) *shape {
	r := shapeReader{text}
	s := r.read()
	if r.s != "" {
		return anyShape
	}
	return s
}

type shapeReader struct{ s string }

func (r *shapeReader) skip(token string) bool {
	rest, ok := strings.CutPrefix(r.s, token)
	r.s = rest
	return ok
}

// until cuts off what stands before one of these characters.
func (r *shapeReader) until(stops string) string {
	i := strings.IndexAny(r.s, stops)
	if i < 0 {
		i = len(r.s)
	}
	text := r.s[:i]
	r.s = r.s[i:]
	return text
}

func (r *shapeReader) read() *shape {
	switch {
	case r.skip("?"):
		return &shape{kind: "?", elem: r.read()}
	case r.skip("["):
		n, err := strconv.Atoi(r.until("]"))
		if err != nil {
			n = -1
		}
		r.skip("]")
		return &shape{kind: "[]", count: n, elem: r.read()}
	case r.skip("map["):
		key := r.read()
		r.skip("]")
		return &shape{kind: "map", key: key, elem: r.read()}
	case r.skip("{"):
		return r.structure("}")
	case r.skip("("):
		r.structure(")")
		return anyShape
	case r.skip("~"):
		r.read()
		return anyShape
	case r.skip("@"):
		_, _ = r.quoted()
		return anyShape
	}
	switch name := r.until(",]})"); name {
	case "bool", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64", "str", "bytes", "time":
		return &shape{kind: name}
	}
	return anyShape
}

func (r *shapeReader) structure(end string) *shape {
	s := &shape{kind: "{}", fields: map[string]*shape{}}
	for !r.skip(end) && r.s != "" {
		r.skip(",")
		name, isText := r.quoted()
		if !isText {
			name = r.until(":")
			if _, err := strconv.Atoi(name); err == nil {
				s.kind = "numbered"
			}
		}
		r.skip(":")
		s.fields[name] = r.read()
		s.names = append(s.names, name)
	}
	return s
}

// quoted reads a name in quotes.
func (r *shapeReader) quoted() (name string, ok bool) {
	text, err := strconv.QuotedPrefix(r.s)
	if err != nil {
		return "", false
	}
	name, err = strconv.Unquote(text)
	r.s = r.s[len(text):]
	return name, err == nil
}

func (s *shape) wrong(v any) error {
	text, _ := json.Marshal(v)
	return fmt.Errorf("%.40s is not %s", text, s.describe())
}

func (s *shape) describe() string {
	switch s.kind {
	case "[]":
		if s.count >= 0 {
			return fmt.Sprintf("a list of %d", s.count)
		}
		return "a list"
	case "map":
		return "an object"
	case "{}":
		return "an object with " + strings.Join(s.names, ", ")
	case "str":
		return "a string"
	case "bytes":
		return "a string of base64"
	case "time":
		return "a time, like 2006-01-02T15:04:05Z"
	}
	return "a " + s.kind
}

// value checks a value that was decoded from JSON, and turns its parts into what the codec is to write.
func (s *shape) value(v any, cbor bool) (any, error) {
	if s.kind == "any" {
		return written(v)
	}
	if s.kind == "?" {
		if v == nil {
			return nil, nil
		}
		return s.elem.value(v, cbor)
	}
	switch t := v.(type) {
	case nil:
		if s.kind == "[]" && s.count < 0 || s.kind == "map" || s.kind == "bytes" {
			return nil, nil
		}
	case bool:
		if s.kind == "bool" {
			return v, nil
		}
	case json.Number:
		return s.number(t)
	case string:
		return s.text(t)
	case []any:
		return s.list(t, cbor)
	case map[string]any:
		return s.object(t, cbor)
	}
	return nil, s.wrong(v)
}

func (s *shape) number(n json.Number) (any, error) {
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
	if err != nil {
		return nil, s.wrong(n)
	}
	return v, nil
}

func (s *shape) text(t string) (any, error) {
	var v any = t
	var err error
	switch s.kind {
	case "str":
	case "bytes":
		v, err = base64.StdEncoding.DecodeString(t)
	case "time":
		v, err = time.Parse(time.RFC3339, t)
	case "f32", "f64":
		if t != "NaN" && t != "Infinity" && t != "-Infinity" { // as cborToJSON writes them
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
	if s.kind != "[]" || s.count >= 0 && len(l) != s.count {
		return nil, s.wrong(l)
	}
	for i := range l {
		var err error
		if l[i], err = s.elem.value(l[i], cbor); err != nil {
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return l, nil
}

func (s *shape) object(m map[string]any, cbor bool) (any, error) {
	switch {
	case s.kind == "map" && (!cbor || s.key.kind == "str" || s.key.kind == "any"), s.kind == "{}":
	case s.kind == "map", s.kind == "numbered":
		return nil, errors.New("JSON has no keys but text; --raw sends bytes as they are")
	default:
		return nil, s.wrong(m)
	}
	for k, v := range m {
		of := s.elem
		if s.kind == "{}" {
			if of = s.fields[k]; of == nil {
				return nil, fmt.Errorf("there is no field %q; there are %s", k, strings.Join(s.names, ", "))
			}
		}
		var err error
		if m[k], err = of.value(v, cbor); err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
	}
	return m, nil
}

// written prepares a JSON value of no known shape: numbers become whole numbers or floats.
func written(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		if n, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return n, nil
		}
		f, err := v.Float64()
		if err != nil || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%s is no number that fits", v)
		}
		return f, nil
	case []any:
		for i := range v {
			var err error
			if v[i], err = written(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			var err error
			if v[k], err = written(v[k]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}
