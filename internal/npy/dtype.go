package npy

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/shiplap-ipc/shiplap/internal/errs"
	"github.com/shiplap-ipc/shiplap/internal/schema"
)

const maxItem = 1 << 30 // as package schema has it

// DType is a Python expression for the dtype of a layout: numpy.dtype(eval of it) has its offsets and
// its size, padding included.
func DType(l *schema.Layout) string {
	if l.Scalar != "" {
		return quote(dtypeName(l))
	}
	if l.Elem != nil {
		elem, dims := flatten(l)
		return "(" + DType(elem) + ", " + shapeText(dims) + ")"
	}
	var names, formats, offsets []string
	for _, f := range l.Fields {
		names = append(names, quote(f.Name))
		formats = append(formats, DType(f.Layout))
		offsets = append(offsets, fmt.Sprint(f.Offset))
	}
	return fmt.Sprintf("{'names': [%s], 'formats': [%s], 'offsets': [%s], 'itemsize': %d}",
		strings.Join(names, ", "), strings.Join(formats, ", "), strings.Join(offsets, ", "), l.Size)
}

// dtypeName is what NumPy calls a scalar. It has no UTF-8 of one length, but byte strings; bfloat16 is known once
// ml_dtypes is imported.
func dtypeName(l *schema.Layout) string {
	if l.Class() == schema.UTF8 {
		return fmt.Sprintf("|S%d", l.Size)
	}
	return l.Scalar
}

// savedBrain is how NumPy saves a bfloat16, of which it only knows the size.
const savedBrain = "<V2"

// flatten takes arrays of arrays apart.
func flatten(l *schema.Layout) (elem *schema.Layout, dims []int) {
	for ; l.Elem != nil; l = l.Elem {
		dims = append(dims, l.Count)
	}
	return l, dims
}

func shapeText(dims []int) string {
	s := strings.Trim(strings.ReplaceAll(fmt.Sprint(dims), " ", ", "), "[]")
	if len(dims) == 1 {
		s += ","
	}
	return "(" + s + ")"
}

// descr is what the header calls a type: a scalar's name, or a list of fields in which padding is an
// unnamed field of type void.
func descr(l *schema.Layout) string {
	switch {
	case l.Class() == schema.Brain:
		return quote(savedBrain)
	case l.Scalar != "":
		return quote(dtypeName(l))
	}
	var b strings.Builder
	end, sep := 0, ""
	pad := func(to int) {
		if to > end {
			fmt.Fprintf(&b, "%s('', '|V%d')", sep, to-end)
			sep = ", "
		}
	}
	b.WriteByte('[')
	for _, f := range l.Fields {
		pad(f.Offset)
		elem, dims := flatten(f.Layout)
		fmt.Fprintf(&b, "%s(%s, %s", sep, quote(f.Name), descr(elem))
		if len(dims) > 0 {
			b.WriteString(", " + shapeText(dims))
		}
		b.WriteByte(')')
		end, sep = f.Offset+f.Layout.Size, ", "
	}
	pad(l.Size)
	b.WriteByte(']')
	return b.String()
}

func refuse(format string, a ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errs.ErrIncompatible}, a...)...)
}

// layoutOf is the layout of a descr.
func layoutOf(v any) (*schema.Layout, error) {
	switch v := v.(type) {
	case string:
		return scalarOf(v)
	case list:
		return structOf(v)
	case tuple:
		if len(v) == 2 {
			return arrayOf(v[0], v[1])
		}
	}
	return nil, refuse("npy header: %v is no dtype", v)
}

// scalarOf reads "<f8" and what means the same on a little-endian machine: "=f8", "f8", "?".
func scalarOf(asked string) (*schema.Layout, error) {
	s := asked
	if s == "?" {
		s = "|b1"
	}
	order, code := byte('='), s
	if s != "" && strings.IndexByte("<>=|", s[0]) >= 0 {
		order, code = s[0], s[1:]
	}
	if code == "" {
		return nil, refuse("npy header: an empty dtype")
	}
	switch one := strings.HasSuffix(code, "1") && len(code) == 2; {
	case strings.HasPrefix(code, "O"):
		return nil, refuse("dtype %q holds Python objects, which are not data", s)
	case order == '>' && !one:
		return nil, refuse("dtype %q is big-endian; write it with a.astype(a.dtype.newbyteorder('<'))", s)
	case one, strings.HasPrefix(code, "S"):
		s = "|" + code
	case "<"+code == savedBrain:
		s = "bfloat16"
	default:
		s = "<" + code
	}
	d, err := schema.Parse(string(schema.Fixed) + ":" + s)
	if err != nil || d.Text != string(schema.Fixed)+":"+s {
		return nil, refuse("dtype %q has no counterpart here: possible are b1, i1 to i8, u1 to u8, f2, f4, f8, c8, c16, S1 and longer, and records and arrays of them%s",
			asked, hint(code))
	}
	return d.Layout()
}

