package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// A guard looks at a value before it is encoded: it refuses what no reader could decode, and what would
// run the encoder out of stack. A type whose values are all readable has none (nil), so that sending it costs
// nothing; which types those are is decided once a type.
//
// Readable means: by a program that decodes into the same type, and, for what stands inside "any", by one
// that decodes into any.
type guard func(w *walk, v reflect.Value) error

// walk is one look at one value.
type walk struct {
	codec   Codec
	levels  int  // that are open
	hops    int  // pointers and interfaces that are open
	rewrite bool // something must be written in another form: see rewriter
}

// jsonLevels is how deep encoding/json reads.
const jsonLevels = 10000

// errDeep is what a cyclic value ends in, too.
var errDeep = errors.New("nested too deep, or it contains itself")

func (w *walk) enter() error {
	w.levels++
	if w.levels > maxLevels && (w.codec == CBOR || w.levels > jsonLevels) {
		return fmt.Errorf("%w: %d levels", errDeep, w.levels)
	}
	return nil
}

func (w *walk) hop() error {
	w.hops++
	if w.hops > 2*jsonLevels {
		return fmt.Errorf("%w: %d pointers", errDeep, w.hops)
	}
	return nil
}

// place is where a value stands, which decides what its reader can make of it.
type place struct {
	codec Codec
	free  bool // inside any: its reader does not know its Go type
	found bool // the encoder has refused something: the guard says where it stands
}

var guards [8]sync.Map // by place: of reflect.Type, to guard

func (p place) number() (n int) {
	if p.codec == JSON {
		n = 1
	}
	if p.free {
		n += 2
	}
	if p.found {
		n += 4
	}
	return n
}

// guardOf returns the guard of values of t.
func guardOf(t reflect.Type, p place) guard {
	known := &guards[p.number()]
	if g, ok := known.Load(t); ok {
		return g.(guard)
	}
	c := compiler{place: p, slots: map[reflect.Type]*slot{}}
	g := c.guard(t)
	known.Store(t, g)
	return g
}

// compiler makes the guards of a type and of what it consists of.
type compiler struct {
	place
	slots map[reflect.Type]*slot
}

// slot holds the guard of a type. A recursive type meets its own slot before it is filled.
type slot struct {
	g      guard
	filled bool
}

func (c *compiler) guard(t reflect.Type) guard {
	if s := c.slots[t]; s != nil {
		if s.filled {
			return s.g
		}
		return func(w *walk, v reflect.Value) error { return s.g(w, v) }
	}
	s := &slot{}
	c.slots[t] = s
	s.g = c.byKind(t)
	s.filled = true
	return s.g
}

func (c *compiler) byKind(t reflect.Type) guard {
	if g, ok := c.special(t); ok {
		return g
	}
	switch t.Kind() {
	case reflect.Interface:
		if t.NumMethod() == 0 || c.free { // of other interfaces only the value matters, if the reader has any
			return anyGuard
		}
	case reflect.Pointer:
		return pointerGuard(c.guard(t.Elem()))
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return nil
		}
		return listGuard(c.guard(t.Elem()))
	case reflect.Array:
		return listGuard(c.guard(t.Elem()))
	case reflect.Map:
		return c.mapGuard(t)
	case reflect.Struct:
		return c.structGuard(t)
	case reflect.Float32, reflect.Float64:
		if c.codec == JSON && (c.free || c.found) { // the encoder looks for NaN itself
			return jsonFloat(c.free)
		}
		return nil
	}
	if _, ok := plain[t.Kind()]; ok {
		return nil
	}
	return refusal(fmt.Errorf("it is %s, which codec %s cannot carry", kindName(t), c.codec))
}

