package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/shiplap-ipc/shiplap/internal/schema"
)

const typeHelp = `A TYPE is bool, i8 to i64, u8 to u64, f32, f64, c64 or c128, a NumPy name like f4 or '<f4', or the layout of a record, an
array or both, as shiplap stat shows it: '{X:<f8@0,ID:<u4@8;size=16,align=8}', '[3]<f4'.`

const literalHelp = `Values are JSON: numbers, true and false, [re, im] for a complex number, lists for arrays, objects for records. Integers are exact to
the last digit. JSON has no NaN and no infinities: they are the strings "NaN", "Infinity" and "-Infinity". Where a value is one number it may
also be written without quotes, or like 0xff.`

var typeNames = map[string]string{
	"bool": "|b1", "i8": "|i1", "i16": "<i2", "i32": "<i4", "i64": "<i8", "u8": "|u1", "u16": "<u2", "u32": "<u4", "u64": "<u8",
	"f32": "<f4", "f64": "<f8", "c64": "<c8", "c128": "<c16",
	"int8": "|i1", "int16": "<i2", "int32": "<i4", "int64": "<i8", "uint8": "|u1", "uint16": "<u2", "uint32": "<u4", "uint64": "<u8",
	"float16": "<f2", "f16": "<f2", "f2": "<f2", "bf16": "bfloat16", "float32": "<f4", "float64": "<f8", "complex64": "<c8", "complex128": "<c16",
	"b1": "|b1", "i1": "|i1", "i2": "<i2", "i4": "<i4", "u1": "|u1", "u2": "<u2", "u4": "<u4", "f4": "<f4", "f8": "<f8", "c8": "<c8", "c16": "<c16",
}

// parseType reads what users call a type; i8 and u8 count bits, like all names that do not begin with a sign.
func parseType(text string) (string, *schema.Layout, error) {
	if text == "" {
		return "", nil, usagef("--type is needed")
	}
	s := strings.TrimPrefix(text, string(schema.Fixed)+":")
	if full, ok := typeNames[s]; ok {
		s = full
	}
	d, err := schema.Parse(string(schema.Fixed) + ":" + s)
	if err != nil {
		return "", nil, usagef("--type %s: no type: write i64, f64, u8, …, or a layout like {X:<f8@0,ID:<u4@8;size=16,align=8} (%w)", text, err)
	}
	l, err := d.Layout()
	return d.Text, l, err
}

// layoutOf is the layout of a descriptor that an object has.
func layoutOf(typ string) (*schema.Layout, error) {
	d, err := schema.Parse(typ)
	if err != nil {
		return nil, err
	}
	return d.Layout()
}

// appendJSON appends one element.
func appendJSON(dst []byte, l *schema.Layout, b []byte) []byte {
	switch {
	case l.Elem != nil:
		dst = append(dst, '[')
		for i := range l.Count {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(dst, l.Elem, b[i*l.Elem.Size:(i+1)*l.Elem.Size])
		}
		return append(dst, ']')
	case l.Scalar == "":
		dst = append(dst, '{')
		for i, f := range l.Fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(append(append(dst, '"'), f.Name...), '"', ':') // names are letters and digits
			dst = appendJSON(dst, f.Layout, b[f.Offset:f.Offset+f.Layout.Size])
		}
		return append(dst, '}')
	}
	if l.Class() == schema.Complex {
		half := halfOf(l)
		dst = appendFloat(append(dst, '['), half, b[:half.Size], true)
		return append(appendFloat(append(dst, ','), half, b[half.Size:], true), ']')
	}
	return appendScalar(dst, l, b, true)
}

// appendText is appendJSON, but without quotes where it is one number.
func appendText(dst []byte, l *schema.Layout, b []byte) []byte {
	switch l.Class() {
	case schema.Other, schema.Complex:
		return appendJSON(dst, l, b)
	}
	return appendScalar(dst, l, b, false)
}

func appendScalar(dst []byte, l *schema.Layout, b []byte, quoted bool) []byte {
	switch l.Class() {
	case schema.Bool:
		return strconv.AppendBool(dst, b[0] != 0)
	case schema.Float, schema.Brain:
		return appendFloat(dst, l, b, quoted)
	case schema.ByteText, schema.UTF8:
		return appendChars(dst, l, b, quoted)
	case schema.Unsigned:
		return strconv.AppendUint(dst, bitsOf(b), 10)
	}
	shift := 64 - 8*len(b)
	return strconv.AppendInt(dst, int64(bitsOf(b)<<shift)>>shift, 10)
}

func bitsOf(b []byte) uint64 {
	var word [8]byte
	copy(word[:], b)
	return binary.LittleEndian.Uint64(word[:])
}

func putBits(b []byte, v uint64) {
	var word [8]byte
	binary.LittleEndian.PutUint64(word[:], v)
	copy(b, word[:])
}

const maxLiteral = 64 << 20

