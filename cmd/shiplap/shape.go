package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// shape is what a message of CBOR or JSON has to look like, read from its type as internal/schema spells it. A recursive type is a
// shape that leads back to itself.
type shape struct {
	kind   string // a scalar, "any", "?", "[]", "map", "{}", "()", "~", "own" (it encodes itself) or "unknown"
	count  int    // of a list or a byte string of one length, else -1
	elem   *shape
	key    *shape
	fields []shapeField
	name   string // of a type that encodes itself
}

type shapeField struct {
	name   string
	number bool // the key is a whole number
	*shape
}

// shapeOf reads the text of a shape that schema.Parse has accepted.
func shapeOf(text string) *shape {
	r := shapeReader{s: text}
	s := r.read()
	if r.s != "" {
		return &shape{kind: "unknown"} // a digest
	}
	return s
}

type shapeReader struct {
	s    string
	open []*shape
}

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

// level reads what stands one level deeper.
func (r *shapeReader) level(s *shape, read func()) *shape {
	r.open = append(r.open, s)
	read()
	r.open = r.open[:len(r.open)-1]
	return s
}

func (r *shapeReader) read() *shape {
	s := &shape{count: -1}
	elem := func() { s.elem = r.read() }
	switch {
	case r.skip("?"):
		s.kind = "?"
		return r.level(s, elem)
	case r.skip("["):
		s.kind = "[]"
		if n, err := strconv.Atoi(r.until("]")); err == nil {
			s.count = n
		}
		r.skip("]")
		return r.level(s, elem)
	case r.skip("map["):
		s.kind = "map"
		return r.level(s, func() {
			s.key = r.read()
			r.skip("]")
			s.elem = r.read()
		})
	case r.skip("{"):
		s.kind = "{}"
		return r.level(s, func() { r.fields(s, "}") })
	case r.skip("("):
		s.kind = "()"
		return r.level(s, func() { r.fields(s, ")") })
	case r.skip("~"):
		s.kind, s.elem = "~", r.read()
		return s
	case r.skip("@"):
		s.kind = "own"
		s.name, _ = r.quoted()
		return s
	case r.skip("^"):
		n, err := strconv.Atoi(r.until(",]})"))
		if err != nil || n < 1 || n > len(r.open) {
			s.kind = "unknown"
			return s
		}
		return r.open[len(r.open)-n]
	}
	s.kind = r.until(",]})")
	if n, ok := strings.CutPrefix(s.kind, "bytes"); ok && n != "" {
		s.kind = "bytes"
		s.count, _ = strconv.Atoi(n)
	}
	return s
}

func (r *shapeReader) fields(s *shape, end string) {
	for !r.skip(end) && r.s != "" {
		r.skip(",")
		f := shapeField{}
		var isText bool
		if f.name, isText = r.quoted(); !isText {
			f.name = r.until(":")
			_, err := strconv.Atoi(f.name)
			f.number = err == nil
		}
		r.skip(":")
		f.shape = r.read()
		s.fields = append(s.fields, f)
	}
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

// field is the field of that name.
func (s *shape) field(name string) *shapeField {
	for i := range s.fields {
		if s.fields[i].name == name {
			return &s.fields[i]
		}
	}
	return nil
}

func (s *shape) names() string {
	var names []string
	for _, f := range s.fields {
		names = append(names, f.name)
	}
	return strings.Join(names, ", ")
}

// settled is the shape behind any number of "?"; nil if there is no end of them.
func (s *shape) settled() *shape {
	for n := 0; s.kind == "?"; n++ {
		if s = s.elem; n > 64 {
			return nil
		}
	}
	return s
}

// nullable reports whether null is written for it: for pointers, and for what is empty in Go.
func (s *shape) nullable(cbor bool) bool {
	switch s.kind {
	case "?", "map", "any":
		return true
	case "[]", "bytes":
		return s.count < 0
	case "time":
		return cbor
	}
	return false
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
	case "()":
		return fmt.Sprintf("a list of %d: %s", len(s.fields), s.names())
	case "map":
		return "an object"
	case "{}":
		return "an object with " + s.names()
	case "str":
		return "a string"
	case "bytes":
		if s.count >= 0 {
			return fmt.Sprintf("a string of base64 of %d bytes", s.count)
		}
		return "a string of base64"
	case "time":
		return "a time, like 2006-01-02T15:04:05Z"
	case "big":
		return "a whole number"
	case "number":
		return "a number"
	case "~":
		return fmt.Sprintf("a string with %s in it", s.elem.describe())
	case "?":
		if e := s.settled(); e != nil {
			return e.describe()
		}
	}
	return "a " + s.kind
}