// special gives the guards of types that the codecs treat by name or by their methods.
func (c *compiler) special(t reflect.Type) (g guard, ok bool) {
	switch t {
	case reflect.TypeFor[time.Time]():
		return timeGuard, true
	case reflect.TypeFor[json.Number]():
		if c.free && c.codec == JSON {
			return numberGuard, true
		}
		return nil, true
	case reflect.TypeFor[big.Int](), reflect.TypeFor[cbor.ByteString]():
		return nil, true
	case reflect.TypeFor[cbor.Tag]():
		if c.codec == CBOR {
			return tagGuard, true
		}
	case reflect.TypeFor[cbor.RawMessage](), reflect.TypeFor[cbor.RawTag]():
		if c.codec == CBOR {
			if !c.free { // such a reader takes whatever is well-formed, and so does the encoder
				return nil, true
			}
			return trialGuard, true
		}
	case reflect.TypeFor[json.RawMessage]():
		if c.free && c.codec == JSON {
			return trialGuard, true
		}
		return nil, true
	}
	m, own := ownMethods(t, c.codec)
	switch {
	case !own:
		return nil, false
	case !c.free && !reflect.PointerTo(t).Implements(m.decode):
		return refusal(fmt.Errorf("it is a %s, which has %s, but not %s", t, m.encode.Method(0).Name, m.decode.Method(0).Name)), true
	case c.free && (m.encode == reflect.TypeFor[cbor.Marshaler]() || m.encode == reflect.TypeFor[json.Marshaler]()):
		return trialGuard, true
	}
	return nil, true
}

// ownMethods returns the methods with which values of t encode themselves.
func ownMethods(t reflect.Type, c Codec) (methodPair, bool) {
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return methodPair{}, false
	}
	p := reflect.PointerTo(t)
	for _, m := range methods[c] {
		if p.Implements(m.encode) {
			return m, true
		}
	}
	return methodPair{}, false
}

func (c *compiler) structGuard(t reflect.Type) guard {
	fields, array, err := visibleFields(t, c.codec)
	if err == nil && len(fields) == 0 && t.Size() > 0 {
		err = fmt.Errorf("it is a %s, of whose fields none is exported: codec %s would lose it", t, c.codec)
	}
	if err != nil {
		return refusal(err)
	}
	type guarded struct {
		visibleField
		guard
	}
	var all []guarded
	for _, f := range fields {
		g := c.guard(f.typ)
		if p := unsettable(t, f.index); p != nil && !c.free {
			g = refusal(fmt.Errorf("it is behind an embedded %s, which is not exported: a reader could not set it", p))
			if array { // where a field cannot be absent
				return g
			}
		}
		if g != nil {
			all = append(all, guarded{f, g})
		}
	}
	if all == nil {
		return nil
	}
	return func(w *walk, v reflect.Value) error {
		if err := w.enter(); err != nil {
			return err
		}
		for i := range all {
			f := &all[i]
			if field, ok := fieldAt(v, f.index); ok {
				if err := f.guard(w, field); err != nil {
					return inside("."+f.goName, err)
				}
			}
		}
		w.levels--
		return nil
	}
}

// unsettable returns the embedded pointer on the way to a field that decoders cannot set; nil if there is none.
func unsettable(t reflect.Type, index []int) reflect.Type {
	for _, i := range index[:len(index)-1] {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		f := t.Field(i)
		if t = f.Type; t.Kind() == reflect.Pointer && !f.IsExported() {
			return t
		}
	}
	return nil
}

// fieldAt is FieldByIndex; false if a nil pointer is in the way.
func fieldAt(v reflect.Value, index []int) (reflect.Value, bool) {
	if len(index) == 1 {
		return v.Field(index[0]), true
	}
	f, err := v.FieldByIndexErr(index)
	return f, err == nil
}

// partError says which part of a value it is about.
type partError struct {
	path string
	err  error
}

func (e *partError) Error() string { return strings.TrimPrefix(e.path, ".") + ": " + e.err.Error() }
func (e *partError) Unwrap() error { return e.err }

// longestPath is how much of a path an error shows; what goes around in circles has no end.
const longestPath = 200

// inside says that err is about a part: ".Field", "[3]".
func inside(step string, err error) error {
	p, ok := err.(*partError)
	if !ok {
		return &partError{step, err}
	}
	if len(p.path) < longestPath {
		p.path = step + p.path
	} else if !strings.HasPrefix(p.path, "…") {
		p.path = "…" + p.path
	}
	return p
}