// hint says what to do about a dtype that is not possible.
func hint(code string) string {
	switch {
	case strings.HasPrefix(code, "M8"), strings.HasPrefix(code, "m8"):
		return "; a.view('i8') has the numbers of a date or a time"
	case strings.HasPrefix(code, "U"):
		return "; numpy.strings.encode(a, 'utf-8') makes byte strings of text"
	}
	return ""
}

func arrayOf(elem, shape any) (*schema.Layout, error) {
	l, err := layoutOf(elem)
	if err != nil {
		return nil, err
	}
	var dims []int
	if n, ok := shape.(int64); ok {
		shape = tuple{n}
	}
	if dims, err = dimsOf(shape); err != nil {
		return nil, err
	}
	for i := len(dims) - 1; i >= 0; i-- {
		if dims[i] < 1 || dims[i] > maxItem/l.Size {
			return nil, refuse("npy header: an array %v in a record", dims)
		}
		l = &schema.Layout{Count: dims[i], Elem: l, Size: dims[i] * l.Size, Align: l.Align}
	}
	return l, nil
}

const maxDims = 64 // of NumPy

func dimsOf(shape any) ([]int, error) {
	t, ok := shape.(tuple)
	if !ok || len(t) > maxDims {
		return nil, refuse("npy header: shape %v", shape)
	}
	dims := make([]int, len(t))
	for i, d := range t {
		n, ok := d.(int64)
		if !ok || n < 0 {
			return nil, refuse("npy header: shape %v", shape)
		}
		dims[i] = int(n)
	}
	return dims, nil
}

func structOf(fields list) (*schema.Layout, error) {
	l := &schema.Layout{Fields: []schema.Field{}, Align: 1}
	aligned := true
	for _, f := range fields {
		name, typ, err := fieldOf(f)
		if err != nil {
			return nil, err
		}
		var n int
		if name == "" {
			if n, err = padding(typ); err != nil {
				return nil, err
			}
		} else {
			e, err := layoutOf(typ)
			if err != nil {
				return nil, fmt.Errorf("field %q: %w", name, err)
			}
			n = e.Size
			aligned = aligned && l.Size%e.Align == 0
			l.Align = max(l.Align, e.Align)
			l.Fields = append(l.Fields, schema.Field{Name: name, Offset: l.Size, Layout: e})
		}
		if n > maxItem-l.Size {
			return nil, refuse("npy header: a record of more than %d bytes", maxItem)
		}
		l.Size += n
	}
	if l.Size == 0 {
		return nil, refuse("npy header: a record without bytes")
	}
	if !aligned || l.Size%l.Align != 0 {
		l.Align = 1 // packed
	}
	return l, nil
}

// fieldOf is the name and the type of a field: (name, type), (name, type, shape); the name may be
// (title, name).
func fieldOf(f any) (name string, typ any, err error) {
	t, ok := f.(tuple)
	if !ok || len(t) != 2 && len(t) != 3 {
		return "", nil, refuse("npy header: %v is no field", f)
	}
	if titled, ok := t[0].(tuple); ok && len(titled) == 2 {
		t[0] = titled[1]
	}
	name, ok = t[0].(string)
	if !ok {
		return "", nil, refuse("npy header: %v is no name of a field", t[0])
	}
	for i, r := range name {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.Is(unicode.Nd, r)) {
			return "", nil, refuse("field %q: names of fields consist of letters, digits and _ here", name)
		}
	}
	if len(t) == 3 {
		return name, tuple{t[1], t[2]}, nil
	}
	return name, t[1], nil
}

func padding(typ any) (n int, err error) {
	s, _ := typ.(string)
	if _, e := fmt.Sscanf(s, "|V%d", &n); e != nil || n < 1 || n > maxItem {
		return 0, refuse("npy header: a field of type %v without a name", typ)
	}
	return n, nil
}