// parseLiteral reads a value as the bytes of one element.
func parseLiteral(l *schema.Layout, text string) ([]byte, error) {
	b := make([]byte, l.Size)
	text = strings.TrimSpace(text)
	if len(text) > maxLiteral {
		return nil, usagef("a value of %d bytes", len(text))
	}
	if c := l.Class(); c != schema.Other && c != schema.Complex && !strings.HasPrefix(text, `"`) {
		return b, setScalar(l, b, text)
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, usagef("%.60q is no JSON value: %w", text, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, usagef("%.60q: something stands behind the value", text)
	}
	return b, setJSON(l, b, v, "")
}

func setJSON(l *schema.Layout, b []byte, v any, path string) error {
	at := ""
	if path != "" {
		at = path + ": "
	}
	wrong := func(want string) error {
		text, _ := json.Marshal(v)
		return usagef("%s%.60s is not %s", at, text, want)
	}
	switch {
	case l.Elem != nil:
		list, ok := v.([]any)
		if !ok || len(list) != l.Count {
			return wrong(fmt.Sprintf("a list of %d", l.Count))
		}
		for i, e := range list {
			if err := setJSON(l.Elem, b[i*l.Elem.Size:(i+1)*l.Elem.Size], e, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		return nil
	case l.Scalar == "":
		return setRecord(l, b, v, path, wrong)
	case l.Class() == schema.Complex:
		list, ok := v.([]any)
		if !ok || len(list) != 2 {
			return wrong("[re, im]")
		}
		half := halfOf(l)
		return errorsFirst(setJSON(half, b[:half.Size], list[0], path), setJSON(half, b[half.Size:], list[1], path))
	}
	var text string
	switch v := v.(type) {
	case json.Number:
		text = v.String()
	case bool:
		text = strconv.FormatBool(v)
	case string:
		switch l.Class() {
		case schema.Float, schema.Brain, schema.ByteText, schema.UTF8:
		default:
			return wrong("a " + l.Scalar)
		}
		text = v
	default:
		return wrong("a " + l.Scalar)
	}
	if err := setScalar(l, b, text); err != nil {
		return fmt.Errorf("%s%w", at, err)
	}
	return nil
}

func errorsFirst(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func setRecord(l *schema.Layout, b []byte, v any, path string, wrong func(string) error) error {
	var names []string
	for _, f := range l.Fields {
		names = append(names, f.Name)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return wrong("an object with " + strings.Join(names, ", "))
	}
	for name := range m {
		if !slices.Contains(names, name) {
			return wrong(fmt.Sprintf("right: there is no field %q; there are %s", name, strings.Join(names, ", ")))
		}
	}
	for _, f := range l.Fields {
		e, ok := m[f.Name]
		if !ok {
			return wrong(fmt.Sprintf("complete: field %q is missing", f.Name))
		}
		if err := setJSON(f.Layout, b[f.Offset:f.Offset+f.Layout.Size], e, path+"."+f.Name); err != nil {
			return err
		}
	}
	return nil
}

// octal reports whether text is a number that begins with 0 and another digit, which some read in base 8.
func octal(text string) bool {
	text = strings.TrimLeft(text, "+-")
	return len(text) > 1 && text[0] == '0' && '0' <= text[1] && text[1] <= '9'
}

func setScalar(l *schema.Layout, b []byte, text string) error {
	bits := 8 * len(b)
	fail := func(err error) error {
		if n, ok := err.(*strconv.NumError); ok {
			err = n.Err
		}
		return usagef("%.60q as %s: %w", text, l.Scalar, err)
	}
	switch l.Class() {
	case schema.ByteText, schema.UTF8:
		return setChars(l, b, text)
	}
	if octal(text) {
		return usagef("%.60q as %s: a leading 0 may mean base 8 or 10: write 0o%s, or no 0", text, l.Scalar, strings.TrimLeft(text, "+-0"))
	}
	switch l.Class() {
	case schema.Bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return fail(err)
		}
		if v {
			b[0] = 1
		}
	case schema.Float, schema.Brain:
		v, err := strconv.ParseFloat(text, max(32, bits))
		if err != nil {
			return fail(err)
		}
		putFloat(l, b, v)
		if math.IsInf(floatOf(l, b), 0) && !math.IsInf(v, 0) {
			return fail(strconv.ErrRange)
		}
	case schema.Unsigned:
		v, err := strconv.ParseUint(text, 0, bits)
		if err != nil {
			return fail(err)
		}
		putBits(b, v)
	default:
		v, err := strconv.ParseInt(text, 0, bits)
		if err != nil {
			return fail(err)
		}
		putBits(b, uint64(v))
	}
	return nil
}

// addLiteral adds a number to the one in b. Integers that would wrap around are refused.
func addLiteral(l *schema.Layout, b []byte, delta string) error {
	if !l.Number() {
		return usagef("its type is %s, and not a number", l)
	}
	if c := l.Class(); c == schema.Float || c == schema.Brain {
		d, err := strconv.ParseFloat(delta, 64)
		if err != nil {
			return usagef("%.60q is no number", delta)
		}
		putFloat(l, b, floatOf(l, b)+d)
		return nil
	}
	n, _ := new(big.Int).SetString(string(appendScalar(nil, l, b, false)), 10)
	d, ok := new(big.Int).SetString(delta, 0)
	if !ok || len(delta) > 100 {
		return usagef("%.60q is no integer", delta)
	}
	sum := new(big.Int).Add(n, d).String()
	next := make([]byte, len(b))
	if err := setScalar(l, next, sum); err != nil {
		return fmt.Errorf("%s and %s is %s: out of the range of %s", n, delta, sum, l.Scalar)
	}
	copy(b, next)
	return nil
}

// describeValue is a value for an error message.
func describeValue(l *schema.Layout, b []byte) string {
	s := appendText(nil, l, b)
	if len(s) > 80 {
		s = append(bytes.Clone(s[:77]), "..."...)
	}
	return string(s)
}
