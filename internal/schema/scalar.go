package schema

import (
	"reflect"
	"strconv"
	"strings"
)

// Class is what a scalar is; of anything else it is Other.
type Class byte

// Classes of scalars.
const (
	Other    Class = 0
	Bool     Class = 'b'
	Signed   Class = 'i'
	Unsigned Class = 'u'
	Float    Class = 'f' // of 2, 4 or 8 bytes
	Brain    Class = 'B' // bfloat16
	Complex  Class = 'c'
	ByteText Class = 'S' // a byte string with zeros behind it
	UTF8     Class = 'T' // text with zeros behind it
)

// Class tells what a layout is.
func (l *Layout) Class() Class {
	switch {
	case l.Scalar == "":
		return Other
	case l.Scalar == brain:
		return Brain
	case strings.HasPrefix(l.Scalar, utf8Prefix):
		return UTF8
	}
	return Class(l.Scalar[1])
}

// Number reports whether a layout is one real number.
func (l *Layout) Number() bool {
	switch l.Class() {
	case Signed, Unsigned, Float, Brain:
		return true
	}
	return false
}

const (
	brain       = "bfloat16"
	bytesPrefix = "|S"
	utf8Prefix  = "utf8["
)

// scalars maps what stands in a layout to sizes; of complex numbers, the parts are aligned.
var scalars = map[string]layout{
	"|b1": {size: 1, align: 1, boolean: true},
	"|i1": {size: 1, align: 1}, "<i2": {size: 2, align: 2}, "<i4": {size: 4, align: 4}, "<i8": {size: 8, align: 8},
	"|u1": {size: 1, align: 1}, "<u2": {size: 2, align: 2}, "<u4": {size: 4, align: 4}, "<u8": {size: 8, align: 8},
	"<f2": {size: 2, align: 2}, "<f4": {size: 4, align: 4}, "<f8": {size: 8, align: 8},
	"<c8": {size: 8, align: 4}, "<c16": {size: 16, align: 8},
	brain: {size: 2, align: 2},
}

// scalarIn returns the scalar that s begins with, and how many bytes of s it takes.
func scalarIn(s string) (l layout, n int, ok bool) {
	for _, n := range []int{len(brain), 4, 3} {
		if n <= len(s) {
			if l, ok := scalars[s[:n]]; ok {
				return l, n, true
			}
		}
	}
	rest, closing := "", ""
	if rest, ok = strings.CutPrefix(s, bytesPrefix); !ok {
		if rest, ok = strings.CutPrefix(s, utf8Prefix); !ok {
			return layout{}, 0, false
		}
		closing = "]"
	}
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	size, err := strconv.Atoi(digits)
	if err != nil || digits[0] == '0' || size > maxSize || !strings.HasPrefix(rest[len(digits):], closing) {
		return layout{}, 0, false
	}
	return layout{size: size, align: 1}, len(s) - len(rest) + len(digits) + len(closing), true
}

// namedScalar spells the types that are scalars by name, or "".
func namedScalar(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Float16]():
		return "<f2"
	case reflect.TypeFor[BFloat16]():
		return brain
	}
	if c, ok := charsOf(t); ok {
		return c.spelling()
	}
	return ""
}
